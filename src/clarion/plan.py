"""A plan: one batch of the log, and which live readers get which of its entries. Without I/O.

What it costs is in proportion to the readers concerned, and with many sets of topics that can be milliseconds: so it
is worked out bit by bit, while what is ready is being written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from clarion.audience import Audience, Audiences
from clarion.event import Entry
from clarion.subscription import State, Subscription
from clarion.topics import ALL, CONTROL_PREFIX

if TYPE_CHECKING:
    from clarion.sinks.base import Lane

STEP_AUDIENCES: Final = 256  # looked at between two chances to stop: about 0.2 ms
SHARE_READERS: Final = 512  # of many small audiences together; a larger audience is a share of its own

Indexes = tuple[int, ...]


class Share(NamedTuple):
    """Live readers of one lane, and which entries of the batch all of them get, as indexes into it.

    told: for readers who are told values from time to time: up to where they were. None for the others.
    """

    lane: Lane
    readers: list[Subscription]
    indexes: Indexes
    told: int | None = None


class Plan:
    """What is done with the entries between two offsets.

    control: entries between hubs, for none of the readers. pending: audiences for which changes of values wait now.
    Readers that are live now, or fall behind before their turn, are those of the plan; who becomes live while it is
    worked out has the batch already: its cursor says so.
    """

    __slots__ = ("_audiences", "_merged", "after", "control", "entries", "pending", "through")

    def __init__(self, entries: Sequence[Entry], after: int, audiences: Audiences) -> None:
        self.entries = entries
        self.after = after
        self.through = entries[-1].offset
        self.control = [entry for entry in entries if entry.topic.startswith(CONTROL_PREFIX)]
        self.pending: list[Audience] = []
        self._audiences = audiences
        self._merged: dict[tuple[int, int], tuple[Indexes, Indexes, Indexes]] = {}

    def shares(self) -> Iterator[Share | None]:
        """Who gets what, each reader once. None where one may stop for a while."""
        everyone, topics, personal = self._sorted()
        hits: dict[Audience, Indexes] = dict.fromkeys(self._audiences, everyone) if everyone else {}
        for topic, indexes in topics.items():
            for step, audience in enumerate(self._audiences.matching(topic), 1):
                have = hits.get(audience)
                hits[audience] = indexes if have is None else self._both(have, indexes)
                if not step % STEP_AUDIENCES:
                    yield None
            yield None
        yield from self._of_audiences(hits, personal)
        for reader, indexes in personal.items():
            if self._is_due(reader) or reader.audience.interval_ms:
                share = self._share(reader.audience, [reader], self._both(indexes, hits.get(reader.audience, ())))
                if self._is_due(reader):
                    yield share

    def _of_audiences(
        self, hits: dict[Audience, Indexes], personal: dict[Subscription, Indexes]
    ) -> Iterator[Share | None]:
        """Audiences that get the same on the same lane come together, as far as they stand side by side."""
        readers: list[Subscription] = []
        lane: Lane | None = None
        common: Indexes = ()
        for step, (audience, indexes) in enumerate(hits.items(), 1):
            if readers and (indexes is not common or audience.lane is not lane or len(readers) >= SHARE_READERS):
                assert lane is not None
                yield Share(lane, readers, common)
                readers = []
            elif not step % STEP_AUDIENCES:
                yield None
            lane, common = audience.lane, indexes
            if not audience.live and not audience.interval_ms:
                continue
            due = [r for r in audience.live if r.cursor <= self.after and r not in personal]
            if audience.interval_ms:
                share = self._share(audience, due, indexes)  # also of none: what changes now is to wait
                if due:
                    yield share
            else:
                readers += due
        if readers:
            assert lane is not None
            yield Share(lane, readers, common)

    def _share(self, audience: Audience, readers: list[Subscription], indexes: Indexes) -> Share:
        """The share of one audience: without changes of values if it is told those from time to time."""
        if not audience.interval_ms:
            return Share(audience.lane, readers, indexes)
        events = tuple([index for index in indexes if not self.entries[index].change])
        if len(events) < len(indexes) and audience.pending is None:
            audience.pending = self.after
            self.pending.append(audience)
        return Share(audience.lane, readers, events, audience.pending)

    def _is_due(self, reader: Subscription) -> bool:
        return reader.state is State.LIVE and reader.cursor <= self.after

    def _sorted(self) -> tuple[Indexes, dict[str, Indexes], dict[Subscription, Indexes]]:
        """The batch's entries by whom they are for: everyone, an app's topic, single readers."""
        everyone: list[int] = []
        topics: dict[str, list[int]] = {}
        personal: dict[Subscription, list[int]] = {}
        for index, entry in enumerate(self.entries):
            topic = entry.topic
            if topic[0] != "@":
                topics.setdefault(topic, []).append(index)
            elif topic == ALL:
                everyone.append(index)
            else:
                for reader in self._audiences.personal(topic):
                    personal.setdefault(reader, []).append(index)
        return (
            tuple(everyone),
            {topic: tuple(indexes) for topic, indexes in topics.items()},
            {reader: tuple(indexes) for reader, indexes in personal.items()},
        )

    def _both(self, some: Indexes, others: Indexes) -> Indexes:
        """The indexes of both in order; the same object for the same two, so that equal shares are seen as equal."""
        if not others:
            return some
        key = (id(some), id(others))
        known = self._merged.get(key)
        if known is None:  # the two are kept with it, so that their ids stay theirs
            known = self._merged[key] = (some, others, tuple(sorted((*some, *others))))
        return known[2]

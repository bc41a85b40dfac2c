"""Pieces of the core for tests of one of them: entries, a lane without I/O, readers, and a fan-out around them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from clarion.audience import Audiences
from clarion.event import Entry
from clarion.fanout import Fanout, Wait
from clarion.log import Log
from clarion.plan import Plan
from clarion.sinks.base import Block, Telling
from clarion.sinks.chunks import plain_block
from clarion.subscription import Subscription
from clarion.topics import TopicSet

NOW_MS = 1_790_000_000_000


class PlainLane:
    """A lane that makes blocks and counts them."""

    def __init__(self, *, streams: bool = True) -> None:
        self.streams = streams
        self.made: list[Block] = []

    def block(
        self, entries: Sequence[Entry], after: int, through: int, prefix: bytes = b"", telling: Telling = None
    ) -> Block:
        block = plain_block(entries, after, through, prefix, telling)
        self.made.append(block)
        return block

    def deliver(self, readers: Sequence[Subscription], start: int, block: Block, until: float) -> int:
        return len(readers)

    def feed(self, reader: Subscription) -> None:
        """Nobody is fed by itself here."""

    def end(self, reader: Subscription, bye: bytes | None) -> None:
        """There is nothing to let go of."""


def entry(offset: int, topic: str, *, ephemeral: bool = False, expires_ms: int | None = None, size: int = 0) -> Entry:
    """An entry whose frame names its offset."""
    return Entry(offset, topic, b"<%d%b>" % (offset, b"." * size), NOW_MS, expires_ms, ephemeral)


class Core(NamedTuple):
    """A log, its readers, and one lane for all of them."""

    fanout: Fanout
    lane: PlainLane

    @property
    def log(self) -> Log:
        return self.fanout.log

    def reader(self, name: str, *topics: str, user: str | None = None, after: int | None = None) -> Subscription:
        """Somebody who joins; after: the cursor, None for the log's head."""
        audience = self.fanout.audiences.of(TopicSet(topics), self.lane)
        head = self.log.head
        reader = Subscription(name, user, audience, head if after is None else after, head)
        self.fanout.join(reader)
        return reader

    def live(self, name: str, *topics: str, user: str | None = None) -> Subscription:
        """Somebody who joins and is live. Everything must be planned."""
        reader = self.reader(name, *topics, user=user)
        assert self.fanout.take(reader, NOW_MS) is Wait.LIVE
        return reader

    def publish(self, *topics: str) -> list[Entry]:
        """Add entries to the log."""
        entries = [entry(self.log.head + n, topic) for n, topic in enumerate(topics, 1)]
        self.log.extend(entries)
        return entries

    def plan(self) -> Plan:
        plan = self.fanout.plan()
        assert plan is not None
        return plan


def core(*, log: Log | None = None) -> Core:
    return Core(Fanout(Log() if log is None else log, Audiences()), PlainLane())


def given_to(plan: Plan) -> dict[str, list[int]]:
    """Who gets which offsets."""
    return {
        reader.id: offsets(plan.entries[index] for index in share.indexes)
        for share in plan.shares()
        if share is not None
        for reader in share.readers
    }


def offsets(entries: Iterable[Entry]) -> list[int]:
    return [one.offset for one in entries]

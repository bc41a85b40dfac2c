"""The journal in memory: for one process, gone with it.

Each opening is a new numbering with an epoch of its own, so a cursor from before a restart is told a gap.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter
from time import time

from clarion.errors import JournalOverrun, JournalUnavailable
from clarion.event import Draft, Entry
from clarion.journals.base import KEY_WINDOW_SECONDS, Appended, Bounds, Page, Values
from clarion.journals.memory_follow import Pending
from clarion.journals.memory_values import Revised, ValueTable
from clarion.journals.skeleton import Skeleton
from clarion.position import epoch_from
from clarion.retention import Retention, RetentionRules, Since
from clarion.run import Run
from clarion.topics import TopicSet
from clarion.wire import event_frame

RULE_AGE_CHECK_MS = 1_000  # between two looks at all topics with a rule of their own
TRIM_STEP_ENTRIES = 64  # appends between two looks at the bounds; readers see exact bounds all the same
EXPIRED_GRACE_MS = 2_000  # a value whose time is over is kept for so long, for those who are told it just before
SWEEP_ENTRIES = 1024  # dead and ephemeral entries in the order before they are swept out of it
SWEEP_BYTES = 8 * 1024**2  # ... or so many bytes of them

_offset = attrgetter("offset")


def _wall_ms() -> int:
    return int(time() * 1000)


class MemoryJournal:
    """A `clarion.journals.base.Journal` in this process's memory.

    now_ms: Unix time in milliseconds, for retention by age; tests give their own.
    """

    shared = False

    def __init__(self, *, now_ms: Callable[[], int] = _wall_ms) -> None:
        self._now_ms = now_ms
        self._open = False
        self.epoch = ""

    async def open(self, rules: RetentionRules) -> None:
        self.epoch = epoch_from(os.urandom(8))
        self._rules = rules
        self._newest = 0
        self._order = Run()  # every entry; those that a topic's rule took away stay in it until swept out
        self._topics: dict[str, _Topic] = {}  # the entries that are kept, without ephemeral ones
        self._ruled: dict[_Topic, None] = {}
        self._ages_due_ms = 0
        self._untrimmed = 0
        self._count = 0
        self._bytes = 0
        self._order_bytes = 0
        self._incomplete_through = 0  # the newest offset that `_order` may lack
        self._skeleton = Skeleton()
        self._values = ValueTable()
        self._keys: dict[tuple[str, str], int] = {}
        self._key_ages: deque[tuple[int, tuple[str, str]]] = deque()
        self._followers: dict[Pending, None] = {}
        self._open = True

    async def close(self) -> None:
        self._open = False
        for pending in getattr(self, "_followers", {}):
            pending.release()

    async def append(self, drafts: Sequence[Draft]) -> list[Appended]:
        self._check_open()
        appended: list[Appended] = []
        entries: list[Entry] = []
        if self._key_ages:
            self._forget_keys()
        revised = self._revised(drafts)
        for index, draft in enumerate(drafts):
            if draft.key is not None and (first := self._keys.get((draft.topic, draft.key))) is not None:
                appended.append(Appended(first, True))
                continue
            self._newest = offset = self._newest + 1
            entry = self._entry(offset, draft, revised[index] if revised else None)
            self._keep(entry)
            entries.append(entry)
            if draft.key is not None:
                self._keys[draft.topic, draft.key] = offset
                self._key_ages.append((draft.created_ms, (draft.topic, draft.key)))
            appended.append(Appended(offset, False))
        self._untrimmed += len(entries)
        if (
            self._untrimmed >= TRIM_STEP_ENTRIES
            or _over(self._rules.hub.max_bytes, self._bytes)
            or self._order_bytes > 2 * self._bytes + SWEEP_BYTES
        ):
            self._trim()
        followers = list(self._followers)
        for pending in followers:  # all of them, before anybody waits: another append may come in between
            pending.extend(entries)
        for pending in followers:
            if pending.is_full and pending in self._followers:
                await pending.room()
        return appended

    def _revised(self, drafts: Sequence[Draft]) -> list[Revised | None] | None:
        """What the drafts make of values, if any of them changes one. Raises what is wrong with one of them."""
        for draft in drafts:
            if draft.change:
                return self._values.revise(drafts, self._newest, lambda one: (one.topic, one.key) in self._keys)
        return None

    def _entry(self, offset: int, draft: Draft, revised: Revised | None) -> Entry:
        if revised is None:
            frame = event_frame(self.epoch, offset, draft.body)
            return Entry(offset, draft.topic, frame, draft.created_ms, draft.expires_ms, draft.ephemeral)
        key, held, draft = revised
        self._values.put(key, held)
        frame = event_frame(self.epoch, offset, draft.body)
        return Entry(offset, draft.topic, frame, draft.created_ms, change=draft.change, value_bytes=held.size_bytes)

    async def values(self, topics: TopicSet | None, *, after: int, exact: bool, max_bytes: int, now_ms: int) -> Values:
        self._check_open()
        return self._values.values(topics, after, max_bytes, now_ms, self._newest)

    async def last_change(self) -> int:
        self._check_open()
        return self._values.last_change

    async def read(self, after: int, topics: TopicSet | None, *, max_entries: int, max_bytes: int, now_ms: int) -> Page:
        self._check_open()
        self._trim()
        entries: list[Entry] = []
        size = 0
        through = self._newest
        for entry in self._after(after, topics):
            if entry.expires_ms is not None and entry.expires_ms <= now_ms:
                continue
            if len(entries) >= max_entries or size >= max_bytes:
                through = entries[-1].offset
                break
            entries.append(entry)
            size += len(entry.frame)
        return Page(entries, max(after, through), self._skeleton.missed(after, through, topics, now_ms))

    async def tail(self, *, max_entries: int, max_bytes: int) -> tuple[int, list[Entry]]:
        self._check_open()
        newest: list[Entry] = []
        floor = self._incomplete_through
        size = 0
        for entry in self._order.newest_first():
            size += len(entry.frame)
            if entry.offset <= self._incomplete_through or len(newest) >= max_entries or size > max_bytes:
                floor = entry.offset
                break
            newest.append(entry)
        newest.reverse()
        return floor, newest

    async def seek(self, topics: TopicSet | None, since: Since) -> int:
        self._check_open()
        self._trim()
        if since.earliest:
            return self._bounds().oldest - 1
        if since.after_ms is not None:
            first = self._order.first_after_time(since.after_ms)
            return self._newest if first is None else first.offset - 1
        if since.last is not None:
            now_ms = self._now_ms()
            runs = [run.newest_first() for run in self._runs(topics)]
            living = (
                entry
                for entry in merge(*runs, key=_offset, reverse=True)
                if entry.expires_ms is None or entry.expires_ms > now_ms
            )
            newest = list(islice(living, since.last))
            return newest[-1].offset - 1 if newest else self._newest
        return self._newest

    async def bounds(self) -> Bounds:
        self._check_open()
        self._trim()
        return self._bounds()

    async def follow(self, after: int) -> AsyncGenerator[Sequence[Entry], None]:
        self._check_open()
        if after < self._incomplete_through:
            raise JournalOverrun(f"entries after {after} were taken away before they were followed")
        pending = Pending(self._order.after(after))
        self._followers[pending] = None
        try:
            while True:
                while batch := pending.take():
                    yield batch
                if pending.overrun:
                    raise JournalOverrun("the follower was too far behind the publishers")
                await pending.arrival()
                self._check_open()
        finally:
            del self._followers[pending]
            pending.release()

    def _check_open(self) -> None:
        if not self._open:
            raise JournalUnavailable("the memory journal is not open")

    def _bounds(self) -> Bounds:
        oldest = next((entry.offset for entry in self._order if self._is_kept(entry)), self._newest + 1)
        return Bounds(oldest, self._newest)

    def _runs(self, topics: TopicSet | None) -> list[Run]:
        if topics is None:
            return [kept.run for kept in self._topics.values()]
        if topics.patterns:
            return [kept.run for topic, kept in self._topics.items() if topics.matches(topic)]
        return [self._topics[topic].run for topic in topics.exact if topic in self._topics]

    def _after(self, offset: int, topics: TopicSet | None) -> Iterator[Entry]:
        if topics is None:
            return (entry for entry in self._order.after(offset) if self._is_kept(entry))
        runs = self._runs(topics)
        if len(runs) == 1:
            return runs[0].after(offset)
        return merge(*(run.after(offset) for run in runs), key=_offset)

    def _is_kept(self, entry: Entry) -> bool:
        kept = self._topics.get(entry.topic)
        return not (entry.ephemeral or entry.change) and kept is not None and entry.offset >= kept.run.first.offset

    def _keep(self, entry: Entry) -> None:
        self._order.append(entry)
        self._order_bytes += len(entry.frame)
        if entry.ephemeral or entry.change:
            return
        topic = entry.topic
        kept = self._topics.get(topic)
        if kept is None:
            kept = self._topics[topic] = _Topic(topic, self._rules.rule_for(topic))
            if kept.rule is not None:
                self._ruled[kept] = None
        kept.run.append(entry)
        kept.size += len(entry.frame)
        self._count += 1
        self._bytes += len(entry.frame)
        if kept.rule is not None:
            self._trim_topic(kept, self._now_ms())

    def _trim(self) -> None:
        """Take away what goes over the journal's bounds. Costs a few comparisons where nothing does."""
        now_ms = self._now_ms()
        self._untrimmed = 0
        self._values.let_go(now_ms - EXPIRED_GRACE_MS)
        bound = self._rules.hub
        oldest_ms = _oldest_ms(bound, now_ms)
        while len(self._order) and (
            _over(bound.max_count, self._count)
            or _over(bound.max_bytes, self._bytes)
            or self._order.first.created_ms < oldest_ms
        ):
            entry = self._order.first
            if self._is_kept(entry):
                self._take_away(self._topics[entry.topic], now_ms)
            self._order.popleft()
            self._order_bytes -= len(entry.frame)
            self._incomplete_through = max(self._incomplete_through, entry.offset)
        if len(self._order) > 2 * self._count + SWEEP_ENTRIES or self._order_bytes > 2 * self._bytes + SWEEP_BYTES:
            self._sweep()
        if self._ruled and now_ms >= self._ages_due_ms:
            self._ages_due_ms = now_ms + RULE_AGE_CHECK_MS
            for kept in list(self._ruled):
                self._trim_topic(kept, now_ms)

    def _trim_topic(self, kept: _Topic, now_ms: int) -> None:
        """Take away what goes over the bounds of the topic's own rule."""
        bound = kept.rule
        if bound is None:
            return
        oldest_ms = _oldest_ms(bound, now_ms)
        while len(kept.run) and (
            _over(bound.max_count, len(kept.run))
            or _over(bound.max_bytes, kept.size)
            or kept.run.first.created_ms < oldest_ms
        ):
            self._take_away(kept, now_ms)

    def _take_away(self, kept: _Topic, now_ms: int) -> None:
        """Take away the oldest entry of a topic; `_order` forgets it later."""
        entry = kept.run.popleft()
        kept.size -= len(entry.frame)
        self._count -= 1
        self._bytes -= len(entry.frame)
        if not len(kept.run):
            del self._topics[kept.name]
            self._ruled.pop(kept, None)
        if entry.expires_ms is None or entry.expires_ms > now_ms:
            self._skeleton.add(kept.name, entry.offset, entry.expires_ms)

    def _forget_keys(self) -> None:
        oldest_ms = self._now_ms() - KEY_WINDOW_SECONDS * 1000
        while self._key_ages and self._key_ages[0][0] < oldest_ms:
            del self._keys[self._key_ages.popleft()[1]]

    def _sweep(self) -> None:
        swept = [entry for entry in self._order if not self._is_kept(entry)]
        self._incomplete_through = max(self._incomplete_through, swept[-1].offset)
        self._order = Run(entry for entry in self._order if self._is_kept(entry))
        self._order_bytes = self._bytes


class _Topic:
    """The kept entries of one topic, their size in bytes, and the topic's own bounds if it has any."""

    __slots__ = ("name", "rule", "run", "size")

    def __init__(self, name: str, rule: Retention | None) -> None:
        self.name = name
        self.rule = rule
        self.run = Run()
        self.size = 0


def _oldest_ms(bound: Retention, now_ms: int) -> float:
    return float("-inf") if bound.max_age_seconds is None else now_ms - bound.max_age_seconds * 1000


def _over(bound: int | None, amount: int) -> bool:
    return bound is not None and amount > bound

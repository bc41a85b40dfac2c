"""Pages: the journal, for readers whose cursor is before the log.

A bounded number of pages is read at once, so a thousand readers who come back together take turns, and live readers
do not notice. Readers with the same topics at the same place share one page.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from clarion.errors import JournalUnavailable
from clarion.event import Entry
from clarion.journals.base import Journal, Page, Values
from clarion.retention import Since
from clarion.subscription import Subscription
from clarion.topics import ALL, TopicSet

PAGE_BYTES: Final = 64 * 1024  # one write of a reader that is far behind: what its send buffer takes at once
PAGE_ENTRIES: Final = 1024
CONCURRENT_PAGES: Final = 4  # reads under way; more would only queue in the journal
CACHE_BYTES: Final = 8 * 1024 * 1024
PAGE_OVERHEAD_BYTES: Final = 512
VALUES_BYTES: Final = 64 * 1024  # of values in one snapshot; what is more comes with the next one
EXPIRED_MS: Final = 1_000  # a value is told for so long after its time: a change that found it alive may be on its way
VALUES_MS: Final = 1_000  # how long a snapshot serves others: a crowd that comes at once is told the same
MOST_VALUES: Final = 16  # snapshots kept at once; the last of them stay until others come

_Key = tuple[TopicSet, int]
_ValuesKey = tuple[TopicSet, int, bool]
Key = TypeVar("Key")
Read = TypeVar("Read")


class Pager:
    """Reads pages for the readers of a process. Belongs to one event loop."""

    def __init__(self, journal: Journal, wall_ms: Callable[[], int]) -> None:
        self._journal = journal
        self._wall_ms = wall_ms
        self._turns = asyncio.Semaphore(CONCURRENT_PAGES)
        self._reading: dict[_Key, asyncio.Task[Page]] = {}
        self._cache: OrderedDict[_Key, tuple[Page, int]] = OrderedDict()
        self._cache_bytes = 0
        self._values: dict[_ValuesKey, tuple[int, Values]] = {}
        self._reading_values: dict[_ValuesKey, asyncio.Task[Values]] = {}

    async def page(self, reader: Subscription) -> Page:
        """What stands in the journal for `reader` after its cursor. Raises `JournalError`."""
        shared = reader.audience.topics.union(ALL)
        after = reader.cursor
        page = await self._shared(shared, after)
        personal = reader.personal_topics
        async with self._turns:
            own = await self._read(TopicSet(personal), after)
            if own.through < page.through or own.missed != 0:
                return await self._read(shared.union(*personal), after)
        return Page(_merge(page, own), page.through, page.missed)

    async def values(self, reader: Subscription, floor: int, last_change: int = 0) -> Values:
        """The values that `reader` lacks, as of one moment. Raises `JournalError`.

        floor: where the log begins; what was changed between the moment and the reader's cursor must be found in it.
        last_change: of any value, as far as it is known; a snapshot from before it is not given to others.
        """
        shared = await self._shared_values(
            reader.audience.topics.union(ALL), reader.told, reader.exact, max(floor, last_change)
        )
        own = await self._read_values(TopicSet(reader.personal_topics), reader.told, reader.exact)
        if any(one.offset > shared.through for one in own.changed):
            topics = reader.audience.topics.union(ALL, *reader.personal_topics)
            return await self._read_values(topics, reader.told, reader.exact)
        return _merge_values(shared, own) if own.changed else shared

    async def _shared_values(self, topics: TopicSet, after: int, exact: bool, least: int) -> Values:
        key = (topics, after, exact)
        kept = self._values.get(key)
        if kept is not None and kept[1].through >= least and 0 <= self._wall_ms() - kept[0] < VALUES_MS:
            return kept[1]
        values = await _together(self._reading_values, key, lambda: self._read_values(*key))
        if values.changed:
            self._keep_values(key, values)
        return values

    def _keep_values(self, key: _ValuesKey, values: Values) -> None:
        """Keep a snapshot for those who come next, and let go of those that are too old by now."""
        now_ms = self._wall_ms()
        self._values.pop(key, None)
        self._values[key] = (now_ms, values)
        for kept in list(self._values):
            if 0 <= now_ms - self._values[kept][0] < VALUES_MS and len(self._values) <= MOST_VALUES:
                break  # the oldest come first
            del self._values[kept]

    async def _read_values(self, topics: TopicSet, after: int, exact: bool) -> Values:
        async with self._turns:
            return await self._journal.values(
                topics, after=after, exact=exact, max_bytes=VALUES_BYTES, now_ms=self._wall_ms() - EXPIRED_MS
            )

    async def seek(self, topics: TopicSet, since: Since) -> int:
        """Where a start choice begins. See `Journal.seek`."""
        async with self._turns:
            return await self._journal.seek(topics, since)

    async def _shared(self, topics: TopicSet, after: int) -> Page:
        key = (topics, after)
        cached = self._cache.get(key)
        if cached is not None:
            self._cache.move_to_end(key)
            return cached[0]
        return await _together(self._reading, key, lambda: self._read_shared(key))

    async def _read_shared(self, key: _Key) -> Page:
        async with self._turns:
            page = await self._read(*key)
        size = sum(len(entry.frame) for entry in page.entries) + PAGE_OVERHEAD_BYTES
        if page.entries and all(entry.expires_ms is None for entry in page.entries):
            self._cache[key] = (page, size)
            self._cache_bytes += size
            while self._cache_bytes > CACHE_BYTES:
                self._cache_bytes -= self._cache.popitem(last=False)[1][1]
        return page

    async def _read(self, topics: TopicSet, after: int) -> Page:
        return await self._journal.read(
            after, topics, max_entries=PAGE_ENTRIES, max_bytes=PAGE_BYTES, now_ms=self._wall_ms()
        )

    async def close(self) -> None:
        """Give up what is being read."""
        reading = [*self._reading.values(), *self._reading_values.values()]
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


async def _together(
    reading: dict[Key, asyncio.Task[Read]], key: Key, read: Callable[[], Coroutine[Any, Any, Read]]
) -> Read:
    """What `read` gives, read once for all who ask meanwhile. Who stops waiting takes nothing from the others."""
    task = reading.get(key)
    if task is None:
        task = reading[key] = asyncio.create_task(read())
        task.add_done_callback(lambda _: reading.pop(key, None))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled():  # by `close`; the task that waits here was not
            raise JournalUnavailable("the journal is not read any more") from None
        raise


def _merge(page: Page, own: Page) -> list[Entry]:
    """The entries of both, in order; those of `own` beyond the page come with the next one."""
    extra = [entry for entry in own.entries if entry.offset <= page.through]
    if not extra:
        return page.entries
    return sorted((*page.entries, *extra), key=lambda entry: entry.offset)


def _merge_values(shared: Values, own: Values) -> Values:
    """The values of both as of the first one's moment, as far as both go."""
    changed = sorted((*shared.changed, *own.changed), key=lambda one: one.offset)
    ends = [values.changed[-1].offset for values in (shared, own) if not values.complete]
    if ends:
        changed = [one for one in changed if one.offset <= min(ends)]
    return shared._replace(changed=changed, complete=not ends)

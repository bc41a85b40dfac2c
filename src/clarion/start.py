"""Where a stream starts: from what a client presents, and what can still be replayed."""

from __future__ import annotations

from typing import NamedTuple

from clarion.journals.base import Journal
from clarion.log import Log
from clarion.pager import Pager
from clarion.position import parse
from clarion.retention import Since
from clarion.subscription import Subscription
from clarion.topics import ALL, TopicSet


class Start(NamedTuple):
    """How a stream begins.

    cursor: it gets what is after this offset. mode: "live", "resumed" or "gap", as `connected` says it.
    gap: the reason of a gap that is told at once, or None. (An expired gap is told with the first page.)
    wish: it asked for as much as there is; what retention took away of that is no loss to tell.
    told: the offset up to which it was told values, as far as the cursor at most; 0 for one that has none. exact: it
    has them as they were then.
    """

    cursor: int
    mode: str
    gap: str | None = None
    wish: bool = False
    told: int = 0
    exact: bool = False

    @property
    def is_new(self) -> bool:
        """Whether all values are told anew."""
        return not self.told and not self.exact


class Starts:
    """Finds where streams start. What comes from a client is hostile: nothing of it raises."""

    def __init__(self, journal: Journal, log: Log, pager: Pager, max_replay_events: int | None) -> None:
        self._journal = journal
        self._log = log
        self._pager = pager
        self._max_replay_events = max_replay_events

    async def find(self, reader: Subscription, last_event_id: str | None, since: Since) -> Start:
        """Where `reader` starts. Uses and moves its cursor. Raises `JournalError`."""
        topics = reader.audience.topics.union(ALL, *reader.personal_topics)
        if last_event_id:
            start = await self._resume(reader, last_event_id)
        elif since.live:
            return Start(self._log.head, "live")
        else:
            start = Start(await self._pager.seek(topics, since), "live", wish=True)
        if self._max_replay_events is not None and self._may_be_more(start.cursor):
            least = await self._pager.seek(topics, Since(last=self._max_replay_events))
            if start.cursor < least and await self._replayable(reader, start.cursor, least):
                return start._replace(cursor=least, mode="gap", gap=start.gap or "limit", wish=False)
        return start

    def begin(self, reader: Subscription, start: Start) -> None:
        """Put a reader to where it starts."""
        told, exact = start.told, start.exact
        if self._log.last_change <= told and start.cursor <= self._log.head:
            told, exact = start.cursor, True  # no value was changed since
        reader.reached(start.cursor, told)
        reader.exact = exact
        reader.known = told
        reader.lenient_until = self._log.head if start.wish else 0

    def _may_be_more(self, cursor: int) -> bool:
        """Whether more than the most that is replayed may stand after a cursor."""
        assert self._max_replay_events is not None
        return cursor < self._log.floor or self._log.count_after(cursor) > self._max_replay_events

    async def _replayable(self, reader: Subscription, after: int, least: int) -> bool:
        """Whether something of the reader's topics stands between the two offsets, or did."""
        reader.cursor = after
        page = await self._pager.page(reader)
        return page.missed != 0 or (bool(page.entries) and page.entries[0].offset <= least)

    async def _resume(self, reader: Subscription, last_event_id: str) -> Start:
        presented = parse(last_event_id)
        if presented is None:
            return await self._from_oldest("unknown")
        (epoch, offset), told, _ = presented
        if epoch != self._journal.epoch:
            return await self._from_oldest("epoch")
        if offset > self._log.head and offset > (await self._journal.bounds()).newest:
            return await self._from_oldest("unknown")
        exact = told == offset
        missed: int | None = 0
        if offset < self._log.floor:
            reader.cursor = offset
            missed = (await self._pager.page(reader)).missed
        if told < self._log.last_change and told < await self._forgotten(told):
            told, exact = 0, False
        return Start(offset, "resumed" if missed == 0 else "gap", told=told, exact=exact)

    async def _forgotten(self, after: int) -> int:
        """Up to where deletions of values may not be known any more."""
        values = await self._journal.values(TopicSet(()), after=after, exact=False, max_bytes=1, now_ms=0)
        return values.forgotten

    async def _from_oldest(self, reason: str) -> Start:
        return Start((await self._journal.bounds()).oldest - 1, "gap", reason)

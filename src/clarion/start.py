"""Where a stream starts: from what a client presents, and what can still be replayed."""

from __future__ import annotations

from typing import NamedTuple

from clarion.journals.base import Journal
from clarion.log import Log
from clarion.pager import Pager
from clarion.position import parse
from clarion.retention import Since
from clarion.subscription import Subscription
from clarion.topics import ALL


class Start(NamedTuple):
    """How a stream begins.

    cursor: it gets what is after this offset. mode: "live", "resumed" or "gap", as `connected` says it.
    gap: the reason of a gap that is told at once, or None. (An expired gap is told with the first page.)
    wish: it asked for as much as there is; what retention took away of that is no loss to tell.
    """

    cursor: int
    mode: str
    gap: str | None = None
    wish: bool = False


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
                return Start(least, "gap", start.gap or "limit")
        return start

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
        epoch, offset = presented.position
        if epoch != self._journal.epoch:
            return await self._from_oldest("epoch")
        if offset > self._log.head and offset > (await self._journal.bounds()).newest:
            return await self._from_oldest("unknown")
        if offset >= self._log.floor:
            return Start(offset, "resumed")
        reader.cursor = offset
        page = await self._pager.page(reader)
        return Start(offset, "resumed" if page.missed == 0 else "gap")

    async def _from_oldest(self, reason: str) -> Start:
        return Start((await self._journal.bounds()).oldest - 1, "gap", reason)

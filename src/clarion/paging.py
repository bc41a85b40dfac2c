"""Paging: what readers get from the journal when the log has not what they need, in their turn, and as blocks.

While the journal fails, those who need it wait, and everybody else goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from clarion import wire
from clarion.errors import JournalError
from clarion.fanout import Fanout
from clarion.folding import events_only
from clarion.journals.base import Page
from clarion.observer import Observer
from clarion.pager import CONCURRENT_PAGES, Pager
from clarion.position import Position, text_of
from clarion.sinks.base import Block
from clarion.sinks.socket import SocketReader
from clarion.subscription import State, Subscription

PAGE_RETRY_SECONDS: Final = 1.0  # after the journal failed to give a page
PAGE_WORKERS: Final = CONCURRENT_PAGES * 2  # twice, since half of them wait for a page that another one reads

Read = TypeVar("Read")

logger = logging.getLogger("clarion.delivery")


class Paging:
    """Reads pages and values for the readers of a process. Belongs to one event loop.

    exhausted: called with a reader that has to come back: it may show values whose deletion nobody remembers.
    """

    def __init__(
        self, fanout: Fanout, pager: Pager, observer: Observer, exhausted: Callable[[Subscription], None]
    ) -> None:
        self._fanout = fanout
        self._pager = pager
        self._observer = observer
        self._exhausted = exhausted
        self._wanting: deque[tuple[SocketReader, bool]] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._working = 0  # not their number: a task that is done stays among them until the loop turns
        self._journal_fails = False
        self._closed = False

    def want(self, reader: SocketReader, *, values: bool) -> None:
        """Read a page, or values, for a reader, in its turn; its lane is told."""
        self._wanting.append((reader, values))
        if self._working < PAGE_WORKERS and not self._closed:
            self._working += 1
            task = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(task)
            task.add_done_callback(self._workers.discard)

    async def close(self) -> None:
        """Give up what is being read."""
        self._closed = True
        for task in list(self._workers):
            task.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def read_page(self, reader: Subscription) -> Block:
        """The next page of a reader, with a gap before it if something is missing. Waits while the journal fails."""
        page = await self._patiently(reader, lambda: self._pager.page(reader)) or Page([], reader.cursor, 0)
        prefix = b""
        log, epoch = self._fanout.log, self._fanout.epoch
        if page.missed != 0 and reader.cursor < reader.lenient_until:
            page = _page_until(page, reader.lenient_until)
        if page.missed == 0 and reader.cursor < log.floor < page.through:
            page = _page_until(
                page, log.floor
            )  # the log has the rest, with what is ephemeral and came since this reader
        told = reader.told
        if page.missed != 0:
            oldest = page.entries[0].offset if page.entries else page.through + 1
            self._observer.gap("expired", page.missed)
            prefix = wire.gap(
                text_of(epoch, oldest - 1, min(told, oldest - 1)),
                reason="expired",
                requested=text_of(epoch, reader.cursor, told),
                oldest=Position(epoch, oldest),
                missed=page.missed,
            )
        is_whole = reader.exact and told == reader.cursor
        if is_whole and log.last_change <= told and page.through <= log.head:  # no value was changed since
            return reader.audience.lane.block(page.entries, reader.cursor, page.through, prefix)
        entries = events_only(epoch, page.entries, told)
        reader.events_before_values += len(entries)
        return reader.audience.lane.block(entries, reader.cursor, page.through, prefix, told)

    async def read_values(self, reader: Subscription) -> None:
        """Give a reader a snapshot of its values. Waits while the journal fails."""
        log = self._fanout.log
        values = await self._patiently(reader, lambda: self._pager.values(reader, log.floor, log.last_change))
        if values is None or reader.is_closed:
            return
        if 0 < (reader.told if reader.exact else reader.known) < values.forgotten:
            self._exhausted(reader)
        else:
            reader.snapshot = values
            reader.known = values.through

    async def _patiently(self, reader: Subscription, read: Callable[[], Awaitable[Read]]) -> Read | None:
        """What `read` gives, however long the journal fails; None if the reader goes meanwhile."""
        while not (reader.is_closed or self._closed):
            try:
                found = await read()
            except JournalError as error:
                if reader.is_closed or self._closed:
                    break
                if not self._journal_fails:  # once for an outage, not for every reader who waits
                    self._journal_fails = True
                    logger.error("the journal gives no pages to readers who are behind, they wait: %s", error)
                await asyncio.sleep(PAGE_RETRY_SECONDS)
            else:
                if self._journal_fails:
                    self._journal_fails = False
                    logger.warning("the journal gives pages again")
                return found
        return None

    async def _work(self) -> None:
        try:
            while self._wanting:
                reader, values = self._wanting.popleft()
                if reader.state is not State.BEHIND:
                    continue
                try:
                    await self._read_for(reader, values)
                except Exception:  # whatever it is, this reader must not wait for ever, nor the others
                    logger.exception("the journal could not be read for client %s", reader.id)
                    self._exhausted(reader)
        finally:
            self._working -= 1

    async def _read_for(self, reader: SocketReader, values: bool) -> None:
        lane = reader.audience.lane
        if values:
            await self.read_values(reader)
            lane.feed_values(reader)  # type: ignore[attr-defined]
        else:
            block = await self.read_page(reader)
            lane.feed_page(reader, block)  # type: ignore[attr-defined]


def _page_until(page: Page, offset: int) -> Page:
    """The part of a page up to `offset`, of which nothing counts as missed."""
    through = min(page.through, offset)
    return Page([entry for entry in page.entries if entry.offset <= through], through, 0)

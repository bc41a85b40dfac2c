"""Delivery: the pump that moves events from the log to the sinks, inside one event loop.

It works in slices of about a millisecond and then gives the loop back, so that the app around it stays responsive. A
slice continues the pass over the live readers, or begins the next one, or says heartbeats while no pass is under way;
readers that are behind have a slice of their own after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from clarion import wire
from clarion.clock import Clock
from clarion.errors import JournalError
from clarion.event import Entry
from clarion.fanout import Fanout
from clarion.journals.base import Page
from clarion.observer import Observer
from clarion.pager import CONCURRENT_PAGES, Pager
from clarion.plan import Indexes, Plan
from clarion.position import Position
from clarion.sinks.base import Block, Lane
from clarion.sinks.socket import SocketReader
from clarion.subscription import State, Subscription

SLICE_SECONDS: Final = 0.001  # what another route of the app waits for, at most, each time
PAGE_RETRY_SECONDS: Final = 1.0  # after the journal failed to give a page
PAGE_WORKERS: Final = CONCURRENT_PAGES * 2  # twice, since half of them wait for a page that another one reads

logger = logging.getLogger("clarion.delivery")


class _Pass:
    """The writing of one batch: its plan, and the blocks made for it, each once."""

    __slots__ = ("_blocks", "plan", "shares")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.shares = plan.shares()
        self._blocks: dict[tuple[Lane, Indexes], Block] = {}

    def block(self, lane: Lane, indexes: Indexes) -> Block:
        block = self._blocks.get((lane, indexes))
        if block is None:
            plan = self.plan
            block = lane.block([plan.entries[index] for index in indexes], plan.after, plan.through)
            self._blocks[lane, indexes] = block
        return block


class Delivery:
    """Everything that happens to events between the log and the sinks.

    ended: called with each reader that is gone, once. control: called with entries that hubs say to each other, after
    everything before them has been offered to the live readers. exhausted: called with a reader that has been sent as
    many bytes as it may be sent on one connection.
    """

    def __init__(
        self,
        fanout: Fanout,
        pager: Pager,
        *,
        epoch: str,
        clock: Clock,
        observer: Observer,
        ended: Callable[[Subscription], None],
        control: Callable[[Entry], None],
        exhausted: Callable[[Subscription], None],
    ) -> None:
        self.fanout = fanout
        self.epoch = epoch
        self._pager = pager
        self._clock = clock
        self._observer = observer
        self._ended = ended
        self._control = control
        self.exhausted = exhausted
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._pass: _Pass | None = None
        self._work: deque[tuple[Lane, Sequence[Subscription], Block]] = deque()  # of the pass under way, or heartbeats
        self._index = 0  # how far the first of the work is
        self._silent: dict[Subscription, None] = {}  # each once, however long a pass holds heartbeats up
        self._ready: deque[SocketReader] = deque()
        self._wanting: deque[SocketReader] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._settling: list[tuple[int, asyncio.Future[None]]] = []
        self._roomy = asyncio.Event()
        self._finishing: dict[Subscription, tuple[str, Callable[[], bytes]]] = {}
        self._journal_fails = False
        self._closed = False

    # What the hub asks for.

    def extend(self, entries: Sequence[Entry]) -> None:
        """The journal has more."""
        self.fanout.log.extend(entries)
        self._observer.lag(self.fanout.log.count_after(self.fanout.planned))
        self.wake()

    async def room(self, max_entries: int) -> None:
        """Wait until no more than `max_entries` of the log are still to be offered to live readers."""
        while self.fanout.log.count_after(self.fanout.planned) > max_entries and not self._closed:
            self._roomy.clear()
            await self._roomy.wait()

    async def settle(self, offset: int) -> None:
        """Wait until everything up to `offset` has been offered to every live reader."""
        if self.fanout.planned >= offset and self._pass is None and not self._work:
            return
        settled = self._loop.create_future()
        self._settling.append((offset, settled))
        await settled

    def say_heartbeat(self, readers: Sequence[Subscription]) -> None:
        """Say a heartbeat to those of the readers that are live, as soon as no pass is under way."""
        self._silent.update(dict.fromkeys(readers))
        self.wake()

    def end(self, reader: Subscription, reason: str, bye: bytes | None = None) -> None:
        """End a stream now, with a last frame if there is one and it can still be told. Twice is once."""
        if self.fanout.leave(reader, reason):
            self._finishing.pop(reader, None)
            reader.audience.lane.end(reader, bye)
            self._ended(reader)

    def finish(self, reader: Subscription, reason: str, bye: Callable[[], bytes]) -> None:
        """End a stream as soon as its reader has everything that was published before. bye: makes its last frame."""
        if reader.state is State.LIVE:
            self.end(reader, reason, bye())
        elif reader.state is State.BEHIND:
            self._finishing[reader] = (reason, bye)

    def replace(self, reader: Subscription, other: Subscription) -> None:
        """Let `other` take the place of `reader`, which nothing was written to by a sink yet."""
        finishing = self._finishing.pop(reader, None)
        self.fanout.leave(reader, "")
        self.fanout.join(other)
        if finishing is not None:
            self._finishing[other] = finishing

    async def close(self) -> None:
        """Stop. Streams that are still open are left to the sinks."""
        self._closed = True
        for task in list(self._workers):
            task.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for _, settled in self._settling:
            settled.cancel()
        self._roomy.set()

    # What the sinks ask for.

    def now_ms(self) -> int:
        """Monotonic milliseconds."""
        return self._clock.monotonic_ms()

    def wall_ms(self) -> int:
        """Unix time in milliseconds."""
        return self._clock.wall_ms()

    def ready(self, reader: SocketReader) -> None:
        """Give a reader that is behind its turn."""
        if not reader.queued:
            reader.queued = True
            self._ready.append(reader)
            self.wake()

    def caught_up(self, reader: Subscription) -> None:
        """A reader has become live."""
        if self._finishing and (last := self._finishing.get(reader)) is not None:
            reason, bye = last
            self.end(reader, reason, bye())

    def delivered(self, readers: int, events: int, size: int) -> None:
        """So many readers took so many events each, `size` bytes of them."""
        self._observer.delivered(readers * events, readers * size)

    def gone(self, reader: Subscription, reason: str) -> None:
        """A reader's connection has ended, or cannot go on."""
        self.end(reader, reason)

    def page(self, reader: SocketReader) -> None:
        """Read a page for a reader, in its turn; `feed_page` of its lane gets it."""
        self._wanting.append(reader)
        if len(self._workers) < PAGE_WORKERS and not self._closed:
            task = self._loop.create_task(self._read_pages())
            self._workers.add(task)
            task.add_done_callback(self._workers.discard)

    async def read_page(self, reader: Subscription) -> Block:
        """The next page of a reader, with a gap before it if something is missing. Waits while the journal fails."""
        page = await self._page(reader)
        prefix = b""
        if page.missed != 0 and reader.cursor < reader.lenient_until:
            page = _page_until(page, reader.lenient_until)
        floor = self.fanout.log.floor
        if page.missed == 0 and reader.cursor < floor < page.through:
            page = _page_until(page, floor)  # the log has the rest, with what is ephemeral and came since this reader
        if page.missed != 0:
            oldest = page.entries[0].offset if page.entries else page.through + 1
            self._observer.gap("expired", page.missed)
            prefix = wire.gap(
                Position(self.epoch, oldest - 1),
                reason="expired",
                requested=str(Position(self.epoch, reader.cursor)),
                oldest=Position(self.epoch, oldest),
                missed=page.missed,
            )
        return reader.audience.lane.block(page.entries, reader.cursor, page.through, prefix)

    async def _page(self, reader: Subscription) -> Page:
        """A page of the journal; an empty one if the reader goes while the journal fails."""
        while not (reader.is_closed or self._closed):
            try:
                page = await self._pager.page(reader)
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
                return page
        return Page([], reader.cursor, 0)

    # The pump.

    def wake(self) -> None:
        """Have a slice run soon."""
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._loop.call_soon(self._slice)

    def _slice(self) -> None:
        self._scheduled = False
        if self._closed:
            return
        busy = self._live_slice(monotonic() + SLICE_SECONDS)
        if self._ready:
            busy = self._catch_up_slice(monotonic() + SLICE_SECONDS) or busy
        if busy:
            self.wake()

    def _live_slice(self, until: float) -> bool:
        """Go on with the live readers. Whether there is more to do."""
        while True:
            while self._work:
                lane, readers, block = self._work[0]
                self._index = lane.deliver(readers, self._index, block, until)
                if self._index < len(readers):
                    return True
                self._work.popleft()
                self._index = 0
                if monotonic() >= until:
                    return True
            if self._pass is not None:
                if self._next_share(self._pass):
                    if monotonic() >= until:
                        return True
                    continue
                self._finish_pass()
            if self._settling:
                self._settle()
            if self._silent:
                self._begin_heartbeats()
            elif not self._begin_pass():
                return False

    def _begin_pass(self) -> bool:
        plan = self.fanout.plan()
        for reader in self.fanout.released():
            reader.audience.lane.feed(reader)
        if plan is not None:
            self._pass = _Pass(plan)
        return plan is not None

    def _next_share(self, current: _Pass) -> bool:
        """Take the next share of the pass to be worked on. False when there is none left."""
        for share in current.shares:
            if share is not None:
                lane, readers, indexes = share
                self._work.append((lane, readers, current.block(lane, indexes)))
            return True
        return False

    def _finish_pass(self) -> None:
        assert self._pass is not None
        plan, self._pass = self._pass.plan, None
        self._observer.latency(max(0.0, (self.wall_ms() - plan.entries[0].created_ms) / 1000))
        self._observer.lag(self.fanout.log.count_after(self.fanout.planned))
        for entry in plan.control:
            self._control(entry)
        self._roomy.set()

    def _settle(self) -> None:
        waiting, self._settling = self._settling, []
        for offset, settled in waiting:
            if offset > self.fanout.planned:
                self._settling.append((offset, settled))
            elif not settled.done():
                settled.set_result(None)

    def _begin_heartbeats(self) -> None:
        silent, self._silent = self._silent, {}
        planned = self.fanout.planned
        frame = wire.heartbeat(Position(self.epoch, planned), self.wall_ms())
        lanes: dict[Lane, list[Subscription]] = {}
        for reader in silent:
            if reader.state is State.LIVE:
                lanes.setdefault(reader.audience.lane, []).append(reader)
        for lane, readers in lanes.items():
            self._work.append((lane, readers, lane.block((), planned, planned, frame)))

    def _catch_up_slice(self, until: float) -> bool:
        """Feed readers that are behind, one block each in turn. Whether there is more to do."""
        while self._ready:
            reader = self._ready.popleft()
            reader.queued = False
            if reader.state is State.BEHIND:
                reader.audience.lane.feed(reader)
            if monotonic() >= until:
                break
        return bool(self._ready)

    async def _read_pages(self) -> None:
        while self._wanting:
            reader = self._wanting.popleft()
            if reader.state is State.BEHIND:
                block = await self.read_page(reader)
                reader.audience.lane.feed_page(reader, block)  # type: ignore[attr-defined]


def _page_until(page: Page, offset: int) -> Page:
    """The part of a page up to `offset`, of which nothing counts as missed."""
    through = min(page.through, offset)
    return Page([entry for entry in page.entries if entry.offset <= through], through, 0)

"""Delivery: the pump that moves events from the log to the sinks, inside one event loop.

It works in slices of about a millisecond and then gives the loop back, so that the app around it stays responsive. A
slice continues the pass over the live readers, or begins the next one, or says heartbeats while no pass is under way;
readers that are behind have a slice of their own after it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from clarion import wire
from clarion.clock import Clock
from clarion.event import Entry
from clarion.fanout import Fanout
from clarion.folding import events_only, joined
from clarion.observer import Observer
from clarion.pacing import Pacing, Work
from clarion.pager import Pager
from clarion.paging import Paging
from clarion.plan import Indexes, Plan, Share
from clarion.position import text_of
from clarion.sinks.base import Block, Lane, Telling
from clarion.sinks.socket import SocketReader
from clarion.subscription import State, Subscription

SLICE_SECONDS: Final = 0.001  # what another route of the app waits for, at most, each time


class _Pass:
    """The writing of one batch: its plan, and the blocks made for it, each once."""

    __slots__ = ("_blocks", "plan", "shares")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.shares = plan.shares()
        self._blocks: dict[tuple[Lane, Indexes, int | None], Block] = {}

    def block(self, share: Share, epoch: str) -> Block:
        lane, _, indexes, told = share
        block = self._blocks.get((lane, indexes, told))
        if block is None:
            plan = self.plan
            entries = [plan.entries[index] for index in indexes]
            telling: Telling = told
            if told is not None:
                entries = events_only(epoch, entries, told)
            elif (folded := joined(epoch, entries, plan.after, plan.through)) is not None:
                entries, telling = folded
            block = lane.block(entries, plan.after, plan.through, b"", telling)
            self._blocks[lane, indexes, told] = block
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
        clock: Clock,
        observer: Observer,
        ended: Callable[[Subscription], None],
        control: Callable[[Entry], None],
        exhausted: Callable[[Subscription], None],
    ) -> None:
        self.fanout = fanout
        self._clock = clock
        self._observer = observer
        self._ended = ended
        self._control = control
        self.exhausted = exhausted
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._pass: _Pass | None = None
        self._work: deque[Work] = deque()  # of the pass under way, or heartbeats, or values that were held back
        self._index = 0  # how far the first of the work is
        self._silent: dict[Subscription, None] = {}  # each once, however long a pass holds heartbeats up
        self._ready: deque[SocketReader] = deque()
        self._settling: list[tuple[int, asyncio.Future[None]]] = []
        self._roomy = asyncio.Event()
        self._finishing: dict[Subscription, tuple[str, Callable[[], bytes]]] = {}
        self._paging = Paging(fanout, pager, observer, exhausted)
        self._pacing = Pacing(fanout, clock, self.wake)
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
        if reader.state is State.LIVE and self._has_values(reader):
            self.end(reader, reason, bye())
        elif reader.state is not State.CLOSED:
            self._finishing[reader] = (reason, bye)
            self._hurry(reader)

    def _has_values(self, reader: Subscription) -> bool:
        """Whether a live reader waits for no values."""
        return self.fanout.told(reader) == self.fanout.planned

    def _hurry(self, reader: Subscription) -> None:
        """Have a reader told the values that are held back for it."""
        reader.due = True
        if reader.state is State.LIVE:  # one that is behind goes on by itself, or has no socket yet
            self.fanout.fell_behind(reader, self.fanout.planned, self.fanout.told(reader))
            reader.audience.lane.feed(reader)

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
        self._pacing.close()
        await self._paging.close()
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
            if self._has_values(reader):
                reason, bye = last
                self.end(reader, reason, bye())
            else:
                self._hurry(reader)

    def delivered(self, readers: int, events: int, size: int) -> None:
        """So many readers took so many events each, `size` bytes of them."""
        self._observer.delivered(readers * events, readers * size)

    def gone(self, reader: Subscription, reason: str) -> None:
        """A reader's connection has ended, or cannot go on."""
        self.end(reader, reason)

    def page(self, reader: SocketReader) -> None:
        """Read a page for a reader, in its turn; `feed_page` of its lane gets it."""
        self._paging.want(reader, values=False)

    def values(self, reader: SocketReader) -> None:
        """Read values for a reader, in its turn; `feed_values` of its lane is told."""
        self._paging.want(reader, values=True)

    async def read_page(self, reader: Subscription) -> Block:
        """See `Paging.read_page`."""
        return await self._paging.read_page(reader)

    async def read_values(self, reader: Subscription) -> None:
        """See `Paging.read_values`."""
        await self._paging.read_values(reader)

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
            elif due := self._pacing.due():
                self._work.extend(due)
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
                if share.told is not None:
                    share = self._together(share, share.told, current.plan.after)
                if share.indexes:
                    self._work.append((share.lane, share.readers, current.block(share, self.fanout.epoch)))
            return True
        return False

    def _together(self, share: Share, told: int, after: int) -> Share:
        """A share without the readers that were told later values than the others; those go on by themselves."""
        others = [reader for reader in share.readers if reader.told > told]
        for reader in others:
            self.fanout.fell_behind(reader, after, reader.told)
            reader.audience.lane.feed(reader)
        return share._replace(readers=[reader for reader in share.readers if reader.told <= told]) if others else share

    def _finish_pass(self) -> None:
        assert self._pass is not None
        plan, self._pass = self._pass.plan, None
        self._observer.latency(max(0.0, (self.wall_ms() - plan.entries[0].created_ms) / 1000))
        self._observer.lag(self.fanout.log.count_after(self.fanout.planned))
        self._pacing.add(plan.pending)
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
        lanes: dict[tuple[Lane, int], list[Subscription]] = {}
        for reader in silent:
            if reader.state is State.LIVE:
                lanes.setdefault((reader.audience.lane, self.fanout.told(reader)), []).append(reader)
        for (lane, told), readers in lanes.items():
            frame = wire.heartbeat(text_of(self.fanout.epoch, planned, told), self.wall_ms())
            self._work.append((lane, readers, lane.block((), planned, planned, frame, told)))

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

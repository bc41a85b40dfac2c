"""Fan-out: who gets what, and when a reader is live. The core of delivery, without I/O, clocks or tasks.

The log grows at its head. `plan` takes the next batch and says which live readers get which of its entries; what was
planned is then every live reader's cursor, without touching one of them. A reader that is behind reads the log up to
what was planned, never further, and becomes live exactly there: nothing is left between the two, nothing is doubled.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from typing import TYPE_CHECKING, Final

from clarion.audience import Audience, Audiences
from clarion.event import Entry
from clarion.log import Log
from clarion.plan import Plan
from clarion.subscription import State, Subscription

if TYPE_CHECKING:
    from clarion.sinks.base import Block

BATCH_BYTES: Final = 64 * 1024  # of one pass: what a healthy socket's send buffer takes at once
BATCH_ENTRIES: Final = 1024
BLOCK_CACHE_BYTES: Final = 8 * 1024 * 1024  # blocks kept for the readers who come to the same segment next
BLOCK_OVERHEAD_BYTES: Final = 1024  # counted for a block's marks and its place in the cache
EMPTY_SEGMENTS: Final = 16  # looked through at once for a reader of rare topics, before others get their turn


class Wait(Enum):
    """Why there is no block for a reader now."""

    LIVE = "it is live now"
    PAGE = "it must read the journal: its cursor is before the log"
    AHEAD = "this process has not seen its position yet; it will be released by `plan`"
    TURN = "others first: its cursor has moved, ask again"


class Fanout:
    """The readers of a process and their way through the log."""

    def __init__(self, log: Log, audiences: Audiences) -> None:
        self.log = log
        self.audiences = audiences
        self.planned = log.head
        self._ahead: dict[Subscription, None] = {}
        self._blocks: OrderedDict[tuple[Audience, int, int], Block] = OrderedDict()
        self._blocks_bytes = 0

    def join(self, reader: Subscription) -> None:
        """Count a reader in. It is BEHIND and is to be fed with `take` until it is live."""
        self.audiences.join(reader)

    def leave(self, reader: Subscription, reason: str) -> bool:
        """Count a reader out, for good. False if that was done already."""
        if reader.state is State.CLOSED:
            return False
        if reader.state is State.LIVE:
            reader.cursor = self.planned
        self.audiences.leave(reader)
        self._ahead.pop(reader, None)
        reader.state = State.CLOSED
        reader.reason = reason
        return True

    def fell_behind(self, reader: Subscription, cursor: int) -> None:
        """A live reader could not take everything; it has what is up to `cursor`."""
        reader.state = State.BEHIND
        reader.cursor = cursor
        reader.audience.live.pop(reader, None)

    def plan(self) -> Plan | None:
        """Plan the next batch, or None if everything is planned. One plan has to be done before the next."""
        if self.planned < self.log.floor:
            self._overrun()
        batch = self._next_batch()
        if not batch:
            return None
        plan = Plan(batch, self.planned, self.audiences)
        self.planned = plan.through
        return plan

    def released(self) -> list[Subscription]:
        """The readers that waited for a position which is planned by now; each is to be fed again."""
        if not self._ahead:
            return []
        released = [reader for reader in self._ahead if reader.cursor <= self.planned]
        for reader in released:
            del self._ahead[reader]
        return released

    def take(self, reader: Subscription, now_ms: int) -> Block | Wait:
        """The next block for a reader that is not closed, or why there is none. The caller moves its cursor on.

        now_ms: Unix time, for the entries that have a ttl.
        """
        if reader.state is State.LIVE:  # asked again, by a reader whose waiting was cancelled
            return Wait.LIVE
        for _ in range(EMPTY_SEGMENTS):
            if reader.cursor == self.planned:
                reader.state = State.LIVE
                reader.audience.live[reader] = None
                return Wait.LIVE
            if reader.cursor > self.planned:
                self._ahead[reader] = None
                return Wait.AHEAD
            if reader.cursor < self.log.floor:
                return Wait.PAGE
            block = self._block(reader, now_ms)
            if block.data:
                return block
            reader.cursor = block.through
        return Wait.TURN

    def _overrun(self) -> None:
        """The log has moved past what was planned: all live readers go on from the journal."""
        for audience in self.audiences:
            for reader in list(audience.live):
                self.fell_behind(reader, self.planned)
                self._ahead[reader] = None  # to be fed again by whoever asks for `released`
        self.planned = self.log.floor

    def _block(self, reader: Subscription, now_ms: int) -> Block:
        segment = self.log.segment(reader.cursor, self.planned)
        audience = reader.audience
        own = not segment.plain or self.log.has_personal(reader.personal_topics, reader.cursor, segment.through)
        if own:
            return audience.lane.block(
                [entry for entry in segment.entries if _is_for(entry, reader, now_ms)],
                reader.cursor,
                segment.through,
            )
        key = (audience, reader.cursor, segment.through)
        block = self._blocks.get(key)
        if block is None:
            block = audience.lane.block(
                [entry for entry in segment.entries if audience.wants(entry.topic)],
                reader.cursor,
                segment.through,
            )
            self._blocks[key] = block
            self._blocks_bytes += len(block.data) + BLOCK_OVERHEAD_BYTES
            while self._blocks_bytes > BLOCK_CACHE_BYTES:
                _, oldest = self._blocks.popitem(last=False)
                self._blocks_bytes -= len(oldest.data) + BLOCK_OVERHEAD_BYTES
        else:
            self._blocks.move_to_end(key)
        return block

    def _next_batch(self) -> list[Entry]:
        if self.planned >= self.log.head:
            return []
        batch = self.log.after(self.planned, BATCH_ENTRIES)
        size = 0
        for count, entry in enumerate(batch, 1):
            size += len(entry.frame)
            if size >= BATCH_BYTES:
                return batch[:count]
        return batch


def _is_for(entry: Entry, reader: Subscription, now_ms: int) -> bool:
    if entry.ephemeral and entry.offset <= reader.joined:
        return False
    if entry.expires_ms is not None and entry.expires_ms <= now_ms:
        return False
    return reader.wants(entry.topic)

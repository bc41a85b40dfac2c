"""Fan-out: who gets what, and when a reader is live. The core of delivery, without I/O, clocks or tasks.

The log grows at its head. `plan` takes the next batch and says which live readers get which of its entries; what was
planned is then every live reader's cursor, without touching one of them. A reader that is behind reads the log up to
what was planned, never further, and becomes live exactly there: nothing is left between the two, nothing is doubled.

Values are told differently. A reader that is behind passes over the changes that it meets, and is told each value once,
folded, when it has caught up (`clarion.folding`): from the log, or by a snapshot from the journal. So it has a second
cursor, `told`, and the ids of what it gets meanwhile say both.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from clarion.audience import Audiences
from clarion.blocks import BlockCache
from clarion.event import Entry
from clarion.folding import events_only, fold, frames, is_foldable
from clarion.log import SEGMENT_BYTES, Log, Segment
from clarion.plan import Plan
from clarion.subscription import State, Subscription

if TYPE_CHECKING:
    from clarion.journals.base import Values
    from clarion.sinks.base import Block

BATCH_BYTES: Final = 64 * 1024  # of one pass: what a healthy socket's send buffer takes at once
BATCH_ENTRIES: Final = 1024
EMPTY_SEGMENTS: Final = 16  # looked through at once for a reader of rare topics, before others get their turn
# Other events that go before values that wait: one that never catches up, because of them, is told values all the same.
MOST_EVENTS_BEFORE_VALUES: Final = 256
MOST_FOLDED_CHANGES: Final = 4_096  # of the log, for one reader: some 10 ms. Behind more, the journal gives the values


class Wait(Enum):
    """Why there is no block for a reader now."""

    LIVE = "it is live now"
    PAGE = "it must read the journal: its cursor is before the log"
    VALUES = "it must be given a snapshot of its values from the journal"
    AHEAD = "this process has not seen its position yet; it will be released by `plan`"
    TURN = "others first: its cursor has moved, ask again"


class Fanout:
    """The readers of a process and their way through the log. epoch: of the journal, for the ids of frames."""

    def __init__(self, log: Log, audiences: Audiences, epoch: str = "") -> None:
        self.log = log
        self.audiences = audiences
        self.epoch = epoch
        self.planned = log.head
        self._ahead: dict[Subscription, None] = {}
        self._blocks = BlockCache()

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
        reader.snapshot = None
        return True

    def fell_behind(self, reader: Subscription, cursor: int, told: int, *, exact: bool = True) -> None:
        """A live reader could not take everything; it has what is up to `cursor`, and values up to `told`.

        exact: see `Subscription`; not so for one that was cut among values that are told together.
        """
        reader.state = State.BEHIND
        reader.reached(cursor, told)
        reader.exact = exact
        reader.known = told
        reader.audience.live.pop(reader, None)

    def told(self, reader: Subscription) -> int:
        """Up to where a live reader was told values."""
        pending = reader.audience.pending
        return self.planned if pending is None else max(pending, reader.told)

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
            found = self._next(reader, now_ms)
            if isinstance(found, Wait):
                return found
            if found is not None and found.data:
                return found
            if found is not None:
                reader.reached(found.through, found.told)
        return Wait.TURN

    def _next(self, reader: Subscription, now_ms: int) -> Block | Wait | None:
        """What `take` gives; a block without bytes, or None, to ask again."""
        if reader.cursor > self.planned:
            return self._wait_ahead(reader)
        snapshot = reader.snapshot
        if snapshot is not None and reader.cursor >= snapshot.through:
            return self._values(reader, snapshot)
        if reader.cursor < self.log.floor:
            is_due = snapshot is None and reader.events_before_values >= MOST_EVENTS_BEFORE_VALUES
            return Wait.VALUES if is_due else Wait.PAGE
        if snapshot is None and (not reader.exact or reader.told < reader.cursor):
            if (wait := self._want_values(reader)) is not None:
                return wait
            if reader.snapshot is not None:
                return None
        if reader.cursor == self.planned:
            return self._become_live(reader) if snapshot is None else self._wait_ahead(reader)
        upto = self.planned if snapshot is None else min(self.planned, snapshot.through)
        return self._count_events(reader, self._events(reader, self.log.segment(reader.cursor, upto), now_ms))

    def _wait_ahead(self, reader: Subscription) -> Wait:
        self._ahead[reader] = None
        return Wait.AHEAD

    def _become_live(self, reader: Subscription) -> Wait:
        reader.state = State.LIVE
        reader.due = False
        reader.audience.live[reader] = None
        return Wait.LIVE

    def _overrun(self) -> None:
        """The log has moved past what was planned: all live readers go on from the journal."""
        for audience in self.audiences:
            for reader in list(audience.live):
                self.fell_behind(reader, self.planned, self.told(reader))
                self._ahead[reader] = None  # to be fed again by whoever asks for `released`
            audience.pending = None
        self.planned = self.log.floor

    # Values.

    def _want_values(self, reader: Subscription) -> Wait | None:
        """Give a reader that lacks values a snapshot from the log, if it is time; or what it has to wait for."""
        if not reader.exact or reader.told < self.log.floor:
            return Wait.VALUES
        is_caught_up = reader.cursor == self.planned
        pending = reader.audience.pending
        if is_caught_up and not reader.due and pending is not None and reader.told >= pending:
            return self._become_live(reader)  # it will be told with the others of its audience
        if not is_caught_up and reader.events_before_values < MOST_EVENTS_BEFORE_VALUES:
            return None
        if self.log.count_changes(reader.told, reader.cursor) > MOST_FOLDED_CHANGES:
            return Wait.VALUES
        key = (reader.audience, reader.told, reader.cursor)
        is_own = self.log.has_personal(reader.personal_topics, reader.told, reader.cursor)
        folded: Values | None = None if is_own else self._blocks.get(key)
        if folded is None:
            changes = [one for one in self.log.changes(reader.told, reader.cursor) if reader.wants(one.topic)]
            folded = fold(changes, reader.cursor)
            if folded is None:
                return Wait.VALUES
            if not is_own:
                self._blocks.keep(key, folded, sum([len(one.data) for one in folded.changed]))
        reader.snapshot = folded
        return None

    def _values(self, reader: Subscription, snapshot: Values) -> Block | None:
        """The next of a snapshot's values; None once all were told."""
        reader.exact = False  # until it has the whole snapshot
        if not snapshot.changed or snapshot.changed[-1].offset <= reader.told:
            reader.snapshot = None
            reader.events_before_values = 0
            if snapshot.complete:
                reader.exact = True
                reader.due = False
                reader.told = max(reader.told, snapshot.through)
            return None
        key = (reader.audience.lane, reader.cursor, reader.told, id(snapshot))
        kept: tuple[Block, Values] | None = self._blocks.get(key)
        if kept is not None:
            return kept[0]
        entries, telling = frames(self.epoch, reader.cursor, reader.told, snapshot, SEGMENT_BYTES)
        block = reader.audience.lane.block(entries, reader.cursor, reader.cursor, b"", telling)
        self._blocks.keep(key, (block, snapshot), len(block.data))  # with the snapshot, so that its id stays its own
        return block

    # Events.

    def _events(self, reader: Subscription, segment: Segment, now_ms: int) -> Block:
        audience = reader.audience
        own = not segment.plain or self.log.has_personal(reader.personal_topics, reader.cursor, segment.through)
        if own:
            entries = [entry for entry in segment.entries if _is_for(entry, reader, now_ms)]
            return self._block(reader, entries, segment.through)
        key = (audience, reader.cursor, segment.through, reader.told, self._may_tell(reader, segment.through))
        block: Block | None = self._blocks.get(key)
        if block is None:
            entries = [entry for entry in segment.entries if audience.wants(entry.topic)]
            block = self._block(reader, entries, segment.through)
            self._blocks.keep(key, block, len(block.data))
        return block

    def _block(self, reader: Subscription, entries: list[Entry], through: int) -> Block:
        """A block of a segment: changes as they are where nothing has to be folded, else without them."""
        lane, after, told = reader.audience.lane, reader.cursor, reader.told
        is_whole = reader.exact and told == after
        if is_whole:
            changes = [entry for entry in entries if entry.change]
            if not changes or (self._may_tell(reader, through) and not is_foldable(changes)):
                return lane.block(entries, after, through)
        return lane.block(events_only(self.epoch, entries, told), after, through, b"", told)

    def _count_events(self, reader: Subscription, block: Block) -> Block:
        if block.told < block.through:
            reader.events_before_values += block.events
        return block

    def _may_tell(self, reader: Subscription, through: int) -> bool:
        """Whether changes up to there may be told as they are: the reader has caught up with them."""
        return through == self.planned and reader.snapshot is None and (reader.due or not reader.audience.interval_ms)

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

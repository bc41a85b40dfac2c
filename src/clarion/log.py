"""The log: the newest entries, in memory. A cache of the journal's tail that readers read from their cursors.

The follower alone adds to it. It is cut into segments at fixed places, so that readers who are behind, wherever they
started, soon read the same runs and can be given the same bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from clarion.event import Entry
from clarion.run import Run
from clarion.topics import CLIENT_PREFIX, USER_PREFIX

WINDOW_BYTES: Final = 16 * 1024 * 1024  # readers further behind than this read the journal
WINDOW_ENTRIES: Final = 65_536
SEGMENT_BYTES: Final = 32 * 1024  # one write of a reader that is behind: half of a socket's send buffer
SEGMENT_ENTRIES: Final = 512  # bounds what looking through a segment costs, where few of its entries match

_PERSONAL = (USER_PREFIX, CLIENT_PREFIX)


class Segment(NamedTuple):
    """A run of entries of all topics. through: the offset up to which it holds everything. plain: none of its
    entries is ephemeral or has a ttl, so that it reads the same for everyone at any time."""

    entries: Sequence[Entry]
    through: int
    plain: bool


class Log:
    """The newest entries of a journal, in order.

    head: the offset of the newest entry that it was given.
    floor: it holds every entry after this offset.
    last_change: no value was changed after this offset, as far as it knows; 0 if none ever was.
    """

    __slots__ = (
        "_bytes",
        "_changes",
        "_cuts",
        "_max_bytes",
        "_max_entries",
        "_open_bytes",
        "_open_entries",
        "_personal",
        "_run",
        "_uneven",
        "floor",
        "head",
        "last_change",
    )

    def __init__(self, *, max_bytes: int = WINDOW_BYTES, max_entries: int = WINDOW_ENTRIES) -> None:
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self.last_change = 0
        self.reset(0, ())

    def reset(self, floor: int, entries: Iterable[Entry]) -> None:
        """Begin anew with what a journal's `tail` gave."""
        self.floor = floor
        self.head = floor
        self._run = Run()
        self._bytes = 0
        self._cuts: deque[int] = deque()  # the last offsets of the segments that are closed
        self._open_bytes = 0
        self._open_entries = 0
        self._personal: dict[str, deque[int]] = {}
        self._uneven: deque[int] = deque()  # entries that are ephemeral or have a ttl
        self._changes = Run()  # entries that change a value
        self.extend(entries)

    def __len__(self) -> int:
        return len(self._run)

    def extend(self, entries: Iterable[Entry]) -> None:
        """Add what the journal has next. What is at or before the head is known already and left out."""
        for entry in entries:
            offset = entry.offset
            if offset <= self.head:
                continue
            self.head = offset
            self._run.append(entry)
            size = len(entry.frame)
            self._bytes += size
            self._open_bytes += size
            self._open_entries += 1
            if self._open_bytes >= SEGMENT_BYTES or self._open_entries >= SEGMENT_ENTRIES:
                self._cuts.append(offset)
                self._open_bytes = self._open_entries = 0
            if entry.ephemeral or entry.expires_ms is not None:
                self._uneven.append(offset)
            if entry.change:
                self._changes.append(entry)
                self.last_change = offset
            if entry.topic.startswith(_PERSONAL):
                self._personal.setdefault(entry.topic, deque()).append(offset)
        self._trim()

    def after(self, offset: int, max_entries: int) -> list[Entry]:
        """The entries after `offset`, at most so many."""
        return self._run.slice_after(offset, max_entries)

    def count_after(self, offset: int) -> int:
        """How many entries it holds after `offset`."""
        return self._run.count_after(offset)

    def segment(self, after: int, upto: int) -> Segment:
        """What stands between `after` and the end of its segment, or `upto` if that comes first.

        `after` must not be before the floor, and `upto` not after the head.
        """
        cut = bisect_right(self._cuts, after)
        through = min(self._cuts[cut], upto) if cut < len(self._cuts) else upto
        uneven = bisect_right(self._uneven, through) > bisect_right(self._uneven, after)
        return Segment(self._run.between(after, through), through, not uneven)

    def changes(self, after: int, through: int) -> list[Entry]:
        """The entries between the two offsets that change a value."""
        return self._changes.between(after, through)

    def count_changes(self, after: int, through: int) -> int:
        """How many there are of those."""
        return self._changes.count_after(after) - self._changes.count_after(through)

    def has_personal(self, topics: Iterable[str], after: int, through: int) -> bool:
        """Whether an entry of one of these `@user/ID` or `@client/ID` topics stands between the two offsets."""
        for topic in topics:
            offsets = self._personal.get(topic)
            if offsets is not None and bisect_right(offsets, through) > bisect_right(offsets, after):
                return True
        return False

    def _trim(self) -> None:
        while len(self._run) and (self._bytes > self._max_bytes or len(self._run) > self._max_entries):
            entry = self._run.popleft()
            offset = entry.offset
            self.floor = offset
            self._bytes -= len(entry.frame)
            if self._cuts and self._cuts[0] <= offset:
                self._cuts.popleft()
            if self._uneven and self._uneven[0] <= offset:
                self._uneven.popleft()
            if entry.change:
                self._changes.popleft()
            if entry.topic.startswith(_PERSONAL):
                offsets = self._personal[entry.topic]
                offsets.popleft()
                if not offsets:
                    del self._personal[entry.topic]

"""A run: things in the order of their offsets, added at the end and taken away at the front."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from operator import attrgetter

from clarion.event import Entry

_offset = attrgetter("offset")
_GONE = Entry(-1, "", b"", 0)


class Run:
    """Entries in rising order of offset. Append and popleft cost O(1), finding a place O(log n).

    A list with a start instead of a deque: a deque has no fast way into its middle.
    """

    __slots__ = ("_items", "_start")

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._items: list[Entry] = list(entries)
        self._start = 0

    def __len__(self) -> int:
        return len(self._items) - self._start

    def __iter__(self) -> Iterator[Entry]:
        return self.after(-1)

    @property
    def first(self) -> Entry:
        """The oldest entry. Raises `IndexError` if there is none."""
        return self._items[self._start]

    @property
    def last(self) -> Entry:
        """The newest entry. Raises `IndexError` if there is none."""
        if not len(self):
            raise IndexError("the run is empty")
        return self._items[-1]

    def append(self, entry: Entry) -> None:
        self._items.append(entry)

    def popleft(self) -> Entry:
        """Take away the oldest entry. Raises `IndexError` if there is none."""
        entry = self._items[self._start]
        self._items[self._start] = _GONE  # it is let go of at once; the place is taken away later
        self._start += 1
        if self._start * 2 >= len(self._items):
            del self._items[: self._start]
            self._start = 0
        return entry

    def after(self, offset: int) -> Iterator[Entry]:
        """The entries after `offset`, oldest first. Appending meanwhile is safe, taking away is not."""
        items = self._items
        index = self._index_after(offset)
        while index < len(items):
            yield items[index]
            index += 1

    def count_after(self, offset: int) -> int:
        """How many entries are after `offset`."""
        return len(self._items) - self._index_after(offset)

    def slice_after(self, offset: int, max_entries: int) -> list[Entry]:
        """At most `max_entries` entries after `offset`, oldest first."""
        index = self._index_after(offset)
        return self._items[index : index + max_entries]

    def between(self, after: int, through: int) -> list[Entry]:
        """The entries after `after` and up to `through`, oldest first."""
        return self._items[self._index_after(after) : self._index_after(through)]

    def newest_first(self) -> Iterator[Entry]:
        """The entries, newest first. The run must not change meanwhile."""
        for index in range(len(self._items) - 1, self._start - 1, -1):
            yield self._items[index]

    def first_after_time(self, created_ms: int) -> Entry | None:
        """The oldest entry published after that Unix time. Exact while clocks do not go back."""
        index = bisect_right(self._items, created_ms, lo=self._start, key=attrgetter("created_ms"))
        return self._items[index] if index < len(self._items) else None

    def _index_after(self, offset: int) -> int:
        items = self._items
        if not items or offset >= items[-1].offset:
            return len(items)
        return bisect_right(items, offset, lo=self._start, key=_offset)

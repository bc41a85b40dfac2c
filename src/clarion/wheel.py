"""A timer wheel: many things due at some time, looked at in proportion to how many are due."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heappop, heappush
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Wheel(Generic[Item]):
    """Items by when they are due. Times are milliseconds on a clock of the caller's.

    granularity_ms: items that are due within so much of each other come together; none comes early.
    """

    __slots__ = ("_buckets", "_granularity_ms", "_ticks")

    def __init__(self, granularity_ms: int) -> None:
        self._granularity_ms = granularity_ms
        self._buckets: dict[int, dict[Item, None]] = {}
        self._ticks: list[int] = []

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def add(self, due_ms: int, item: Item) -> None:
        """Have `item` come at `due_ms` or at most one granularity later."""
        tick = self._tick(due_ms)
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = {}
            heappush(self._ticks, tick)
        bucket[item] = None

    def discard(self, due_ms: int, item: Item) -> None:
        """Take back an `add` with the same `due_ms`, if it has not come yet."""
        bucket = self._buckets.get(self._tick(due_ms))
        if bucket is not None:
            bucket.pop(item, None)

    def next_due_ms(self) -> int | None:
        """When to look again, or None if nothing is waiting."""
        while self._ticks:
            tick = self._ticks[0]
            if self._buckets[tick]:
                return tick * self._granularity_ms
            heappop(self._ticks)
            del self._buckets[tick]
        return None

    def pop_due(self, now_ms: int) -> list[Item]:
        """Take out what is due."""
        due: list[Item] = []
        while self._ticks and self._ticks[0] * self._granularity_ms <= now_ms:
            due += self._buckets.pop(heappop(self._ticks))
        return due

    def _tick(self, due_ms: int) -> int:
        return -(-due_ms // self._granularity_ms)

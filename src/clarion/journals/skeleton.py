"""What is remembered of entries that retention took away: enough to tell a reader how many it missed."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

from clarion.topics import TopicSet

SKELETON_ENTRIES = 100_000  # about 10 MB; a cursor from before those is told a gap without a number


class Skeleton:
    """The topics and offsets of the newest trimmed entries."""

    __slots__ = ("_capacity", "_expiring", "_floor", "_highest", "_order", "_topics")

    def __init__(self, capacity: int = SKELETON_ENTRIES) -> None:
        self._capacity = capacity
        self._order: deque[tuple[str, int]] = deque()
        self._topics: dict[str, list[int]] = {}
        self._expiring: dict[str, list[tuple[int, int]]] = {}  # those with a ttl: offset, and when it passes
        self._highest = 0
        self._floor = 0  # trimmed entries up to here may have been forgotten

    def add(self, topic: str, offset: int, expires_ms: int | None = None) -> None:
        """Remember that the entry at `offset` was taken away. Once its ttl has passed, nobody misses it."""
        if expires_ms is not None:
            self._expiring.setdefault(topic, []).append((offset, expires_ms))
        self._order.append((topic, offset))
        self._topics.setdefault(topic, []).append(offset)  # a topic is trimmed oldest first
        self._highest = max(self._highest, offset)
        if len(self._order) > self._capacity + self._capacity // 8:  # in blocks, so that one costs O(1)
            self._forget(len(self._order) - self._capacity)

    def _forget(self, count: int) -> None:
        forgotten: dict[str, int] = {}
        for _ in range(count):
            topic, offset = self._order.popleft()
            forgotten[topic] = forgotten.get(topic, 0) + 1
            self._floor = max(self._floor, offset)
        for topic, n in forgotten.items():
            offsets = self._topics[topic]
            if (expiring := self._expiring.get(topic)) is not None:
                self._expiring[topic] = [one for one in expiring if one[0] > offsets[n - 1]]
                if not self._expiring[topic]:
                    del self._expiring[topic]
            del offsets[:n]
            if not offsets:
                del self._topics[topic]

    def missed(self, after: int, through: int, topics: TopicSet | None, now_ms: int) -> int | None:
        """How many entries of `topics` after `after` and up to `through` were taken away; None if nobody knows."""
        if after >= self._highest:
            return 0
        if after < self._floor:
            return None
        if topics is None or topics.patterns:
            found = [topic for topic in self._topics if topics is None or topics.matches(topic)]
        else:
            found = [topic for topic in topics.exact if topic in self._topics]
        return sum(self._count(topic, after, through, now_ms) for topic in found)

    def _count(self, topic: str, after: int, through: int, now_ms: int) -> int:
        offsets = self._topics[topic]
        count = bisect_right(offsets, through) - bisect_right(offsets, after)
        for offset, expires_ms in self._expiring.get(topic, ()):
            count -= after < offset <= through and expires_ms <= now_ms
        return count

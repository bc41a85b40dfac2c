"""Coalescing: when small pieces that come fast are written as one. Pure; time is an argument.

The first piece goes at once, and so does one that comes after a pause. Then there is one write in each interval, or
sooner when much has gathered. At 100 tokens a second of one write per token that is one per 3.2 tokens.
"""

from __future__ import annotations

from typing import Final

INTERVAL_MS: Final = 32  # two frames of a 60 Hz screen: reads as fluent, costs a third of a write per token
MAX_BYTES: Final = 4096  # more than that is not held back


class Coalescing:
    """Says when what has gathered is to be written. Counts bytes; the pieces themselves are the caller's.

    interval_ms: between the beginnings of two writes. max_bytes: so much is written at once.
    """

    __slots__ = ("_began_ms", "_interval_ms", "_max_bytes", "pending_bytes")

    def __init__(self, interval_ms: int = INTERVAL_MS, max_bytes: int = MAX_BYTES) -> None:
        self._interval_ms = interval_ms
        self._max_bytes = max_bytes
        self._began_ms: int | None = None
        self.pending_bytes = 0

    def add(self, size_bytes: int) -> None:
        """A piece has come."""
        self.pending_bytes += size_bytes

    def wait_ms(self, now_ms: int) -> int | None:
        """How long what has gathered may still wait: 0 if it is due, None if there is nothing."""
        if not self.pending_bytes:
            return None
        if self._began_ms is None or self.pending_bytes >= self._max_bytes:
            return 0
        return max(0, self._began_ms + self._interval_ms - now_ms)

    def take(self, now_ms: int) -> None:
        """All that has gathered is written now."""
        self._began_ms = now_ms
        self.pending_bytes = 0

"""How often a task may be told: ten times in any second, evenly where nothing is urgent. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

TOLD_PER_SECOND: Final = 10  # what looks smooth; more would only fill the journal
SPACING_MS: Final = 1_000 // TOLD_PER_SECOND


class Throttle:
    """Times are monotonic milliseconds, and do not go back."""

    __slots__ = ("_told_ms",)

    def __init__(self) -> None:
        self._told_ms: deque[int] = deque(maxlen=TOLD_PER_SECOND)

    @property
    def last_ms(self) -> int | None:
        """When it was told last."""
        return self._told_ms[-1] if self._told_ms else None

    def told(self, now_ms: int) -> None:
        """It was told."""
        self._told_ms.append(now_ms)

    def allows(self, now_ms: int, *, urgent: bool) -> bool:
        """Whether it may be told now. What is urgent need not keep its distance to the last time."""
        if not self._told_ms:
            return True
        if len(self._told_ms) == TOLD_PER_SECOND and now_ms - self._told_ms[0] < 1_000:
            return False
        return urgent or now_ms - self._told_ms[-1] >= SPACING_MS

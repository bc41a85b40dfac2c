"""How fast something grows: an exponential moving average that knows the time between its samples. Pure."""

from __future__ import annotations

import math
from typing import Final

MEMORY_SECONDS: Final = 5.0  # what happened so long ago counts for a third: steady to look at, and soon up to date
SHOWN_AFTER_MS: Final = 2_000  # what is said before is too often wrong
SAMPLE_MS: Final = 100  # samples closer together are noise


class Speed:
    """Growth per second. Not safe for concurrent use."""

    __slots__ = ("_began_ms", "_level", "_mean", "_sampled_ms", "_weight")

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget everything: what comes next has nothing to do with what was."""
        self._level: float | None = None
        self._began_ms = 0
        self._sampled_ms = 0
        self._mean = 0.0
        self._weight = 0.0  # how much of the average rests on samples; it began with none

    def sample(self, level: float | None, now_ms: int) -> None:
        """What has grown is at `level` now; None where that is unknown. Less than before begins anew."""
        if level is None or not math.isfinite(level):
            self.restart()
            return
        if self._level is None or level < self._level:
            self.restart()
            self._level = level
            self._began_ms = self._sampled_ms = now_ms
            return
        seconds = (now_ms - self._sampled_ms) / 1000
        if seconds * 1000 < SAMPLE_MS:
            return
        share = 1 - math.exp(-seconds / MEMORY_SECONDS)
        self._mean += share * ((level - self._level) / seconds - self._mean)
        self._weight += share * (1 - self._weight)
        self._level = level
        self._sampled_ms = now_ms

    def per_second(self, now_ms: int) -> float | None:
        """The speed; None for the first SHOWN_AFTER_MS."""
        if self._level is None or not self._weight or now_ms - self._began_ms < SHOWN_AFTER_MS:
            return None
        return max(0.0, self._mean / self._weight)

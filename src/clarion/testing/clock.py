"""A clock that tests turn by hand."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

START_WALL_MS: Final = 1_790_000_000_000  # 2026-09-21: any moment will do, and the same in each run


class ManualTimer:
    """What `ManualClock.call_later` returns."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    @property
    def waiting(self) -> bool:
        """Whether it is neither cancelled nor called."""
        return self._callback is not None

    def cancel(self) -> None:
        """Do not call. Twice is once."""
        self._callback = None

    def fire(self) -> None:
        """Call now, unless it is cancelled or was called."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class ManualClock:
    """A `clarion.clock.Clock` that stands still until `advance`: `Hub(clock=ManualClock())`.

    Timers are called inside `advance`, in the order in which they are due. What they begin in the event loop (a
    heartbeat on its way to a stream) happens when the loop has its turn: await what you expect.

    wall_ms: the Unix time to begin with.
    """

    def __init__(self, *, wall_ms: int = START_WALL_MS) -> None:
        self._now_ms = 0
        self._wall_ahead_ms = wall_ms
        self._timers: list[tuple[int, int, ManualTimer]] = []
        self._count = 0

    def monotonic_ms(self) -> int:
        return self._now_ms

    def wall_ms(self) -> int:
        return self._now_ms + self._wall_ahead_ms

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> ManualTimer:
        timer = ManualTimer(callback)
        self._count += 1  # those due at the same moment are called in the order of their making
        heappush(self._timers, (self._now_ms + max(0, delay_ms), self._count, timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Let so much time pass. Every timer that becomes due is called at its moment, also those made meanwhile."""
        if seconds < 0:
            raise ValueError("time does not go back; use jump_wall for a wall clock that does")
        until_ms = self._now_ms + round(seconds * 1000)
        while self._timers and self._timers[0][0] <= until_ms:
            due_ms, _, timer = heappop(self._timers)
            self._now_ms = max(self._now_ms, due_ms)
            timer.fire()
        self._now_ms = until_ms

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock ahead (or back, if negative), as an administrator or a leap would; nothing else moves."""
        self._wall_ahead_ms += round(seconds * 1000)

    @property
    def waiting(self) -> int:
        """How many timers are waiting."""
        return sum(timer.waiting for _, _, timer in self._timers)

"""Timers of the readers: silence, stalling, and the time when a stream has to end. One timer for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from clarion.clock import Clock, Timer
from clarion.subscription import State, Subscription
from clarion.wheel import Wheel

TICK_MS: Final = 50  # granularity: heartbeats and ends come at most so much late
STALL_MS: Final = 60_000  # a reader that took no byte for so long is let go; it resumes when it comes back


class Timers:
    """Says which readers were silent for their interval, which stall, and which are at their end.

    silent, stalled, over: called with those readers. A silent reader is asked about again after another interval.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        silent: Callable[[Sequence[Subscription]], None],
        stalled: Callable[[Sequence[Subscription]], None],
        over: Callable[[Sequence[Subscription]], None],
        stall_ms: int = STALL_MS,
    ) -> None:
        self._clock = clock
        self._silent = silent
        self._stalled = stalled
        self._over = over
        self._stall_ms = stall_ms
        self._looks: Wheel[Subscription] = Wheel(TICK_MS)
        self._ends: Wheel[Subscription] = Wheel(TICK_MS)
        self._timer: Timer | None = None
        self._timer_due_ms = 0

    def add(self, reader: Subscription) -> None:
        """Watch a reader. Its `written_ms` counts as the last time that it got something."""
        self._looks.add(reader.written_ms + self._interval(reader), reader)
        if reader.deadline_ms is not None:
            self._ends.add(reader.deadline_ms, reader)
        self._arm()

    def discard(self, reader: Subscription) -> None:
        """Stop watching a reader."""
        if reader.deadline_ms is not None:
            self._ends.discard(reader.deadline_ms, reader)
        # It leaves `_looks` by itself, within one interval.

    def close(self) -> None:
        """Stop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _interval(self, reader: Subscription) -> int:
        return min(reader.heartbeat_ms or self._stall_ms, self._stall_ms)

    def _arm(self) -> None:
        dues = [due for due in (self._looks.next_due_ms(), self._ends.next_due_ms()) if due is not None]
        if not dues:
            return
        due = min(dues)
        if self._timer is not None:
            if self._timer_due_ms <= due:
                return
            self._timer.cancel()
        self._timer_due_ms = due
        self._timer = self._clock.call_later(max(0, due - self._clock.monotonic_ms()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        now_ms = self._clock.monotonic_ms()
        if over := [reader for reader in self._ends.pop_due(now_ms) if reader.state is not State.CLOSED]:
            self._over(over)
        silent: list[Subscription] = []
        stalled: list[Subscription] = []
        for reader in self._looks.pop_due(now_ms):
            if reader.state is State.CLOSED:
                continue
            quiet_ms = now_ms - reader.written_ms
            if reader.blocked and quiet_ms >= self._stall_ms:
                stalled.append(reader)
                continue
            interval = self._interval(reader)
            if quiet_ms < interval:
                self._looks.add(reader.written_ms + interval, reader)
                continue
            if reader.heartbeat_ms and quiet_ms >= reader.heartbeat_ms:
                silent.append(reader)
            self._looks.add(now_ms + interval, reader)
        if stalled:
            self._stalled(stalled)
        if silent:
            self._silent(silent)
        self._arm()

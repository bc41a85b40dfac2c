"""Clocks: where the time comes from. Everything that waits or stamps asks one of these, so tests can turn it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """Something that will be called, unless it is cancelled first."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Time, in milliseconds. `clarion.testing.ManualClock` is one that tests turn by hand."""

    def monotonic_ms(self) -> int:
        """Never goes back; for intervals and deadlines."""
        ...

    def wall_ms(self) -> int:
        """Unix time; for stamps. It may jump."""
        ...

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Timer:
        """Call `callback` in the running event loop after so long."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay_ms / 1000, callback)

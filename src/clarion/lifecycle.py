"""Lifecycle: noticing that the process is asked to end, before the server waits for streams that never do.

Servers wait for open connections before they run the lifespan's shutdown. So the hub chains onto the signals when it
opens, and hands each on to whoever had it: nothing of the server is patched, and its own handling goes on unchanged.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGQUIT", "SIGBREAK") if hasattr(signal, name)
)


class ShutdownSignals:
    """Calls `callback` in the event loop when the process is told to end."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback
        self._loop = asyncio.get_running_loop()
        self._previous: dict[int, Any] = {}
        self._installed: dict[int, Any] = {}

    def install(self) -> None:
        """Chain onto the signals that somebody handles. Does nothing outside of the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            previous = signal.getsignal(number)
            if not callable(previous):  # the default, ignored, or not Python's: ends the process without waiting
                continue
            self._previous[number] = previous
            self._installed[number] = self._handle
            signal.signal(number, self._handle)

    def uninstall(self) -> None:
        """Take the chain off, where nobody has chained onto it since; elsewhere it goes on handing signals on."""
        self._callback = None
        for number, previous in self._previous.items():
            if signal.getsignal(number) == self._installed[number]:
                signal.signal(number, previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous.get(number)
        if self._callback is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._callback)
        if callable(previous):
            previous(number, frame)

"""Cancelling the asyncio task that works on something, and telling that from being cancelled by others."""

from __future__ import annotations

import asyncio


class Interrupter:
    """Of the asyncio task that makes it. `interrupt` may be called from any thread."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._others = task.cancelling()
        self._sent = 0
        self._closed = False

    def interrupt(self) -> None:
        """Cancel the task, unless it has gone on."""
        try:
            self._loop.call_soon_threadsafe(self._interrupt)
        except RuntimeError:  # the loop is closed, and the task with it
            pass

    def _interrupt(self) -> None:
        if not self._closed and not self._task.done():
            self._sent += 1
            self._task.cancel()

    def close(self, error: BaseException | None) -> bool:
        """The task leaves the block, with an exception or without. Whether `error` is our interruption, and only ours.

        Called in the task, once.
        """
        self._closed = True
        for _ in range(self._sent):
            self._task.uncancel()
        return (
            bool(self._sent) and isinstance(error, asyncio.CancelledError) and self._task.cancelling() <= self._others
        )

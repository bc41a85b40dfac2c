"""Telling tasks through a hub of this process: its event loop looks at the counters, also for those in threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

from clarion.changes import ValueChange
from clarion.clock import Clock, Timer
from clarion.errors import ClarionError, HubClosed, JournalError
from clarion.progress.targets import Telling
from clarion.work.ports import HubPort

TICK_MS: Final = 100  # how often counters are looked at; a task is told no more often
GAP_MS: Final = 20  # the least between two looks, however often steps begin and end
RETRY_MS: Final = 1_000  # after the journal failed
END_PATIENCE_MS: Final = 5_000  # how long an end is tried; who does not hear it finds the task lost

logger = logging.getLogger("clarion.work")


class HubTarget:
    """See `Target`. Leases and requests to stop are the supervisor's."""

    def __init__(self, hub: HubPort, clock: Clock, url: str | None = None) -> None:
        self._hub = hub
        self._clock = clock
        self._url = url
        self._tasks: dict[str, Telling] = {}
        self._timer: Timer | None = None
        self._looked_ms = -TICK_MS
        self._hurried = False  # something was to be told at once while a look was under way
        self._turn: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()  # held while anything is told, so that nothing is told after an end

    @property
    def url(self) -> str | None:
        """See `Target`."""
        return self._url

    def wall_ms(self) -> int:
        """See `Target`."""
        return self._clock.wall_ms()

    def begin(self, task: Telling, *, waiting: bool = False) -> None:
        """See `Target`. Raises `RuntimeError` in the event loop's own thread, which it would block."""
        self._run(self._begin(task, waiting))

    def end(self, task: Telling) -> None:
        """See `Target`."""
        try:
            self._run(self._end(task))
        except (ClarionError, RuntimeError) as error:
            _log_untold(task, error)

    async def begin_async(self, task: Telling, *, waiting: bool = False) -> None:
        """See `Target`. From another event loop of the process, too."""
        await self._in_loop(self._begin(task, waiting))

    async def end_async(self, task: Telling) -> None:
        """See `Target`. From another event loop of the process, too."""
        try:
            await self._in_loop(self._end(task))
        except (ClarionError, RuntimeError) as error:
            _log_untold(task, error)

    def wake(self) -> None:
        """See `Target`."""
        try:
            self._hub.loop.call_soon_threadsafe(self._arm, 0)
        except (ClarionError, RuntimeError):  # the hub is closed: nobody is to be told
            pass

    async def tell_waiting(self, task: Telling) -> None:
        """Tell a task of this process that waits for a thread. Raises what cannot be told at all."""
        async with self._telling():
            try:
                await self._hub.supervisor.hold(task.lease, task)
                await self._tell(task, task.value(self._clock.monotonic_ms(), self._clock.wall_ms()))
            except JournalError as error:
                logger.warning("task %s could not be told yet: %s", task.lease.id, error)
            except Exception:
                await self._hub.supervisor.release(task.lease)
                raise

    # In the loop.

    def _telling(self) -> asyncio.Lock:
        """The lock; a new one if the hub was opened again, in another loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._lock = loop, asyncio.Lock()
            self._tasks.clear()
            self._turn = self._timer = None
        return self._lock

    async def _begin(self, task: Telling, waiting: bool) -> None:
        supervisor = self._hub.supervisor
        async with self._telling():
            self._drop(task)
            try:
                if waiting:
                    await supervisor.leave(task.lease.waiting())
                else:
                    await supervisor.hold(task.lease, task)
                await self._tell(task, task.value(self._clock.monotonic_ms(), self._clock.wall_ms()))
            except JournalError as error:
                logger.warning("task %s could not be told yet: %s", task.lease.id, error)
            except Exception:
                await supervisor.release(task.lease)
                raise
            if not waiting:
                self._tasks[task.lease.run] = task
        self._arm(TICK_MS)

    async def _end(self, task: Telling) -> None:
        async with self._telling():
            self._drop(task)
            if task.shared:
                await asyncio.to_thread(task.discover)
            told = await self._tell_end(task)
        await self._hub.supervisor.release(task.lease, told=told)

    async def _tell_end(self, task: Telling) -> bool:
        """Tell how it ended. False if the journal failed for too long."""
        value = task.value(self._clock.monotonic_ms(), self._clock.wall_ms())
        deadline_ms = self._clock.monotonic_ms() + END_PATIENCE_MS
        while True:
            try:
                receipts = await self._hub.change_many(task.changes(value, key=task.lease.end_key))
                if any(receipt.duplicate for receipt in receipts):  # a hub thought it lost; it knows better
                    await self._hub.change_many(task.changes(value))
                return True
            except JournalError as error:
                if self._clock.monotonic_ms() >= deadline_ms:
                    _log_untold(task, error)
                    return False
            except ClarionError as error:
                _log_untold(task, error)
                return not isinstance(error, HubClosed)
            await self._pause(RETRY_MS)

    async def _in_loop(self, call: Coroutine[Any, Any, None]) -> None:
        """Await a call of the hub's loop, in whatever loop this is."""
        try:
            loop = self._hub.loop
        except ClarionError:
            call.close()
            raise
        if asyncio.get_running_loop() is loop:
            await call
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, loop))

    def _run(self, call: Coroutine[Any, Any, None]) -> None:
        try:
            loop = self._hub.loop
            if asyncio._get_running_loop() is loop:
                raise RuntimeError("`with` would block the event loop from its own thread; write `async with` instead")
            future = asyncio.run_coroutine_threadsafe(call, loop)
        except RuntimeError:  # a closed hub is one, too
            call.close()
            raise
        future.result()

    def _arm(self, delay_ms: int) -> None:
        """Look at the counters after so long, but for what is under way."""
        if self._turn is not None:
            self._hurried = self._hurried or delay_ms < TICK_MS
        if self._turn is not None or not self._tasks:
            return
        if self._timer is not None:
            if delay_ms >= TICK_MS:
                return
            self._timer.cancel()
        gap_ms = self._looked_ms + GAP_MS - self._clock.monotonic_ms()
        self._timer = self._clock.call_later(max(delay_ms, gap_ms, 0), self._ring)

    def _ring(self) -> None:
        self._timer = None
        try:
            loop = self._hub.loop
        except HubClosed:  # all was told before; the timer is what was left
            self._tasks.clear()
            return
        self._turn = loop.create_task(self._flush(), name="clarion progress")

    async def _flush(self) -> None:
        self._looked_ms = self._clock.monotonic_ms()
        self._hurried = False
        delay_ms = RETRY_MS
        try:
            async with self._telling():
                await self._tell_all()
            delay_ms = 0 if self._hurried else TICK_MS
        except HubClosed:  # what still runs in a thread tries to tell its end, and no more
            self._tasks.clear()
        except JournalError as error:
            logger.warning("tasks cannot be told now: %s", error)
        except Exception:
            logger.exception("tasks cannot be told now")
        finally:
            self._turn = None
            self._arm(delay_ms)

    async def _tell_all(self) -> None:
        due: list[tuple[Telling, dict[str, Any]]] = []
        changes: list[ValueChange] = []
        for task in list(self._tasks.values()):
            if task.shared:
                await asyncio.to_thread(task.discover)
            value = task.look(self._clock.monotonic_ms(), self._clock.wall_ms())
            if value is not None:
                due.append((task, value))
                changes += task.changes(value)
        if not due:
            return
        try:
            await self._hub.change_many(changes)
        except JournalError:
            raise
        except ClarionError:  # one refuses all, so each is told on its own
            for task, value in due:
                await self._tell_carefully(task, value)
            return
        for task, value in due:
            task.told(value, self._clock.monotonic_ms())

    async def _tell_carefully(self, task: Telling, value: dict[str, Any]) -> None:
        try:
            await self._tell(task, value)
        except JournalError:
            raise
        except ClarionError as error:
            logger.error("what task %s says cannot be told: %s", task.lease.id, error)
            task.told(value, self._clock.monotonic_ms())

    async def _tell(self, task: Telling, value: dict[str, Any]) -> None:
        await self._hub.change_many(task.changes(value))
        task.told(value, self._clock.monotonic_ms())

    async def _pause(self, delay_ms: int) -> None:
        over = asyncio.Event()
        timer = self._clock.call_later(delay_ms, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()

    def _drop(self, task: Telling) -> None:
        for run in [run for run, known in self._tasks.items() if known is task]:
            del self._tasks[run]


def _log_untold(task: Telling, error: Exception) -> None:
    """Its lease runs out, and hubs find it lost."""
    logger.error("the end of task %s could not be told: %s", task.lease.id, error)

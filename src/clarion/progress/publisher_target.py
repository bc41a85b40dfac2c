"""Telling tasks through a publisher: one thread for each journal and process, so that counting never waits."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from clarion.changes import ValueChange
from clarion.errors import ClarionError, JournalError, NoValue
from clarion.progress.targets import Telling
from clarion.work.endings import VALUE_SECONDS, ended_value
from clarion.work.leases import CANCEL, LEASE, RECORD_SECONDS, Lease
from clarion.work.ports import PublisherPort

TICK_SECONDS: Final = 0.1  # how often counters are looked at; a task is told no more often
GAP_SECONDS: Final = 0.02  # the least between two looks, however often steps begin and end
REQUESTS_MS: Final = 500  # how often to look for requests to stop: one small read of the journal for each task
RETRY_SECONDS: Final = 1.0  # after the journal failed
END_PATIENCE_SECONDS: Final = 5.0  # how long an end is tried; who does not hear it finds the task lost
IDLE_SECONDS: Final = 60.0  # then a thread without tasks ends

logger = logging.getLogger("clarion.work")


class PublisherTarget:
    """See `Target`.

    publisher: where to. url: how another process finds it. monotonic_ms, wall_ms, pause: for tests.
    """

    def __init__(
        self,
        publisher: PublisherPort,
        url: str | None = None,
        *,
        monotonic_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        pause: Callable[[float], Any] = time.sleep,
        threaded: bool = True,
    ) -> None:
        self._publisher = publisher
        self._url = url
        self._monotonic_ms = monotonic_ms
        self._wall_ms = wall_ms
        self._pause = pause
        self._threaded = threaded
        self._tasks: dict[str, Telling] = {}
        self._renew_ms: dict[str, int] = {}
        self._requests_ms = 0
        self._lock = threading.RLock()  # held while anything is told, so that nothing is told after an end
        self._awake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def url(self) -> str | None:
        """See `Target`."""
        return self._url

    def wall_ms(self) -> int:
        """See `Target`."""
        return self._wall_ms()

    def begin(self, task: Telling, *, waiting: bool = False) -> None:
        """See `Target`."""
        with self._lock:
            self._drop(task)
            try:
                self._take_lease(task, waiting)
                self._tell(task, task.value(self._monotonic_ms(), self._wall_ms()))
            except JournalError as error:
                logger.warning("task %s could not be told yet: %s", task.lease.id, error)
                if waiting:
                    return
            except BaseException:
                self._give_back(task.lease)
                raise
            if waiting:
                return
            self._tasks[task.lease.run] = task
            self._renew_ms.setdefault(task.lease.run, self._monotonic_ms())
            self._look_for_requests([task])
            self._run()

    async def begin_async(self, task: Telling, *, waiting: bool = False) -> None:
        """See `Target`."""
        await asyncio.to_thread(self.begin, task, waiting=waiting)

    def end(self, task: Telling) -> None:
        """See `Target`."""
        with self._lock:
            self._drop(task)
            task.discover()
            value = task.value(self._monotonic_ms(), self._wall_ms())
            deadline_ms = self._monotonic_ms() + END_PATIENCE_SECONDS * 1000
            while True:
                try:
                    receipts = self._publisher.change_many(task.changes(value, key=task.lease.end_key))
                    if any(receipt.duplicate for receipt in receipts):  # a hub thought it lost; it knows better
                        self._publisher.change_many(task.changes(value))
                    break
                except JournalError as error:
                    if self._monotonic_ms() >= deadline_ms:
                        logger.error("the end of task %s could not be told: %s", task.lease.id, error)
                        return
                except ClarionError as error:
                    logger.error("the end of task %s cannot be told: %s", task.lease.id, error)
                    break
                self._pause(RETRY_SECONDS)
            self._give_back(task.lease)

    async def end_async(self, task: Telling) -> None:
        """See `Target`."""
        await asyncio.to_thread(self.end, task)

    def wake(self) -> None:
        """See `Target`."""
        self._awake.set()

    def asked(self, lease: Lease) -> str | None:
        """Why a run is to stop, by what the journal says now; None if it is not. Raises `JournalError`."""
        return lease.asked(self._publisher.control_get(CANCEL, lease.id))

    def end_for(self, lease: Lease, status: str) -> None:
        """Tell the end of a task that cannot do it itself: its process was killed, or it never left its queue.

        What it has told before stays; if it has told an end, that does. Raises `JournalError`.
        """
        changes: list[ValueChange] = []
        with self._lock:
            for topic, user in lease.addresses:
                value = ended_value(self._publisher.get(topic, user=user), status, self._wall_ms())
                if value is not None:
                    changes.append(ValueChange(topic, "set", value, event=lease.event, ttl=VALUE_SECONDS, user=user))
            if changes:
                self._publisher.change_many(changes)
                self._give_back(lease)

    def close(self) -> None:
        """The process ends: what still runs is told as lost, with what it has counted. Twice is once."""
        with self._lock:
            self._closed = True
            tasks = list(self._tasks.values())
        self.wake()
        for task in tasks:
            task.abandon()

    # The thread.

    def _run(self) -> None:
        """See to it that the thread runs."""
        if self._threaded and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._flush_always, name="clarion progress", daemon=True)
            self._thread.start()
        self.wake()

    def _flush_always(self) -> None:
        idle_since = self._monotonic_ms()
        seconds = TICK_SECONDS
        while not self._closed:
            self._awake.wait(seconds)
            self._awake.clear()
            try:
                seconds = TICK_SECONDS if self.flush() else RETRY_SECONDS
            except Exception:
                logger.exception("tasks could not be told")
                seconds = RETRY_SECONDS
            with self._lock:
                if self._tasks:
                    idle_since = self._monotonic_ms()
                elif self._monotonic_ms() - idle_since > IDLE_SECONDS * 1000:
                    self._thread = None
                    return
                else:
                    seconds = IDLE_SECONDS
            self._pause(GAP_SECONDS)

    def flush(self) -> bool:
        """Look at the counters once, tell what there is to tell, and look after leases. False if the journal failed."""
        with self._lock:
            try:
                now_ms = self._monotonic_ms()
                for task in self._tasks.values():
                    if self._renew_ms[task.lease.run] <= now_ms:
                        self._take_lease(task, False)
                if now_ms - self._requests_ms >= REQUESTS_MS:
                    self._look_for_requests(list(self._tasks.values()))
                self._tell_all()
            except JournalError as error:
                logger.warning("tasks cannot be told now: %s", error)
                return False
        return True

    def _tell_all(self) -> None:
        due: list[tuple[Telling, dict[str, Any]]] = []
        changes: list[ValueChange] = []
        for task in self._tasks.values():
            if task.shared:
                task.discover()
            value = task.look(self._monotonic_ms(), self._wall_ms())
            if value is not None:
                due.append((task, value))
                changes += task.changes(value)
        if not due:
            return
        try:
            self._publisher.change_many(changes)
        except JournalError:
            raise
        except ClarionError:  # one refuses all, so each is told on its own
            for task, value in due:
                self._tell(task, value, careful=True)
            return
        for task, value in due:
            task.told(value, self._monotonic_ms())

    def _tell(self, task: Telling, value: dict[str, Any], *, careful: bool = False) -> None:
        try:
            self._publisher.change_many(task.changes(value))
        except JournalError:
            raise
        except ClarionError as error:
            if not careful:
                raise
            logger.error("what task %s says cannot be told: %s", task.lease.id, error)
        task.told(value, self._monotonic_ms())

    # Leases and requests.

    def _take_lease(self, task: Telling, waiting: bool) -> None:
        lease = task.lease.waiting() if waiting else task.lease
        self._publisher.control_set(LEASE, lease.id, lease.to_json(self._wall_ms()), ttl=RECORD_SECONDS)
        if lease.renew_ms is not None:
            self._renew_ms[lease.run] = self._monotonic_ms() + lease.renew_ms

    def _give_back(self, lease: Lease) -> None:
        self._renew_ms.pop(lease.run, None)
        for name in (LEASE, CANCEL):
            try:
                self._publisher.control_delete(name, lease.id)
            except NoValue:
                pass
            except ClarionError as error:
                logger.warning("the %s of %s could not be taken away: %s", name, lease.id, error)

    def _drop(self, task: Telling) -> None:
        for run in [run for run, known in self._tasks.items() if known is task]:
            del self._tasks[run]
            self._renew_ms.pop(run, None)

    def _look_for_requests(self, tasks: list[Telling]) -> None:
        self._requests_ms = self._monotonic_ms()
        for task in tasks:
            try:
                reason = self.asked(task.lease)
            except JournalError as error:
                logger.warning("requests to stop cannot be read now: %s", error)
                return
            if reason is not None:
                task.cancel(reason)

    # Forks.

    def before_fork(self) -> None:
        """Let nothing be half told when the process is copied."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Nothing of the parent's is ours, and its thread is not here."""
        self._lock = threading.RLock()
        self._awake = threading.Event()
        self._thread = None
        self._tasks.clear()
        self._renew_ms.clear()

"""A task that tells how far it is: the same object in async code, threads, process pools and task queues."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, Unpack

from clarion.progress.destinations import Destination, target_of
from clarion.progress.interrupting import Interrupter
from clarion.progress.members import Member, become_member, disown, own, unpickled
from clarion.progress.options import TaskOptions, new_run, plan
from clarion.progress.record import Record
from clarion.progress.step import is_cancel
from clarion.progress.targets import Target
from clarion.work.failures import Cancelled, report
from clarion.work.leases import ASKED, SHUTDOWN
from clarion.work.status import CANCELLED, COMPLETED, ENDED, FAILED, LOST, PENDING, RUNNING

_current: Final[contextvars.ContextVar[Progress | None]] = contextvars.ContextVar("clarion_progress", default=None)

logger = logging.getLogger("clarion.work")


class Progress(Record):
    """Work that takes a while. `async with hub.progress("import:42", total=n) as task: task.advance()`.

    task_id: its topic, by which it is found, cancelled and subscribed to. to: where it is told: the URL of a journal
    that hubs have open (`sqlite:///events.db`), a `Publisher`, or what `hub.progress` gives. options: `TaskOptions`.

    `async with` in an event loop, `with` in threads and scripts; or `start` and `finish`. An exception that leaves the
    block ends the task as failed, with what `clarion.work.failures` says of it; a request to stop ends it as cancelled.
    The value of the topic says all of it; see `clarion.progress.teller`.

    Concurrency: see `Step`. It may be given to other processes of the machine, pickled or over `fork`: they count into
    the same task. One that has not begun may be pickled if `to` is a URL, and begins where it is used.
    Raises `InvalidTopic`, `InvalidEvent`, `ValueError` or `TypeError` for options that cannot be.
    """

    def __init__(self, task_id: str, *, to: Destination, **options: Unpack[TaskOptions]) -> None:
        super().__init__(plan(task_id, **options), target_of(to))
        self._made_with: tuple[str, TaskOptions] = (task_id, options)
        self._interrupter: Interrupter | None = None
        self._token: contextvars.Token[Progress | None] | None = None

    @classmethod
    def of_member(cls, task_id: str, run: str, member: Member) -> Progress:
        """A task that another process owns."""
        task = cls.__new__(cls)
        Record.__init__(task, plan(task_id, run=run), None)
        task._made_with = (task_id, {})
        task._interrupter = task._token = None
        task._status = RUNNING
        become_member(task._common, task, member.folder)
        return task

    # Beginning and ending.

    def start(self, *, waiting: bool = False) -> None:
        """Begin, and tell so. Blocks for as long as the journal takes; `with` does it.

        waiting: tell that it waits for somebody to start it, as a `Progress` with the same id and `queue_id`.

        Raises `Cancelled` if somebody has asked to stop already, `RuntimeError` if it has begun, and what `Target`
        says.
        """
        target = self._begin(waiting)
        try:
            target.begin(self, waiting=waiting)
        except KeyboardInterrupt as error:
            self.finish(error)
            raise
        except Exception:
            self._forget()
            raise
        if self.asked is not None:
            self.finish(stop := Cancelled(self.id, self.asked))
            raise stop

    async def start_async(self, *, waiting: bool = False) -> None:
        """`start`, in an event loop; `async with` does it."""
        target = self._begin(waiting)
        try:
            await target.begin_async(self, waiting=waiting)
        except asyncio.CancelledError as error:
            await self.finish_async(error)
            raise
        except Exception:
            self._forget()
            raise
        if self._common.reason is not None:
            await self.finish_async(stop := Cancelled(self.id, self._common.reason))
            raise stop

    def retry(self, error: BaseException | None = None) -> None:
        """It has not worked, and waits in its queue for another try. Blocks as `finish` does; twice is once.

        error: why; it is logged, and people are told what is safe.
        """
        with self._ending:
            if self._common.member is not None or self._target is None or self._status != RUNNING:
                return
            failure = None if error is None or is_cancel(error) else report(self.id, error)
            with self._common.lock:
                self._error = failure
                self._status = PENDING
                self._attempt += 1
                self._started_ms = None
                self._lease = self._plan.lease
                self._common.wake = _nothing
        try:
            self._target.begin(self, waiting=True)
        finally:
            self._forget()

    def finish(self, error: BaseException | None = None, *, message: str | None = None) -> None:
        """End, and tell how: completed, or what `error` says. Twice is once. A journal that fails raises nothing."""
        if (target := self._end(error, message)) is not None:
            try:
                target.end(self)
            finally:
                self._forget()

    async def finish_async(self, error: BaseException | None = None, *, message: str | None = None) -> None:
        """`finish`, in an event loop. Goes on to its end if the caller is cancelled."""
        if (target := self._end(error, message)) is not None:
            try:
                await _to_the_end(target.end_async(self))
            finally:
                if self.shared:
                    await asyncio.to_thread(self._forget)
                else:
                    self._forget()

    def cancel(self, reason: str = ASKED) -> None:
        """Begin to stop: `advance`, `iter` and `check` raise `Cancelled`; the asyncio task that began it is cancelled.

        reason: see `clarion.work.leases`. Has no effect on a task that has ended.
        """
        with self._common.lock:
            if self._status in ENDED:
                return
            self._asked = self._asked or reason != SHUTDOWN
            self._common.reason = reason
            self._common.armed = True
            if self._sharing is not None:
                self._sharing.stop(reason)
        self._common.wake()
        if self._interrupter is not None:
            self._interrupter.interrupt()

    def __enter__(self) -> Self:
        if self._common.member is None:
            self.start()
            self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        self.finish(error)

    async def __aenter__(self) -> Self:
        if self._common.member is None:
            await self.start_async()
            self._interrupter = Interrupter()
            self.enter()
            if self._common.reason is not None:  # it came while there was nobody to interrupt
                self._interrupter.interrupt()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        interrupter, self._interrupter = self._interrupter, None
        ours = interrupter is not None and interrupter.close(error)
        await self.finish_async(error)
        if ours:  # the cancellation was ours: as `asyncio.timeout` does, what leaves the block says why
            raise Cancelled(self.id, self._common.reason or ASKED) from error

    def _begin(self, waiting: bool) -> Target:
        with self._common.lock:
            if self._target is None or (self._status != PENDING or self._started_ms is not None):
                raise RuntimeError(f"task {self.id!r} has begun already; make another Progress for another run")
            if not waiting:
                if self._plan.queued:
                    self._lease = self._plan.lease.started(new_run())
                self._status = RUNNING
                self._started_ms = self._target.wall_ms()
                self._common.wake = self._target.wake
        if not waiting:
            own(self)
        return self._target

    def _end(self, error: BaseException | None, message: str | None) -> Target | None:
        """Settle how it ended. None if that is settled, or another process's to say."""
        if self._common.member is not None:
            return None
        with self._ending:
            if self._status != RUNNING:
                return None
            failure = None if error is None or is_cancel(error) else report(self.id, error)
            with self._common.lock:
                self._error = failure
                if message is not None:
                    self._common.message = message
                self._status = self._outcome(error)
            return self._target

    def _outcome(self, error: BaseException | None) -> str:
        if error is None:
            return COMPLETED
        if not is_cancel(error):
            return FAILED
        return LOST if self._common.reason == SHUTDOWN else CANCELLED

    @property
    def asked(self) -> str | None:
        """Why it is to stop (see `clarion.work.leases`); None if it is not."""
        return self._common.reason

    def wake_with(self, wake: Callable[[], Any]) -> None:
        """Have `wake()` called, from any thread, when something is to be told or done, until the task begins."""
        self._common.wake = wake

    def enter(self) -> None:
        """Make it what `current_progress` gives in this context; `with` does it."""
        self._token = _current.set(self)

    def leave(self) -> None:
        """Let `current_progress` give what it gave before."""
        if self._token is not None:
            try:
                _current.reset(self._token)
            except ValueError:  # left in another context than it was entered in
                pass
            self._token = None

    def _forget(self) -> None:
        disown(self)
        with self._common.lock:
            sharing, self._sharing = self._sharing, None
        if sharing is not None:
            sharing.close()

    def abandon(self) -> None:
        """The process ends, and the task with it."""
        self._common.reason = SHUTDOWN
        self.finish(Cancelled(self.id, SHUTDOWN))

    # Other processes.

    def __reduce__(self) -> tuple[Any, ...]:
        if self._common.member is not None:
            return unpickled, (self.run, self.id, str(self._common.member.folder))
        if self._started_ms is not None:
            return unpickled, (self.run, self.id, str(self.share().folder))
        url = None if self._target is None else self._target.url
        if url is None:
            raise TypeError(
                f"task {self.id!r} has not begun, and what tells it cannot be reached from another process: begin it "
                'before you give it on, or make it with the URL of a journal: Progress(..., to="sqlite:///events.db")'
            )
        task_id, options = self._made_with
        return _remade, (task_id, url, options)

    def after_fork_in_child(self) -> None:
        """See `Record`."""
        super().after_fork_in_child()
        self._interrupter = None


def current_progress() -> Progress | None:
    """The task whose `with` block this code runs in, in this context; None where there is none."""
    return _current.get()


def _nothing() -> None:
    return None


def _remade(task_id: str, url: str, options: TaskOptions) -> Progress:
    return Progress(task_id, to=url, **options)


async def _to_the_end(call: Any) -> None:
    """Await `call`; if the caller is cancelled meanwhile, that happens once `call` is done."""
    task = asyncio.ensure_future(call)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled

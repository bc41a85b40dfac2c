"""Tasks of a hub: `hub.progress` makes the object, `hub.task` turns a function into a task that tells its progress."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import secrets
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial, update_wrapper
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar, Unpack, overload

from clarion.clock import Clock
from clarion.progress.hub_target import HubTarget
from clarion.progress.options import TaskOptions
from clarion.progress.progress import Progress
from clarion.work.failures import Cancelled
from clarion.work.leases import ASKED, SHUTDOWN
from clarion.work.ports import HubPort

TASK_THREADS: Final = 32  # for tasks that are plain functions; more of them wait, as pending
ID_BYTES: Final = 9  # of a made-up id: nobody guesses it, and it fits a URL

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Task(Generic[Result]):
    """A task that was started. `await` it for what the function returns; it raises what the function raised, and
    `Cancelled` if it was stopped. Whoever does not wait for it finds its end in the value of the topic `id`.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._future: Future[Result] = Future()
        self._future.set_running_or_notify_cancel()  # from now on it is only cancelled by `cancel`

    @property
    def id(self) -> str:
        """The task's id, which is its topic."""
        return self.progress.id

    def done(self) -> bool:
        """Whether it has ended."""
        return self._future.done()

    def cancel(self) -> None:
        """Ask it to stop. From any thread."""
        self.progress.cancel(ASKED)

    def result(self, timeout: float | None = None) -> Result:
        """Wait, in a thread, for what the function returns; at most `timeout` seconds, then `TimeoutError`."""
        return self._future.result(timeout)

    def __await__(self) -> Generator[Any, None, Result]:
        return asyncio.wrap_future(self._future).__await__()

    def ended(self, call: Callable[[], Result]) -> None:
        """What came of it is what `call` returns or raises."""
        try:
            self._future.set_result(call())
        except BaseException as error:
            self._future.set_exception(error)


class TaskFunction(Generic[Arguments, Result]):
    """A function that can be started as a task. Calling it calls the function itself, with a progress of your own."""

    def __init__(self, tasks: Tasks, function: Callable[..., Any], options: TaskOptions) -> None:
        self._tasks = tasks
        self._function = function
        self._options = options
        self._task_id: str | None = None
        update_wrapper(self, function)

    def __call__(self, progress: Progress, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Any:
        return self._function(progress, *args, **kwargs)

    def using(self, task_id: str | None = None, **options: Unpack[TaskOptions]) -> TaskFunction[Arguments, Result]:
        """The same function with other options: `report.using(user=user_id).start(month="2026-10")`.

        task_id: instead of a made-up one.
        """
        other: TaskFunction[Arguments, Result] = TaskFunction(self._tasks, self._function, {**self._options, **options})
        other._task_id = task_id or self._task_id
        return other

    def start(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Task[Result]:
        """Start a task, and return at once. From any thread. Raises `HubClosed`, and what `Progress` raises."""
        name = getattr(self._function, "__name__", "task")
        options: TaskOptions = {"title": name.replace("_", " ").capitalize(), **self._options}
        progress = self._tasks.progress(self._task_id or made_up_id(name), **options)
        task: Task[Result] = Task(progress)
        call = partial(self._function, progress, *args, **kwargs)
        self._tasks.begin(task, call, in_loop=inspect.iscoroutinefunction(self._function))
        return task


class Tasks:
    """A hub's tasks; `Hub.progress` and `Hub.task` are its methods.

    url: of the hub's journal, if other processes can open it.
    """

    def __init__(self, hub: HubPort, clock: Clock, url: str | None = None) -> None:
        self._hub = hub
        self._target = HubTarget(hub, clock, url)
        self._threads: ThreadPoolExecutor | None = None
        self._in_threads = 0
        self._waiting: dict[asyncio.Event, None] = {}  # who waits for a thread, in order
        self._running: set[asyncio.Task[None]] = set()

    def progress(self, task_id: str | None = None, **options: Unpack[TaskOptions]) -> Progress:
        """A task to begin: `async with` in the hub's event loop, `with` in its threads. See `Progress`.

        task_id: its topic; made up if None. Raises what `Progress` raises.
        """
        return Progress(made_up_id("task") if task_id is None else task_id, to=self._target, **options)

    @overload
    def task(
        self, function: Callable[Concatenate[Progress, Arguments], Coroutine[Any, Any, Result]], /
    ) -> TaskFunction[Arguments, Result]: ...

    @overload
    def task(
        self, function: Callable[Concatenate[Progress, Arguments], Result], /
    ) -> TaskFunction[Arguments, Result]: ...

    @overload
    def task(self, function: None = None, /, **options: Unpack[TaskOptions]) -> TaskDecorator: ...

    def task(self, function: Any = None, /, **options: Unpack[TaskOptions]) -> Any:
        """Make a task of a function: `@hub.task(title="Report")`. It gets its progress as its first argument.

        A coroutine function runs in the hub's event loop, any other in a thread. It begins, ends and fails by itself.
        """
        decorator = TaskDecorator(self, options)
        return decorator if function is None else decorator(function)

    def begin(self, task: Task[Any], call: Callable[[], Any], *, in_loop: bool) -> None:
        """Run `call` as the task, from whatever thread this is. Raises `HubClosed`."""
        loop = self._hub.loop
        context = contextvars.copy_context()

        def begin() -> None:
            self._hub.supervisor.announce(task.progress.lease, task.progress)
            if in_loop:
                work = _run(task, call)
            else:
                work = self._run_in_thread(task, call)
            running = loop.create_task(work, name=f"clarion {task.id}", context=context)
            self._running.add(running)
            running.add_done_callback(self._running.discard)

        if asyncio._get_running_loop() is loop:
            begin()
        else:
            loop.call_soon_threadsafe(begin)

    async def close(self) -> None:
        """Let go of the threads, once the supervisor has stopped what ran. May be used again."""
        for running in list(self._running):
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None

    async def _run_in_thread(self, task: Task[Any], call: Callable[[], Any]) -> None:
        """Give it to a thread once one is free. In the thread, it sees a request to stop at its next `advance`."""
        try:
            if self._in_threads >= TASK_THREADS:
                await self._wait_for_thread(task.progress)
            if task.progress.asked is not None:  # it begins and ends at once
                await task.progress.start_async()
        except Exception as error:
            task.ended(partial(_raise, error))
            return
        self._in_threads += 1
        if self._threads is None:
            self._threads = ThreadPoolExecutor(TASK_THREADS, thread_name_prefix="clarion-task")
        context, loop = contextvars.copy_context(), asyncio.get_running_loop()

        def done(_: Future[None]) -> None:
            try:
                loop.call_soon_threadsafe(self._thread_is_free)
            except RuntimeError:  # the loop is closed, and this is the last that was left
                pass

        self._threads.submit(lambda: context.run(_run_here, task, call)).add_done_callback(done)

    async def _wait_for_thread(self, progress: Progress) -> None:
        """Wait, as pending, until a thread is free or somebody asks it to stop."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        self._waiting[woken] = None
        progress.wake_with(lambda: loop.call_soon_threadsafe(woken.set))
        try:
            await self._target.tell_waiting(progress)
            while self._in_threads >= TASK_THREADS and progress.asked is None:
                woken.clear()
                await woken.wait()
        finally:
            del self._waiting[woken]

    def _thread_is_free(self) -> None:
        self._in_threads -= 1
        if self._waiting:
            next(iter(self._waiting)).set()


async def _run(task: Task[Any], call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    try:
        async with task.progress:
            result = await call()
    except asyncio.CancelledError:
        task.ended(partial(_raise, Cancelled(task.id, SHUTDOWN)))
        raise
    except Exception as error:
        task.ended(partial(_raise, error))
    else:
        task.ended(lambda: result)


def _run_here(task: Task[Any], call: Callable[[], Any]) -> None:
    def run() -> Any:
        with task.progress:
            return call()

    task.ended(run)


def _raise(error: BaseException) -> Any:
    raise error


class TaskDecorator:
    """What `hub.task(...)` gives."""

    def __init__(self, tasks: Tasks, options: TaskOptions) -> None:
        self._tasks = tasks
        self._options = options

    @overload
    def __call__(
        self, function: Callable[Concatenate[Progress, Arguments], Coroutine[Any, Any, Result]], /
    ) -> TaskFunction[Arguments, Result]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[Progress, Arguments], Result], /
    ) -> TaskFunction[Arguments, Result]: ...

    def __call__(self, function: Any, /) -> Any:
        return TaskFunction(self._tasks, function, self._options)


def made_up_id(name: str) -> str:
    """An id for a task that has none, which nobody can guess."""
    return f"{name}:{secrets.token_urlsafe(ID_BYTES)}"

"""What the integrations of task queues have in common: tasks that wait in a queue and are worked on elsewhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from clarion.errors import ClarionError, JournalError
from clarion.progress.destinations import Destination, target_of
from clarion.progress.options import TaskOptions, plan
from clarion.progress.progress import Progress
from clarion.progress.publisher_target import PublisherTarget
from clarion.work.failures import Cancelled
from clarion.work.leases import Lease

OptionsOf = Callable[[str, Sequence[Any], Mapping[str, Any]], TaskOptions | None]

_NAMES: Final = TaskOptions.__optional_keys__ - {"queue_id", "attempt"}

logger = logging.getLogger("clarion.work")


class Queue:
    """The tasks of a queue, as they wait and as they are worked on in this process.

    to: where they are told: the URL of a journal that the app's hubs have open, or a `Publisher`. options: a function
    from a task's name and arguments to its options (`TaskOptions`), the same for who puts it there and for who works
    on it; None for one that is not to be told. Nothing of it ever fails a task: what goes wrong is logged.

    Concurrency: every method may be called from any thread.
    """

    def __init__(self, to: Destination, options: OptionsOf | None = None) -> None:
        self._to = to
        self._options = options
        self._lock = threading.Lock()
        self._running: dict[str, Progress] = {}

    def options_of(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], given: Any = None
    ) -> TaskOptions | None:
        """How a task is to be told; None for not at all. given: what whoever put it there said, above all else."""
        options: TaskOptions | None = {} if self._options is None else self._options(name, args, kwargs)
        if options is None:
            return None
        title: TaskOptions = {"title": name.rpartition(".")[2].rpartition(":")[2].replace("_", " ").capitalize()}
        more = {key: value for key, value in given.items() if key in _NAMES} if isinstance(given, Mapping) else {}
        made: TaskOptions = {**title, **options}
        made.update(more)  # type: ignore[typeddict-item]
        return made

    def get(self, queue_id: str) -> Progress | None:
        """The task, if it is worked on in this process."""
        return self._running.get(queue_id)

    def put(self, queue_id: str, options: TaskOptions, attempt: int, error: BaseException | None = None) -> None:
        """It waits, for the first time or once more. Call it before anybody can take it. error: why once more."""
        if (task := self._take(queue_id)) is not None:
            task.retry(error)
        else:
            self._made(queue_id, options, attempt).start(waiting=True)

    def begin(self, queue_id: str, options: TaskOptions, attempt: int) -> Progress:
        """It is worked on, in this process. One that is to stop already finds out at its first `advance`."""
        task = self._made(queue_id, options, attempt)
        try:
            task.start()
        except Cancelled:
            logger.info("task %s was asked to stop while it waited", queue_id)
        with self._lock:
            self._running[queue_id] = task
        return task

    def end(self, queue_id: str, error: BaseException | None = None) -> None:
        """It has ended, in this process. Twice is once."""
        if (task := self._take(queue_id)) is not None:
            task.finish(error)

    def asked_to_stop(self, queue_id: str, options: TaskOptions) -> bool:
        """Whether somebody asked it to stop while it waited."""
        target = target_of(self._to)
        try:
            return isinstance(target, PublisherTarget) and target.asked(_lease(queue_id, options)) is not None
        except JournalError as error:
            logger.warning("whether %s is to stop cannot be read now: %s", queue_id, error)
            return False

    def end_for(self, queue_id: str, options: TaskOptions, status: str) -> None:
        """Tell the end of one that cannot do it itself."""
        target = target_of(self._to)
        if isinstance(target, PublisherTarget):
            try:
                target.end_for(_lease(queue_id, options), status)
            except ClarionError as error:
                logger.error("the end of task %s could not be told: %s", queue_id, error)

    def _take(self, queue_id: str) -> Progress | None:
        with self._lock:
            return self._running.pop(queue_id, None)

    def _made(self, queue_id: str, options: TaskOptions, attempt: int) -> Progress:
        made: TaskOptions = {**options, "queue_id": queue_id, "attempt": attempt}
        return Progress(queue_id, to=self._to, **made)


def _lease(queue_id: str, options: TaskOptions) -> Lease:
    made: TaskOptions = {**options, "queue_id": queue_id}
    return plan(queue_id, **made).lease

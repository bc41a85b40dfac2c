"""taskiq tasks as progress, by a middleware: pending when it is sent, running, retried, failed, completed."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from taskiq import TaskiqMessage, TaskiqMiddleware, TaskiqResult

from clarion.progress.destinations import Destination
from clarion.progress.options import TaskOptions
from clarion.progress.progress import Progress, current_progress
from clarion.progress.queues import OptionsOf, Queue

__all__ = ["Progress", "ProgressMiddleware", "current_progress"]

LABEL: Final = "clarion_"  # of a task or a call: `task.kicker().with_labels(clarion_user="ann").kiq(...)`
_RETRIES: Final = "_retries"  # the label in which taskiq's retry middlewares count


class ProgressMiddleware(TaskiqMiddleware):
    """Tells the tasks of taskiq: give one to the queue, in producers and workers alike.

    A task's id is its topic. Tasks need no code for it; one that counts asks `current_progress()` for the object.

    to: where they are told; see `clarion.progress.queues.Queue`. options: a function from a task's name and arguments
    to its options, or None for one that is not to be told; the same in producers and workers. A task or a call may
    have options of its own, as labels that begin with LABEL.

    Cancelling: the task finds `Cancelled` at its next `advance`, `iter` or `check`.
    """

    def __init__(self, to: Destination, *, options: OptionsOf | None = None) -> None:
        super().__init__()
        self._queue = Queue(to, options)
        self._errors: dict[str, BaseException] = {}

    async def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """In the producer, before anybody can take it. A retry is sent by the worker that gives up."""
        if (options := self._options(message)) is not None:
            error = self._errors.get(message.task_id)
            await asyncio.to_thread(self._queue.put, message.task_id, options, _attempt(message), error)
        return message

    async def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """In the worker, before the task runs, and in the task's context."""
        if (options := self._options(message)) is not None:
            task = await asyncio.to_thread(self._queue.begin, message.task_id, options, _attempt(message))
            task.enter()
        return message

    def on_error(self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException) -> None:
        """In the worker; a retry middleware may send the task again after this."""
        if self._queue.get(message.task_id) is not None:
            self._errors[message.task_id] = exception

    async def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        """In the worker, once it is known whether it is tried again."""
        self._errors.pop(message.task_id, None)
        if (task := self._queue.get(message.task_id)) is not None:
            task.leave()
            await asyncio.to_thread(self._queue.end, message.task_id, result.error if result.is_err else None)

    def _options(self, message: TaskiqMessage) -> TaskOptions | None:
        labels = {name[len(LABEL) :]: value for name, value in message.labels.items() if name.startswith(LABEL)}
        return self._queue.options_of(message.task_name, message.args, message.kwargs, labels)


def _attempt(message: TaskiqMessage) -> int:
    return int(message.labels.get(_RETRIES, 0)) + 1

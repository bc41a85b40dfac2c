"""Celery tasks as progress, by its signals alone: pending when it is sent, running, retried, failed, completed."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from celery import Celery, signals  # type: ignore[import-untyped]
from celery.exceptions import Retry  # type: ignore[import-untyped]
from celery.worker import state  # type: ignore[import-untyped]

from clarion.progress.destinations import Destination
from clarion.progress.options import TaskOptions
from clarion.progress.progress import Progress, current_progress
from clarion.progress.queues import OptionsOf, Queue
from clarion.work.status import CANCELLED, LOST

__all__ = ["CeleryProgress", "Progress", "current_progress"]

HEADER: Final = "clarion"  # of a message: options for one call, `apply_async(headers={"clarion": {"user": "ann"}})`
_OWN: Final = "celery."  # Celery's own tasks: nobody waits for those


class CeleryProgress:
    """Tells the tasks of a Celery app. Make one where the app is made, for producers and workers alike:

        app = Celery(...)
        progress = CeleryProgress(app, "sqlite:///events.db")

    A task's id is its topic. Tasks need no code for it; one that counts asks `current_progress()` for the object.

    to: where they are told; see `clarion.progress.queues.Queue`. options: a function from a task's name and arguments
    to its options (whose it is, its title, ...), or None for one that is not to be told; it must be the same in
    producers and workers. A call may have options of its own, in the header HEADER.

    Cancelling: one that waits is not begun; one that runs finds `Cancelled` at its next `advance`. A task that was
    revoked or whose worker was killed is told so by the process that survives, or else by its lease.
    """

    def __init__(self, app: Celery, to: Destination, *, options: OptionsOf | None = None) -> None:
        self._app = app
        self._queue = Queue(to, options)
        self._connected = [
            (signals.before_task_publish, self._sent),
            (signals.task_received, self._received),
            (signals.task_prerun, self._begun),
            (signals.task_retry, self._retried),
            (signals.task_failure, self._failed),
            (signals.task_revoked, self._revoked),
            (signals.task_postrun, self._over),
        ]
        for signal, receiver in self._connected:
            signal.connect(receiver, weak=False)

    def disconnect(self) -> None:
        """Tell nothing more. Twice is once."""
        for signal, receiver in self._connected:
            signal.disconnect(receiver)

    def _sent(self, sender: str, headers: Mapping[str, Any], body: Any, **_: Any) -> None:
        """In the producer, before anybody can take the message. A retry is sent by the worker that gives up."""
        args, kwargs = (body[0], body[1]) if isinstance(body, list | tuple) else (body["args"], body["kwargs"])
        options = self._options(sender, args, kwargs, headers)
        if options is not None:
            error = sys.exc_info()[1] if headers.get("retries") else None
            self._queue.put(headers["id"], options, (headers.get("retries") or 0) + 1, error)

    def _received(self, request: Any, **_: Any) -> None:
        """In the worker's main process, before the task is given to a child."""
        options = self._options(request.name, request.args, request.kwargs, request.request_dict)
        if options is not None and self._queue.asked_to_stop(request.id, options):
            state.revoked.add(request.id)

    def _begun(self, task_id: str, task: Any, args: Any, kwargs: Any, **_: Any) -> None:
        options = self._options(task.name, args, kwargs, task.request.headers)
        if task.app is self._app and options is not None:
            self._queue.begin(task_id, options, (task.request.retries or 0) + 1).enter()

    def _retried(self, sender: Any, request: Any, reason: Any, **_: Any) -> None:
        """Most were sent again by now, and wait since; one that runs eagerly is not."""
        if self._queue.get(request.id) is not None:
            self._leave(request.id)
            self._queue.put(request.id, {}, 1, reason.exc if isinstance(reason, Retry) else None)

    def _failed(self, sender: Any, task_id: str, exception: BaseException, args: Any, kwargs: Any, **_: Any) -> None:
        if self._queue.get(task_id) is not None:
            self._leave(task_id)
            self._queue.end(task_id, exception)
        else:  # a child was killed: this is the worker's main process
            self._end_for(sender, task_id, args, kwargs, None, LOST)

    def _revoked(self, sender: Any, request: Any, **_: Any) -> None:
        self._end_for(sender, request.id, request.args, request.kwargs, request.headers, CANCELLED)

    def _over(self, task_id: str, **_: Any) -> None:
        """Whatever was not told by now has ended well."""
        self._leave(task_id)
        self._queue.end(task_id)

    def _leave(self, task_id: str) -> None:
        if (task := self._queue.get(task_id)) is not None:
            task.leave()

    def _end_for(self, sender: Any, task_id: str, args: Any, kwargs: Any, headers: Any, status: str) -> None:
        options = self._options(sender.name, args or (), kwargs or {}, headers)
        if options is not None:
            self._queue.end_for(task_id, options, status)

    def _options(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], headers: Any) -> TaskOptions | None:
        if name.startswith(_OWN):
            return None
        given = headers.get(HEADER) if isinstance(headers, Mapping) else None
        return self._queue.options_of(name, args, kwargs, given)

"""rich's progress bars as progress: each of its tasks is a step of ours, and the terminal shows them as ever."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, TypeVar

from rich.progress import Progress, ProgressColumn, TaskID

from clarion.progress.progress import current_progress
from clarion.progress.step import MAX_NAME_CHARS, Step

Row = TypeVar("Row")


class RichProgress(Progress):
    """A `rich.progress.Progress` that tells what it shows: `with RichProgress(progress=task) as bars: ...`.

    progress: the task or step to tell; the task in whose `with` block it is made, if it is left out. Without any it is
    rich's own. Everything else is rich's too: columns, `console`, `disable`. A step is completed when its bar is full,
    is stopped or is removed.

    Raises `Cancelled` from `advance`, `update` and `track` if somebody asked to stop. As with rich, every method may be
    called from any thread.
    """

    def __init__(self, *columns: str | ProgressColumn, progress: Step | None = None, **options: Any) -> None:
        super().__init__(*columns, **options)
        self._told_to = progress or current_progress()
        self._told: dict[TaskID, tuple[Step, float]] = {}
        self._told_lock = threading.Lock()

    def add_task(self, description: str, *args: Any, **options: Any) -> TaskID:
        """See rich."""
        task_id = super().add_task(description, *args, **options)
        if self._told_to is not None:
            name = description.strip()[:MAX_NAME_CHARS] or f"Step {task_id + 1}"
            step = self._told_to.step(name)
            step.start()
            with self._told_lock:
                self._told[task_id] = (step, 0.0)
            self._tell(task_id)
        return task_id

    def update(self, task_id: TaskID, **options: Any) -> None:
        """See rich. Raises `Cancelled`."""
        super().update(task_id, **options)
        self._tell(task_id)
        self._check()

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """See rich. Raises `Cancelled`."""
        super().advance(task_id, advance)
        self._tell(task_id)
        self._check()

    def reset(self, task_id: TaskID, **options: Any) -> None:
        """See rich."""
        super().reset(task_id, **options)
        self._tell(task_id)

    def track(self, sequence: Iterable[Row], *args: Any, **options: Any) -> Iterable[Row]:
        """See rich. Raises `Cancelled` between two rows."""
        for row in super().track(sequence, *args, **options):
            yield row
            self._check()

    def stop_task(self, task_id: TaskID) -> None:
        """See rich."""
        super().stop_task(task_id)
        self._finish(task_id)

    def remove_task(self, task_id: TaskID) -> None:
        """See rich."""
        super().remove_task(task_id)
        self._finish(task_id)

    def stop(self) -> None:
        """See rich. Steps whose bars are full are completed by now; the others stay as they are."""
        super().stop()
        for task_id in list(self._told):
            self._tell(task_id)

    def _tell(self, task_id: TaskID) -> None:
        with self._told_lock:
            if task_id not in self._told or task_id not in self._tasks:
                return
            task = self._tasks[task_id]
            step, told = self._told[task_id]
            step.count(task.completed - told, total=task.total)
            self._told[task_id] = (step, task.completed)
            finished = task.finished
        if finished:
            self._finish(task_id)

    def _finish(self, task_id: TaskID) -> None:
        with self._told_lock:
            step, _ = self._told.pop(task_id, (None, 0.0))
        if step is not None:
            step.finish()

    def _check(self) -> None:
        # rich counts the rows of `track` from a thread of its own, where nobody would see the exception
        if self._told_to is not None and type(threading.current_thread()).__module__ != Progress.__module__:
            self._told_to.check()

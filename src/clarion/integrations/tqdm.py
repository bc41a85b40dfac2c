"""tqdm bars as progress: give the class to any library that takes one, or use it as tqdm itself."""

from __future__ import annotations

import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

from tqdm.std import tqdm

from clarion.progress.progress import current_progress
from clarion.progress.step import MAX_NAME_CHARS, Step

if TYPE_CHECKING:
    Bar = tqdm[Any]
else:
    Bar = tqdm


class ProgressBar(Bar):
    """A tqdm whose count, total and description are told as a step of a task.

    progress: the task or step; the task in whose `with` block the bar is made, if it is left out. Without any it is an
    ordinary tqdm. `disable=True`, and a terminal that is none, only hide it.

    A bar with a description is a step of that name; one without counts the task itself. Everything else is tqdm's own.
    Raises `Cancelled` from `update` and between two rows if somebody asked to stop.
    """

    progress: Step | None = None
    visible = True
    monitor_interval = 0  # its thread only sees to bars that look at the time too seldom; these look at each row

    def __init__(self, *args: Any, progress: Step | None = None, **options: Any) -> None:
        self._step: Step | None = None
        self._told: float = 0
        task = progress or type(self).progress or current_progress()
        if task is not None:
            disabled = options.pop("disable", False)
            hidden = not self.visible or (not _is_terminal(options.get("file")) if disabled is None else disabled)
            options |= {"disable": False, "gui": hidden}  # a "gui" prints nothing
            options.setdefault("miniters", 1)
        super().__init__(*args, **options)
        self._counts_task = task is not None and not self.desc and _take(task)
        if task is not None:
            self._told = self.initial
            self._step = task if self._counts_task else self._begun(task)
            self._tell()

    def _begun(self, task: Step) -> Step:
        name = (self.desc or "").rstrip(": ")[:MAX_NAME_CHARS] or f"Bar {abs(self.pos) + 1}"
        step = task.step(name, total=self.total)
        step.start()
        return step

    def update(self, n: float | None = 1) -> bool | None:
        """See tqdm. Raises `Cancelled`."""
        shown = super().update(n)
        self._tell()
        if self._step is not None:
            self._step.check()
        return shown

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """See tqdm. Tells as well, and does not raise."""
        self._tell()
        return None if self.gui else super().display(msg, pos)

    def clear(self, *args: Any, **options: Any) -> None:
        """See tqdm."""
        if not self.gui:
            super().clear(*args, **options)

    def reset(self, total: float | None = None) -> None:
        """See tqdm."""
        super().reset(total)
        self._tell()

    def close(self) -> None:
        """See tqdm. The step is completed."""
        super().close()
        self._tell()
        step, self._step = getattr(self, "_step", None), None
        if step is None:
            return
        if self._counts_task:
            _give_back(step)
        else:
            step.finish()

    def _tell(self) -> None:
        step = getattr(self, "_step", None)
        if step is None:
            return
        message = self.postfix if isinstance(self.postfix, str) else None
        if not message and self._counts_task:
            message = (self.desc or "").rstrip(": ")
        step.count(self.n - self._told, total=self.total, message=message or None)
        self._told = self.n


def tqdm_class(progress: Step | None = None, *, visible: bool = False) -> type[ProgressBar]:
    """A tqdm class whose bars tell `progress`: `snapshot_download(name, tqdm_class=tqdm_class(task))`.

    progress: None for the task in whose block a bar is made. visible: whether the terminal shows them as well.
    """
    return type("ProgressBar", (ProgressBar,), {"progress": progress, "visible": visible})


_lock: Final = threading.Lock()
_counted: Final[weakref.WeakSet[Step]] = weakref.WeakSet()  # what a bar counts for, which then has no second one


def _take(task: Step) -> bool:
    with _lock:
        taken = task in _counted
        _counted.add(task)
        return not taken


def _give_back(task: Step) -> None:
    with _lock:
        _counted.discard(task)


def _is_terminal(file: Any) -> bool:
    return bool(getattr(file or sys.stderr, "isatty", bool)())

"""Tasks in several processes of one machine: over `fork`, and pickled to the workers of a pool.

The process that began a task owns it. In every other process the same object counts into shared memory
(`clarion.progress.shared`) and finds there whether it is to stop; it tells nothing, and cannot end the task.
"""

from __future__ import annotations

import mmap
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from clarion.progress.shared import ENDED, RUNNING, Head, Node, Part, Parts, PartWriter
from clarion.progress.step import Common, Step
from clarion.work.failures import shown
from clarion.work.leases import ASKED, NO_VIEWERS, SHUTDOWN

if TYPE_CHECKING:
    from clarion.progress.progress import Progress

_REASONS: Final = (RUNNING, ASKED, NO_VIEWERS, SHUTDOWN)  # by the byte that says them


class Member:
    """A task in a process that does not own it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._head: mmap.mmap | None = None
        self._writer: PartWriter | None = None
        self._counts: memoryview[float] | None = None
        self._steps: list[Step] = []
        self._over = False

    def counted(self, step: Step, message: Any = None) -> str | None:
        """Pass on what a step has counted, and a message. Returns why to stop, or None.

        Measured on two busy cores, Python 3.11: `advance` takes 0.4 us of CPU in a process that does not own the task.
        """
        if message is None and step._index >= 0 and self._counts is not None and self._head is not None:
            self._counts[step._index] = step._current  # no other thread comes between: see `Step.advance`
            if self._head[0] == RUNNING:
                return None
        with self._lock:
            head, writer = self._attached()
            if head is None or writer is None:
                return None
            if step._index < 0:
                self._describe(writer, step)
            writer.counts[step._index] = step._current
            if message is not None:
                writer.say(shown(message))
            said = head[0]
        return None if said == RUNNING or said >= len(_REASONS) else str(_REASONS[said])

    def changed(self, step: Step) -> None:
        """Pass on what a step is now."""
        with self._lock:
            _, writer = self._attached()
            if writer is not None:
                self._describe(writer, step)

    def _attached(self) -> tuple[mmap.mmap | None, PartWriter | None]:
        if self._head is None and not self._over:
            try:
                self._head = Head.open(self.folder).memory
                self._writer = PartWriter(self.folder)
                self._counts = self._writer.counts
            except OSError:  # the task has ended: what is counted now goes nowhere
                self._over = True
        if self._head is not None and self._head[0] == ENDED:
            self._over = True
        return (None, None) if self._over else (self._head, self._writer)

    def _describe(self, writer: PartWriter, step: Step) -> None:
        self._number(step)
        for one in self._steps:
            writer.counts[one._index] = one._current
        writer.describe([_node(one) for one in self._steps])

    def _number(self, step: Step) -> None:
        if step._index < 0:
            if step._key < 0 and step._parent is not None:
                self._number(step._parent)
            step._index = len(self._steps)
            self._steps.append(step)


def _node(step: Step) -> Node:
    parent = -1 if step._key >= 0 or step._parent is None else step._parent._index
    return Node(parent, step._key, step._name, step._weight, step._total, step._status)


class Sharing:
    """The owner's side: made when a task is first given to another process."""

    def __init__(self) -> None:
        self._head = Head.make()
        self._parts = Parts(self._head.folder)
        self._message_numbers: dict[int, int] = {}

    @property
    def folder(self) -> Path:
        return self._head.folder

    @property
    def parts(self) -> Parts:
        return self._parts

    def read(self) -> list[Part]:
        """What the other processes say now."""
        return self._parts.read()

    def message(self, parts: list[Part]) -> str | None:
        """The message of a process that has a new one; None if none has."""
        new: str | None = None
        for index, part in enumerate(parts):
            if part.message_number != self._message_numbers.get(index, 0):
                self._message_numbers[index] = part.message_number
                new = part.message
        return new

    def stop(self, reason: str) -> None:
        """Have all processes stop."""
        self._head.say(_REASONS.index(reason) if reason in _REASONS else 1)

    def close(self) -> None:
        """The task has ended."""
        self._head.remove()


class _Registry:
    """The running tasks of this process, for forks and for what comes back from a pool. `clear` in a child."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.owned: weakref.WeakValueDictionary[str, Progress] = weakref.WeakValueDictionary()
        self.members: weakref.WeakValueDictionary[str, Progress] = weakref.WeakValueDictionary()
        self.forking: list[Progress] = []


_registry: Final = _Registry()  # one for the process: there is no way to take back what `register_at_fork` was given


def own(task: Progress) -> None:
    """A task runs in this process."""
    with _registry.lock:
        _registry.owned[task.run] = task


def disown(task: Progress) -> None:
    """A task of this process has ended."""
    with _registry.lock:
        _registry.owned.pop(task.run, None)


def pickled_step(step: Step) -> tuple[Any, ...]:
    """How a step of a running task is pickled: by what the task is, and which step of it."""
    task = step
    while task._parent is not None:
        task = task._parent
    if step._key < 0:
        raise TypeError(f"step {step.name!r} was begun in a pool's process and cannot be given on; give the task")
    return _unpickled_step, (task, step._key, step._name, step._weight, step._total)


def unpickled(run: str, task_id: str, folder: str) -> Progress:
    """A running task, in whatever process this is."""
    from clarion.progress.progress import Progress

    with _registry.lock:
        task = _registry.owned.get(run) or _registry.members.get(run)
        if task is None:
            task = Progress.of_member(task_id, run, Member(Path(folder)))
            _registry.members[run] = task
        return task


def _unpickled_step(task: Progress, key: int, name: str, weight: float, total: float | None) -> Step:
    with task._common.lock:
        for known in task._steps:
            if known._key == key:
                return known
        found = find(task, key)
        if found is None:
            found = Step(task._common, name, weight, total, task)
            found._key = key
            task._steps.append(found)
        return found


def find(step: Step, key: int) -> Step | None:
    """The step with that key, at any depth."""
    if step._key == key:
        return step
    for inner in step._steps:
        if (found := find(inner, key)) is not None:
            return found
    return None


def become_member(common: Common, root: Step, folder: Path) -> None:
    """After a fork, in the child: what was counted before is the parent's, what is counted now is added to it."""
    common.member = Member(folder)
    common.armed = True
    common.lock = threading.RLock()
    common.wake = _nothing

    def clear(step: Step) -> None:
        step._current = 0
        step._index = -1
        for inner in step._steps:
            clear(inner)

    clear(root)


def _nothing() -> None:
    return None


def before_fork() -> None:
    """Have all tasks of this process hold still, and ready for a child."""
    _registry.lock.acquire()
    _registry.forking = list(_registry.owned.values())
    for task in _registry.forking:
        task.before_fork()


def after_fork_in_parent() -> None:
    """Have them go on."""
    for task in _registry.forking:
        task.after_fork_in_parent()
    _registry.forking = []
    _registry.lock.release()


def after_fork_in_child() -> None:
    """All tasks are the parent's here."""
    for task in _registry.members.values():
        task.after_fork_in_child()
    for task in _registry.forking:
        task.after_fork_in_child()
        _registry.members[task.run] = task
    _registry.forking = []
    _registry.owned.clear()
    _registry.lock = threading.RLock()

"""Counting: a step of a task, or a task as its outermost step. `advance` touches counters in memory, nothing else."""

from __future__ import annotations

import asyncio
import math
import operator
import threading
from collections.abc import AsyncIterable, Callable, Generator, Iterable
from numbers import Integral, Real
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from clarion.progress.iterating import Counted
from clarion.progress.merging import NOTHING, Contribution, merged
from clarion.progress.reading import StepReading, fraction
from clarion.work.failures import Cancelled
from clarion.work.status import CANCELLED, COMPLETED, ENDED, FAILED, PENDING, RUNNING

if TYPE_CHECKING:
    from clarion.progress.members import Member

MAX_STEPS: Final = 100  # of one step; of more, the oldest that have ended are counted but not listed
MAX_TASK_STEPS: Final = 300  # of one task: 40 KB of value
MAX_NAME_CHARS: Final = 200

Row = TypeVar("Row")


class Common:
    """What the steps of one task have in common in one process.

    armed: `advance` has more to do than to count: somebody asked to stop, or another process owns the task.
    lock: held while the tree of steps changes or is read.
    """

    __slots__ = ("armed", "keys", "lock", "member", "message", "reason", "resets", "steps", "task_id", "wake")

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.lock = threading.RLock()
        self.armed = False
        self.reason: str | None = None
        self.message: Any = ""
        self.keys = 0
        self.steps = 0
        self.resets = 0
        self.wake: Callable[[], None] = _nothing
        self.member: Member | None = None

    def look(self, step: Step, message: Any = None) -> None:
        """What `advance` does when armed. Raises `Cancelled`."""
        reason = self.reason
        if self.member is not None:
            reason = self.member.counted(step, message) or reason
        if reason is not None:
            raise Cancelled(self.task_id, reason)

    def changed(self, step: Step) -> None:
        """A step has begun or ended: that is told at once."""
        if self.member is not None:
            self.member.changed(step)
        self.wake()


def _nothing() -> None:
    return None


class Step:
    """A part of a task, with a weight against its siblings. Made by `step` of a task or of another step.

    Concurrency: every method may be called from any thread, and from the processes that the task was given to.
    """

    def __init__(self, common: Common, name: str, weight: float, total: float | None, parent: Step | None) -> None:
        self._common = common
        self._current: float = 0
        self._total = total
        self._name = name
        self._weight = weight
        self._parent = parent
        self._status = PENDING
        self._steps: list[Step] = []
        self._folded_weight = 0.0
        self._folded_done = 0.0
        self._key = -1 if common.member is not None and parent is not None else common.keys
        self._index = -1  # among the steps of this process, where another one owns the task
        common.keys += 1

    # Counting.

    def advance(self, amount: float = 1, message: Any = None) -> None:
        """Count `amount` more, and say what is being done. Raises `Cancelled` if somebody asked to stop."""
        # Without a lock: CPython changes threads at calls and backward jumps only, and there is none in this statement.
        # Measured on two busy cores, Python 3.11: a million calls in a tight loop take 0.14 us of CPU each; with a lock
        # 0.4 us.
        self._current += amount
        common = self._common
        if message is not None:
            common.message = message
        if common.armed:
            common.look(self, message)

    def count(self, amount: float = 0, *, total: float | None = None, message: Any = None) -> None:
        """`advance` for what a library calls back: it never raises, and passes over a total that cannot be."""
        try:
            self._total = check_total(total) if total is not None else self._total
        except ValueError:
            pass
        try:
            self.advance(amount, message)
        except Cancelled:
            pass

    def update(self, *, current: float | None = None, total: float | None = None, message: Any = None) -> None:
        """Set what is counted, how much there is, or what is being done. Raises as `advance` does, and `ValueError`."""
        if total is not None:
            self._total = check_total(total)
        if current is not None:
            check_total(abs(current))
            self._current = current
        self.advance(0, message)

    def iter(self, rows: Iterable[Row] | AsyncIterable[Row], *, total: float | None = None) -> Counted[Row]:
        """Count the rows as they are worked off; for `for` and for `async for`, whatever kind `rows` is.

        total: how many there are; their length, where they have one and nothing else was said. A row counts once the
        next one is asked for. With `async for` over rows that are at hand, other tasks of the loop get their turns.
        Raises `Cancelled` between two rows.
        """
        if total is not None:
            self._total = check_total(total)
        elif self._total is None:
            hint = operator.length_hint(rows, -1)
            self._total = None if hint < 0 else hint
        return Counted(rows, self.advance)

    def check(self) -> Pause:
        """Raise `Cancelled` if somebody asked to stop. `await` it in async code: other tasks get a turn then."""
        if self._common.armed:
            self._common.look(self)
        return Pause()

    def reset(self, total: float | None = None) -> None:
        """Begin anew: nothing is counted, there are no steps, and the progress may be less than it was."""
        with self._common.lock:
            self._current = 0
            self._total = check_total(total)
            self._common.steps -= _count(self) - 1
            self._steps.clear()
            self._folded_weight = self._folded_done = 0.0
            self._common.resets += 1
        self._common.wake()

    # Steps.

    def step(self, name: str, *, weight: float = 1.0, total: float | None = None) -> Step:
        """A step of this one: `with task.step("Load", weight=4, total=n) as step: step.advance()`.

        name: what people see. A name that is there already gives that step; if it has ended it begins anew.
        weight: against the other steps; what the task counts itself weighs 1.

        Raises `ValueError` for a weight or a total that cannot be, and for more than MAX_STEPS steps under way.
        """
        name, weight, total = check_name(name), check_weight(weight), check_total(total)
        with self._common.lock:
            for known in self._steps:
                if known._name == name:
                    known._again(total)
                    return known
            if len(self._steps) >= MAX_STEPS or self._common.steps >= MAX_TASK_STEPS:
                self._fold()
            step = Step(self._common, name, weight, total, self)
            self._steps.append(step)
            self._common.steps += 1
            return step

    def _again(self, total: float | None) -> None:
        if self._status in ENDED:
            self._status = PENDING
            self._current = 0
        if total is not None:
            self._total = total

    def _fold(self) -> None:
        """Count the oldest step that has ended, without listing it any more."""
        for step in self._steps:
            if step._status in ENDED:
                self._folded_weight += step._weight
                self._folded_done += step._weight * (fraction(step._reading({})) or 0.0)
                self._steps.remove(step)
                self._common.steps -= _count(step)
                return
        raise ValueError(
            f"task {self._common.task_id!r} has {MAX_STEPS} steps under way: end them, or count with advance()"
        )

    def start(self) -> None:
        """The step begins; `with` does it. Raises `Cancelled`."""
        self.check()
        self._status = RUNNING
        self._common.changed(self)

    def finish(self, error: BaseException | None = None) -> None:
        """The step ends; `with` does it. error: why, if it was not completed."""
        self._status = COMPLETED if error is None else CANCELLED if is_cancel(error) else FAILED
        self._common.changed(self)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(error)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(error)

    # What others ask.

    @property
    def name(self) -> str:
        return self._name

    @property
    def steps(self) -> tuple[Step, ...]:
        """Its steps that this process knows of."""
        return tuple(self._steps)

    @property
    def current(self) -> float:
        """What was counted in this process."""
        return self._current

    @property
    def total(self) -> float | None:
        """How much there is to count; None where that is unknown."""
        return self._total

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody asked to stop; then `advance` raises `Cancelled`."""
        try:
            self.check()
        except Cancelled:
            return True
        return False

    def __reduce__(self) -> tuple[Any, ...]:
        from clarion.progress.members import pickled_step

        return pickled_step(self)

    def _reading(self, added: dict[int, Contribution]) -> StepReading:
        """What the step says now, with what other processes have added. The common lock is held."""
        count, more = added.get(self._key, NOTHING)
        steps = tuple([step._reading(added) for step in self._steps])
        return StepReading(
            self._name,
            self._status,
            self._weight,
            self._current + count,
            self._total,
            merged(steps, more) if more else steps,
            self._folded_weight,
            self._folded_done,
        )


class Pause:
    """What `check` gives: awaiting it gives the other tasks of the loop a turn."""

    __slots__ = ()

    def __await__(self) -> Generator[None]:
        yield


def is_cancel(error: BaseException) -> bool:
    """Whether an exception says that somebody wanted it to stop."""
    return isinstance(error, Cancelled | asyncio.CancelledError | KeyboardInterrupt | GeneratorExit)


def check_total(total: float | None) -> float | None:
    """Return `total` if there can be so much of something; else raise `ValueError`."""
    if total is None:
        return None
    if isinstance(total, bool) or not isinstance(total, Real) or not math.isfinite(total) or total < 0:
        raise ValueError(f"a total is a number from 0 up, or None where it is unknown, not {total!r}")
    return int(total) if isinstance(total, Integral) else float(total)


def check_weight(weight: float) -> float:
    """Return `weight` if a step can weigh so much; else raise `ValueError`."""
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < 1e9:
        raise ValueError(f"a step's weight is a number above 0, not {weight!r}")
    return float(weight)


def check_name(name: str) -> str:
    """Return `name` if a step can have it; else raise `ValueError`."""
    if not isinstance(name, str) or not name or len(name) > MAX_NAME_CHARS:
        raise ValueError(f"a step's name is text of 1 to {MAX_NAME_CHARS} characters, not {name!r}")
    return name


def _count(step: Step) -> int:
    return 1 + sum(_count(inner) for inner in step._steps)

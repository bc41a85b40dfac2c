"""What the counters of a task say at one moment, and how far that is. Pure."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from clarion.work.failures import Failure
from clarion.work.status import COMPLETED

OWN_WEIGHT: Final = 1.0  # of what a task counts itself, beside its steps


class StepReading(NamedTuple):
    """One step, or a task seen as one.

    weight: against its siblings'. current, total: what it counts itself; total is None where it is unknown.
    folded_weight, folded_done: the sum of the weights of steps that ended and are not listed any more, and of what of
    them was done.
    """

    name: str
    status: str
    weight: float
    current: float
    total: float | None
    steps: tuple[StepReading, ...] = ()
    folded_weight: float = 0.0
    folded_done: float = 0.0


class Reading(NamedTuple):
    """A whole task. planned: all its steps are known. resets: how often it was set back to its beginning."""

    task_id: str
    title: str
    message: str
    unit: str | None
    counted: StepReading
    planned: bool
    resets: int
    attempt: int
    error: Failure | None
    cancellable: bool
    cancel_requested: bool
    started_ms: int | None

    @property
    def status(self) -> str:
        return self.counted.status


def ratio(current: float, total: float | None) -> float | None:
    """How much of `total` is `current`, 0 to 1; None where that is unknown. Nothing of nothing is all of it."""
    if total is None or not math.isfinite(total) or not math.isfinite(current):
        return None
    if total <= 0:
        return 1.0
    return min(max(current / total, 0.0), 1.0)


def fraction(step: StepReading) -> float | None:
    """How far a step is, 0 to 1, its own steps by their weights; None where nothing is known of that."""
    if step.status == COMPLETED:
        return 1.0
    own = ratio(step.current, step.total)
    if not step.steps and not step.folded_weight:
        return own
    weight, done = step.folded_weight, step.folded_done
    known = own is not None or step.folded_weight > 0 or len(step.steps) > 1
    if own is not None:
        weight += OWN_WEIGHT
        done += OWN_WEIGHT * own
    for inner in step.steps:
        part = fraction(inner)
        known = known or part is not None
        weight += inner.weight
        done += inner.weight * (part or 0.0)
    if not known:
        return None
    return min(done / weight, 1.0) if weight > 0 else 0.0

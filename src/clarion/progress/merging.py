"""What the processes of a task have counted, put together. Pure."""

from __future__ import annotations

from typing import NamedTuple

from clarion.progress.reading import StepReading
from clarion.progress.shared import Node, Part
from clarion.work.status import RUNNING


class Contribution(NamedTuple):
    """What other processes add to one step that the owner knows: a count, and steps of their own."""

    amount: float
    steps: tuple[StepReading, ...]


NOTHING = Contribution(0.0, ())


def contributions(parts: list[Part]) -> dict[int, Contribution]:
    """What the parts add, by the owner's keys of steps. Steps with one name under one step are one step."""
    counts: dict[int, float] = {}
    steps: dict[int, tuple[StepReading, ...]] = {}
    for part in parts:
        for index, node in enumerate(part.nodes):
            if node.parent < 0:
                counts[node.key] = counts.get(node.key, 0.0) + part.counts[index]
                found = _below(index, part)
                if found:
                    steps[node.key] = merged(steps.get(node.key, ()), found)
    return {key: Contribution(count, steps.get(key, ())) for key, count in counts.items()}


def merged(known: tuple[StepReading, ...], more: tuple[StepReading, ...]) -> tuple[StepReading, ...]:
    """Steps of several processes as one list; those with one name are added up."""
    found = {step.name: step for step in known}
    for step in more:
        before = found.get(step.name)
        found[step.name] = step if before is None else _added(before, step)
    return tuple(found.values())


def _below(index: int, part: Part) -> tuple[StepReading, ...]:
    return merged((), tuple(_reading(at, node, part) for at, node in enumerate(part.nodes) if node.parent == index))


def _reading(index: int, node: Node, part: Part) -> StepReading:
    return StepReading(node.name, node.status, node.weight, part.counts[index], node.total, _below(index, part))


def _added(one: StepReading, other: StepReading) -> StepReading:
    total = other.total if one.total is None else one.total if other.total is None else one.total + other.total
    return one._replace(
        status=one.status if one.status == other.status else RUNNING,
        current=one.current + other.current,
        total=total,
        steps=merged(one.steps, other.steps),
    )

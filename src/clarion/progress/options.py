"""What a task is made with, checked before anything begins."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypedDict

from clarion.event import check_type, ttl_milliseconds
from clarion.progress.step import check_name, check_total, check_weight
from clarion.topics import check_topic
from clarion.work.addresses import addresses
from clarion.work.endings import VALUE_SECONDS
from clarion.work.leases import LEASE_SECONDS, Lease, check_lease_seconds
from clarion.work.viewers import NoViewers, no_viewers_seconds

KIND: Final = "progress"
EVENT: Final = "progress"  # the SSE event type: what `addEventListener("progress", ...)` hears

Steps = Mapping[str, float] | Iterable[str]


class TaskOptions(TypedDict, total=False):
    """How a task is told; each may be left out.

    title: what people call it. total, unit: how much there is to count, and of what.
    user, users: whose alone it is; told on all their streams. topics: told to the readers of these topics instead of
    those of the task's id. With none of them, the task's id is the topic to ask for.
    steps: the names of all its steps, or their weights by name, if they are known beforehand: then the progress is
    right from the beginning. cancellable: whether people may stop it.
    on_no_viewers: "continue", "cancel" (after ten seconds, as a reload is not leaving) or seconds.
    lease_seconds: how long it may be silent until it is `lost`. keep_seconds: how long its value is kept after its end.
    event: the SSE event type. attempt: which try this is, from 1. queue_id: what the place in a task queue is called
    that it waits in, if it does; the same for who puts it there and for who works on it.
    """

    title: str
    total: float | None
    unit: str | None
    user: str | None
    users: Iterable[str]
    topics: Iterable[str]
    steps: Steps
    cancellable: bool
    on_no_viewers: NoViewers
    lease_seconds: float
    keep_seconds: float
    event: str
    attempt: int
    queue_id: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The options of one task, valid. queued: it waits in a queue before it begins."""

    lease: Lease
    title: str
    total: float | None
    unit: str | None
    steps: dict[str, float]
    keep_seconds: float
    attempt: int
    queued: bool
    heartbeat_ms: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "heartbeat_ms", self.lease.renew_ms)


def plan(
    task_id: str,
    *,
    title: str = "",
    total: float | None = None,
    unit: str | None = None,
    user: str | None = None,
    users: Iterable[str] = (),
    topics: Iterable[str] = (),
    steps: Steps = (),
    cancellable: bool = True,
    on_no_viewers: NoViewers = "continue",
    lease_seconds: float = LEASE_SECONDS,
    keep_seconds: float = VALUE_SECONDS,
    event: str = EVENT,
    attempt: int = 1,
    queue_id: str | None = None,
    run: str | None = None,
) -> Plan:
    """Check the options of a task. Raises `InvalidTopic`, `InvalidEvent`, `ValueError` or `TypeError`."""
    if not isinstance(title, str) or not isinstance(unit, str | None):
        raise TypeError("title and unit are text")
    if isinstance(attempt, bool) or not isinstance(attempt, int) or attempt < 1:
        raise ValueError(f"attempt is a whole number from 1 up, not {attempt!r}")
    if isinstance(steps, str):
        raise TypeError("steps are names, or weights by name")
    weights = steps.items() if isinstance(steps, Mapping) else [(name, 1.0) for name in steps]
    ttl_milliseconds(keep_seconds)
    lease = Lease(
        check_topic(task_id),
        KIND,
        run or queue_id or new_run(),
        addresses(task_id, user=user, users=users, topics=topics),
        check_type(event),
        check_lease_seconds(lease_seconds),
        user,
        bool(cancellable),
        no_viewers_seconds(on_no_viewers),
    )
    checked = {check_name(name): check_weight(weight) for name, weight in weights}
    return Plan(lease, title, check_total(total), unit, checked, keep_seconds, attempt, queue_id is not None)


def new_run() -> str:
    """A name for a run, which no other has."""
    return secrets.token_hex(8)

"""Leases: who does a work renews its lease, and whoever watches finds out when nobody does any more. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from clarion.topics import check_topic
from clarion.work.addresses import Address, from_json, to_json

LEASE: Final = "lease"  # control values of this name hold leases, by the work's id
CANCEL: Final = "cancel"  # ... and these what was asked to stop, by the work's id
VIEWERS: Final = "viewers"  # ... and these what is looked at, by the hub's id

ASKED: Final = "asked"  # why a work is to stop: somebody asked
NO_VIEWERS: Final = "no_viewers"  # ... nobody looks at it any more
SHUTDOWN: Final = "shutdown"  # ... its hub closes, and the process with it

RUN_SEPARATOR: Final = "."
LEASE_SECONDS: Final = 30.0  # how long a work may be silent until it is lost
MIN_LEASE_SECONDS: Final = 1.0  # shorter than that, a busy machine loses what is well
MAX_LEASE_SECONDS: Final = 3_600.0
RENEWALS_PER_LEASE: Final = 3  # two may be late or fail
RECORD_SECONDS: Final = 7 * 86_400.0  # how long a lease or a request to stop is kept if all hubs are gone


@dataclass(frozen=True, slots=True)
class Lease:
    """What all processes know of a work that is under way. Immutable.

    id: the work's id, which is its topic. kind: "progress" or "generation". run: names this run of it, so that a
    second one of the same id is told from the first. addresses: where its value is. event: the value's event type.
    seconds: the lease; None for a work that waits in a queue, which nobody renews and nobody finds lost.
    owner: whose it is, who may cancel it. no_viewers_seconds: cancel it after so long without a viewer; None: never.
    """

    id: str
    kind: str
    run: str
    addresses: tuple[Address, ...]
    event: str
    seconds: float | None = LEASE_SECONDS
    owner: str | None = None
    cancellable: bool = True
    no_viewers_seconds: float | None = None

    def to_json(self, wall_ms: int) -> dict[str, Any]:
        """The control value that holds it from now on, for its time."""
        return {
            "id": self.id,
            "kind": self.kind,
            "run": self.run,
            "addresses": to_json(self.addresses),
            "event": self.event,
            "seconds": self.seconds,
            "owner": self.owner,
            "cancellable": self.cancellable,
            "noViewersSeconds": self.no_viewers_seconds,
            "untilMs": None if self.seconds is None else wall_ms + round(self.seconds * 1000),
        }

    @property
    def renew_ms(self) -> int | None:
        """How often to renew it; None for never."""
        return None if self.seconds is None else max(1, round(self.seconds * 1000 / RENEWALS_PER_LEASE))

    @property
    def end_key(self) -> str:
        """The idempotency key of the change that ends this run: who comes first has said how it ended."""
        return f"end {self.run}"

    def waiting(self) -> Lease:
        """The lease of the same work while it waits in a queue."""
        return replace(self, seconds=None)

    def started(self, token: str) -> Lease:
        """The lease of a run of a work that waited in a queue: a request to stop what waited is for it, too."""
        return replace(self, run=f"{self.run}{RUN_SEPARATOR}{token}")

    def asked(self, said: Any) -> str | None:
        """Why this run is to stop, if the control value `said` asks for that; None if it does not."""
        if not isinstance(said, dict) or not isinstance(run := said.get("run"), str):
            return None
        if run != self.run and not self.run.startswith(run + RUN_SEPARATOR):
            return None
        return NO_VIEWERS if said.get("reason") == NO_VIEWERS else ASKED


def lease_from_json(said: Any) -> tuple[Lease, int | None]:
    """The lease that a control value holds, and until when (Unix milliseconds). Raises `ValueError` for no lease."""
    if not isinstance(said, dict):
        raise ValueError("a lease is an object")
    try:
        lease = Lease(
            check_topic(said["id"]),
            _text(said["kind"]),
            _text(said["run"]),
            from_json(said["addresses"]),
            _text(said["event"]),
            _seconds(said["seconds"]),
            None if said["owner"] is None else _text(said["owner"]),
            said["cancellable"] is True,
            _seconds(said["noViewersSeconds"]),
        )
        until_ms = said["untilMs"]
    except KeyError as error:
        raise ValueError(f"a lease without {error}") from None
    if until_ms is not None and (isinstance(until_ms, bool) or not isinstance(until_ms, int)):
        raise ValueError("a lease that ends at no time")
    return lease, until_ms


def check_lease_seconds(seconds: float) -> float:
    """Return `seconds` if a lease may be so long; else raise `ValueError`."""
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not MIN_LEASE_SECONDS <= seconds <= MAX_LEASE_SECONDS
    ):
        raise ValueError(f"a lease has {MIN_LEASE_SECONDS:g} to {MAX_LEASE_SECONDS:g} seconds, not {seconds!r}")
    return float(seconds)


def _text(said: Any) -> str:
    if not isinstance(said, str):
        raise ValueError("not text")
    return said


def _seconds(said: Any) -> float | None:
    if said is None:
        return None
    if isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said) or said <= 0:
        raise ValueError("not a number of seconds")
    return float(said)


class LeaseTable:
    """The leases that a hub knows of, and when each is overdue, by the hub's own clock."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._due_ms: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._leases)

    def __iter__(self) -> Iterator[Lease]:
        return iter(list(self._leases.values()))

    def get(self, work_id: str) -> Lease | None:
        return self._leases.get(work_id)

    def renewed(self, lease: Lease, now_ms: int, left_ms: int | None = None) -> None:
        """A lease was given or renewed just now. left_ms: how much of it is left, if that is not all of it."""
        self._leases[lease.id] = lease
        if lease.seconds is None:
            self._due_ms.pop(lease.id, None)
            return
        whole_ms = round(lease.seconds * 1000)
        self._due_ms[lease.id] = now_ms + (whole_ms if left_ms is None else min(max(0, left_ms), whole_ms))

    def gone(self, work_id: str) -> None:
        """A lease was given back, or its end was told."""
        self._leases.pop(work_id, None)
        self._due_ms.pop(work_id, None)

    def overdue(self, now_ms: int) -> list[Lease]:
        """Those that should have been renewed by now."""
        return [self._leases[work_id] for work_id, due_ms in self._due_ms.items() if due_ms <= now_ms]

    def next_due_ms(self) -> int | None:
        """When the next one may be overdue; None if none can be."""
        return min(self._due_ms.values(), default=None)

    def postpone(self, now_ms: int) -> None:
        """Nobody could be heard for a while (this process was stopped): all have time for one more renewal."""
        for work_id, due_ms in self._due_ms.items():
            renew_ms = self._leases[work_id].renew_ms or 0
            self._due_ms[work_id] = max(due_ms, now_ms + renew_ms)

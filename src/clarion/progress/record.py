"""What a task says, and to whom: the side of it that its target sees. Beginning and ending are `Progress`'s."""

from __future__ import annotations

import threading
from typing import Any

from clarion.changes import ValueChange
from clarion.progress.members import Sharing, become_member
from clarion.progress.merging import contributions
from clarion.progress.options import Plan
from clarion.progress.reading import Reading
from clarion.progress.step import Common, Step
from clarion.progress.targets import Target
from clarion.progress.teller import Teller
from clarion.work.failures import Failure
from clarion.work.leases import RECORD_SECONDS, Lease
from clarion.work.status import ENDED, PENDING


class Record(Step):
    """The outermost step of a task, with all that is told of it. target: None where another process owns the task."""

    def __init__(self, made: Plan, target: Target | None) -> None:
        super().__init__(Common(made.lease.id), made.title or made.lease.id, 1.0, made.total, None)
        self._plan = made
        self._lease = made.lease
        self._target = target
        self._teller = Teller(made.heartbeat_ms)
        self._attempt = made.attempt
        self._error: Failure | None = None
        self._asked = False
        self._started_ms: int | None = None
        self._ending = threading.Lock()
        self._sharing: Sharing | None = None
        for name, weight in made.steps.items():
            self.step(name, weight=weight)

    @property
    def id(self) -> str:
        """The task's id, which is its topic."""
        return self._lease.id

    @property
    def run(self) -> str:
        """Names this run of it, among all of the same id."""
        return self._lease.run

    @property
    def lease(self) -> Lease:
        """What other processes know of it."""
        return self._lease

    @property
    def status(self) -> str:
        """One of `clarion.work.status`."""
        return self._status

    # What its target asks: see `clarion.progress.targets.Telling`.

    def look(self, now_ms: int, wall_ms: int) -> dict[str, Any] | None:
        """The value to tell now; None if there is nothing to tell, or only the end, which `Target.end` tells."""
        reading = self.reading()
        return None if reading.status in ENDED else self._teller.look(reading, now_ms, wall_ms)

    def value(self, now_ms: int, wall_ms: int) -> dict[str, Any]:
        """The value as it is now."""
        return self._teller.value(self.reading(), now_ms, wall_ms)

    def told(self, value: dict[str, Any], now_ms: int) -> None:
        """That value was told."""
        self._teller.told(value, now_ms)

    def changes(self, value: dict[str, Any], *, key: str | None = None) -> list[ValueChange]:
        """A change for each address. Each is a `set`, and small: an `EventSource` hears every one by one event type."""
        ttl = self._plan.keep_seconds if value["status"] in ENDED else None
        if value["status"] == PENDING:
            ttl = RECORD_SECONDS
        event = self._lease.event
        return [
            ValueChange(topic, "set", value, event=event, ttl=ttl, key=key, user=user)
            for topic, user in self._lease.addresses
        ]

    def reading(self) -> Reading:
        """What it says at this moment."""
        common = self._common
        with common.lock:
            parts = [] if self._sharing is None else self._sharing.read()
            if self._sharing is not None and (message := self._sharing.message(parts)) is not None:
                common.message = message
            return Reading(
                self.id,
                self._plan.title,
                common.message,
                self._plan.unit,
                self._reading(contributions(parts)),
                bool(self._plan.steps),
                common.resets,
                self._attempt,
                self._error,
                self._lease.cancellable,
                self._asked,
                self._started_ms,
            )

    # Other processes: see `clarion.progress.members`.

    @property
    def shared(self) -> bool:
        """Whether other processes count for it."""
        return self._sharing is not None

    def discover(self) -> None:
        """Look for processes that came since."""
        if (sharing := self._sharing) is not None:
            sharing.parts.discover()

    def share(self) -> Sharing:
        """Make ready for other processes. Raises `OSError`."""
        with self._common.lock:
            if self._sharing is None:
                self._sharing = Sharing()
                if self._common.reason is not None:
                    self._sharing.stop(self._common.reason)
            return self._sharing

    def before_fork(self) -> None:
        """Hold still."""
        self._common.lock.acquire()
        self.share()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._common.lock.release()

    def after_fork_in_child(self) -> None:
        """The parent owns the task; here it is counted for."""
        member, sharing = self._common.member, self._sharing
        folder = sharing.folder if sharing is not None else member.folder if member is not None else None
        if folder is not None:
            self._target = self._sharing = None
            self._ending = threading.Lock()
            become_member(self._common, self, folder)

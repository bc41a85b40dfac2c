"""The lookout: which works are looked at, in this hub and, by what they report, in the others."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from typing import Any, Final

from clarion.clock import Clock
from clarion.errors import ClarionError, NoValue
from clarion.work.leases import VIEWERS, Lease
from clarion.work.ports import HubPort
from clarion.work.viewers import REPORT_MS, REPORT_VALID_MS, ViewerWatch

VIEWER_CHECK_MS: Final = 1_000  # how often to look who is there: seconds are what `on_no_viewers` is given in

logger = logging.getLogger("clarion.work")


class Lookout:
    """Belongs to the hub's event loop."""

    def __init__(self, hub: HubPort, clock: Clock) -> None:
        self._hub = hub
        self._clock = clock
        self._id = secrets.token_hex(8)
        self._watch = ViewerWatch()
        self._viewed: frozenset[str] = frozenset()  # what the other hubs were told is looked at here
        self._reported_ms = 0
        self._looked_ms = 0

    @property
    def due_ms(self) -> int:
        """When to look again, if there is anything to look after."""
        return self._looked_ms + VIEWER_CHECK_MS

    def begin(self, lease: Lease) -> None:
        """Look after a work, if anything happens when nobody looks at it."""
        if lease.no_viewers_seconds is not None:
            self._watch.begin(lease.id, self._clock.monotonic_ms())

    def forget(self, work_id: str) -> None:
        self._watch.forget(work_id)

    def heard(self, subject: str, said: Any) -> None:
        """A hub has said what is looked at there, or, by None, that nothing is any more."""
        if subject == self._id:
            return
        ids = said.get("ids") if isinstance(said, dict) else None
        names = [one for one in ids if isinstance(one, str)] if isinstance(ids, list) else []
        self._watch.reported(subject, names, self._clock.monotonic_ms())

    async def look(self, leases: Sequence[Lease]) -> list[Lease]:
        """See what is looked at here, tell the other hubs, and return what nobody has looked at for its time: once."""
        now_ms = self._looked_ms = self._clock.monotonic_ms()
        viewed = frozenset(lease.id for lease in leases if self._has_viewer(lease))
        self._watch.seen(viewed, now_ms)
        if viewed != self._viewed or (viewed and now_ms - self._reported_ms >= REPORT_MS):
            await self._report(viewed)
        return [
            lease
            for lease in leases
            if lease.no_viewers_seconds is not None and self._watch.lonely(lease.id, lease.no_viewers_seconds, now_ms)
        ]

    async def close(self) -> None:
        """Nothing is looked at here any more."""
        if self._viewed:
            await self._report(frozenset())

    def _has_viewer(self, lease: Lease) -> bool:
        for topic, user in lease.addresses:
            if self._hub.clients(topic=topic) if user is None else self._hub.clients(user=user):
                return True
        return False

    async def _report(self, viewed: frozenset[str]) -> None:
        self._viewed = viewed
        self._reported_ms = self._clock.monotonic_ms()
        try:
            if viewed:
                await self._hub.control_set(VIEWERS, self._id, {"ids": sorted(viewed)}, ttl=REPORT_VALID_MS / 1000)
            else:
                await self._hub.control_delete(VIEWERS, self._id)
        except NoValue:
            pass
        except ClarionError as error:
            logger.warning("other hubs could not be told of viewers: %s", error)

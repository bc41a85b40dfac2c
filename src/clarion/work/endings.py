"""How a work ends that cannot tell its end itself, and what is taken away after every end."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final

from clarion.changes import ValueChange
from clarion.errors import ClarionError, NoValue
from clarion.work.leases import CANCEL, LEASE, Lease
from clarion.work.ports import HubPort
from clarion.work.status import ENDED

VALUE_SECONDS: Final = 86_400.0  # how long the value of a work that has ended is kept: who slept over it still sees it

_CLEARED: Final = ("rate", "eta")  # what is no longer so when nothing moves

logger = logging.getLogger("clarion.work")


def ended_value(value: Any, status: str, wall_ms: int) -> dict[str, Any] | None:
    """The value of a work that ended with `status`: what it told before stays. None if there is nothing to change."""
    if not isinstance(value, dict) or value.get("status") in ENDED:
        return None
    cleared = {name: None for name in _CLEARED if name in value}
    return {**value, **cleared, "status": status, "updatedAt": wall_ms}


async def end_for(hub: HubPort, lease: Lease, status: str, wall_ms: int) -> None:
    """Tell the end of a work in its place: once, whichever hubs try, and not if it has told its end itself.

    Raises `JournalError`.
    """
    changes: list[ValueChange] = []
    for topic, user in lease.addresses:
        ended = ended_value(await hub.get(topic, user=user), status, wall_ms)
        if ended is not None:
            changes.append(
                ValueChange(topic, "set", ended, event=lease.event, ttl=VALUE_SECONDS, key=lease.end_key, user=user)
            )
    if changes:
        await hub.change_many(changes)


async def forget(hub: HubPort, work_id: str, names: Iterable[str] = (LEASE, CANCEL)) -> None:
    """Take a work's lease, and what was asked of it, out of the journal. What cannot be done now is logged."""
    for name in names:
        try:
            await hub.control_delete(name, work_id)
        except NoValue:
            pass
        except ClarionError as error:
            logger.warning("the %s of %s could not be taken away: %s", name, work_id, error)

"""Where a generation's changes go, and how far one may grow."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol

from clarion import json
from clarion.changes import ValueChange
from clarion.errors import ValueTooLarge
from clarion.generation.state import EVENT_TYPE
from clarion.receipt import Receipt
from clarion.work.ports import HubPort

END_RESERVE_BYTES: Final = 8 * 1024  # of a value's bound: so that there is always room to say how it ended


class Step(NamedTuple):
    """One change of the value. change: as in `ValueChange`. key: idempotency key."""

    change: str
    data: Any
    key: str | None = None


class Target(Protocol):
    """The value of one generation in the journal."""

    async def tell(self, *steps: Step) -> list[Receipt]:
        """Make these changes, all or none. Raises what `Hub.change_many` raises."""
        ...


class HubTarget:
    """The value at a topic, or of one user under it."""

    def __init__(self, hub: HubPort, topic: str, user: str | None, ttl_seconds: float | None) -> None:
        self._hub = hub
        self._topic = topic
        self._user = user
        self._ttl_seconds = ttl_seconds

    async def tell(self, *steps: Step) -> list[Receipt]:
        return await self._hub.change_many(
            [
                ValueChange(
                    self._topic,
                    step.change,
                    step.data,
                    event=EVENT_TYPE,
                    ttl=self._ttl_seconds,
                    key=step.key,
                    user=self._user,
                )
                for step in steps
            ]
        )


class Growth:
    """Counts how large a value has grown, at most. limit_bytes: of a value, whose end must fit in as well."""

    def __init__(self, topic: str, limit_bytes: int) -> None:
        self._topic = topic
        self._limit_bytes = limit_bytes - min(END_RESERVE_BYTES, limit_bytes // 4)
        self._size_bytes = 0

    def check(self, delta: Any, whole: Any) -> None:
        """Count `delta` in, which has made the value `whole`. Raises `ValueTooLarge`."""
        self._size_bytes += len(json.encode(delta))
        if self._size_bytes > self._limit_bytes:  # an upper bound so far: each delta brought its own braces
            self._size_bytes = len(json.encode(whole))
            if self._size_bytes > self._limit_bytes:
                raise ValueTooLarge(self._topic, self._size_bytes, self._limit_bytes)

"""The hub for ordinary threads: the same calls, blocking, from any thread but the event loop's own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from clarion.changes import ValueChange
from clarion.event import Event
from clarion.publishing import ChangeOptions, Options
from clarion.receipt import Receipt

if TYPE_CHECKING:
    from clarion.hub import Hub

Result = TypeVar("Result")


class SyncHub:
    """`hub.sync`. Safe from any thread; each call returns when the journal has acknowledged.

    Raises what the hub's own call raises, and `RuntimeError` in the event loop's thread, which it would block.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def publish(self, topic: str, data: Any = None, **options: Unpack[Options]) -> Receipt:
        """See `Hub.publish`."""
        return self._run(self._hub.publish(topic, data, **options))

    def publish_many(self, events: Iterable[Event | tuple[str, Any]]) -> list[Receipt]:
        """See `Hub.publish_many`."""
        return self._run(self._hub.publish_many(events))

    def broadcast(self, data: Any = None, **options: Unpack[Options]) -> Receipt:
        """See `Hub.broadcast`."""
        return self._run(self._hub.broadcast(data, **options))

    def send(self, client_id: str, data: Any = None, **options: Unpack[Options]) -> Receipt:
        """See `Hub.send`."""
        return self._run(self._hub.send(client_id, data, **options))

    def send_to_user(self, user_id: str, data: Any = None, **options: Unpack[Options]) -> Receipt:
        """See `Hub.send_to_user`."""
        return self._run(self._hub.send_to_user(user_id, data, **options))

    def set(self, topic: str, value: Any, **options: Unpack[ChangeOptions]) -> Receipt:
        """See `Hub.set`."""
        return self._run(self._hub.set(topic, value, **options))

    def append(self, topic: str, delta: Any, **options: Unpack[ChangeOptions]) -> Receipt:
        """See `Hub.append`."""
        return self._run(self._hub.append(topic, delta, **options))

    def merge(self, topic: str, patch: Any, **options: Unpack[ChangeOptions]) -> Receipt:
        """See `Hub.merge`."""
        return self._run(self._hub.merge(topic, patch, **options))

    def delete(self, topic: str, *, event: str | None = None, user: str | None = None) -> Receipt:
        """See `Hub.delete`."""
        return self._run(self._hub.delete(topic, event=event, user=user))

    def change_many(self, changes: Iterable[ValueChange]) -> list[Receipt]:
        """See `Hub.change_many`."""
        return self._run(self._hub.change_many(changes))

    def get(self, topic: str, *, user: str | None = None) -> Any:
        """See `Hub.get`."""
        return self._run(self._hub.get(topic, user=user))

    def control_set(self, name: str, subject: str, value: Any, *, ttl: float | None = None) -> None:
        """See `Hub.control_set`."""
        self._run(self._hub.control_set(name, subject, value, ttl=ttl))

    def control_delete(self, name: str, subject: str) -> None:
        """See `Hub.control_delete`."""
        self._run(self._hub.control_delete(name, subject))

    def kick(self, *, user: str | None = None, client: str | None = None, reason: str = "kicked") -> None:
        """See `Hub.kick`."""
        self._run(self._hub.kick(user=user, client=client, reason=reason))

    def _run(self, call: Coroutine[Any, Any, Result]) -> Result:
        try:
            loop = self._hub.loop
            if _running_loop() is loop:
                raise RuntimeError(
                    "hub.sync would block the event loop from its own thread; await the hub's call instead"
                )
            future = asyncio.run_coroutine_threadsafe(call, loop)
        except RuntimeError:  # a closed hub is one, too
            call.close()
            raise
        return future.result()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None

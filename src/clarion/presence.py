"""Presence: who is connected, and the app's callbacks when somebody comes or goes."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clarion.position import Position
from clarion.subscription import Subscription

logger = logging.getLogger("clarion.hub")


@dataclass(frozen=True, slots=True)
class Client:
    """A connected reader, as it was at one moment.

    id: this connection's; a reconnect gets a new one. topics: what the stream asked for, without the hub's own.
    position: what it has been sent. lag: how many entries of the hub are after that.
    meta: what the app gave to `stream`. reason: why it ended, for `on_disconnect`; else None.
    """

    id: str
    user: str | None
    topics: tuple[str, ...]
    address: str | None
    connected_at: datetime
    meta: Any
    position: Position
    lag: int
    reason: str | None = None


def client_of(reader: Subscription, position: Position, newest: int) -> Client:
    """What is known of a reader now."""
    return Client(
        id=reader.id,
        user=reader.user,
        topics=reader.audience.topics.names,
        address=reader.address,
        connected_at=datetime.fromtimestamp(reader.connected_at, UTC),
        meta=reader.meta,
        position=position,
        lag=max(0, newest - position.offset),
        reason=reader.reason,
    )


class Callbacks:
    """The app's `on_connect` and `on_disconnect`. What they raise is logged and harms no stream."""

    def __init__(self) -> None:
        self.connect: list[Callable[..., Any]] = []
        self.disconnect: list[Callable[..., Any]] = []
        self._running: set[asyncio.Task[None]] = set()

    def add_disconnect(self, callback: Callable[..., Any]) -> None:
        """Have `callback` called with the client, and with the reason as well if it takes two arguments."""
        self.disconnect.append(callback if _takes_reason(callback) else lambda client, _: callback(client))

    async def connected(self, client: Client) -> None:
        """Run `on_connect` to its end: its reader gets nothing before."""
        for callback in self.connect:
            await _call(callback, client)

    def disconnected(self, client: Client) -> None:
        """Begin to run `on_disconnect`."""
        if self.disconnect:
            task = asyncio.get_running_loop().create_task(self._disconnected(client))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def join(self, seconds: float) -> None:
        """Wait for the callbacks that have begun, for so long at most; those that still run then are cancelled."""
        if self._running:
            _, stuck = await asyncio.wait(self._running, timeout=seconds)
            for task in stuck:
                logger.error("a callback of the app did not end within %s s of closing; it is cancelled", seconds)
                task.cancel()

    async def _disconnected(self, client: Client) -> None:
        for callback in self.disconnect:
            await _call(callback, client, client.reason)


def _takes_reason(callback: Callable[..., Any]) -> bool:
    try:
        inspect.signature(callback).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # something built in, of which nobody knows
        pass
    return True


async def _call(callback: Callable[..., Any], client: Client, *more: Any) -> None:
    try:
        result = callback(client, *more)
        if inspect.isawaitable(result):
            await result
    except Exception:
        logger.exception("a callback of the app failed for client %s", client.id)

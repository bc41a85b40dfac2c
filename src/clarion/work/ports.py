"""What works need of a hub and of a publisher, so that tests can stand in for both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from clarion.changes import ValueChange
from clarion.presence import Client
from clarion.receipt import Receipt

if TYPE_CHECKING:
    from clarion.work.supervisor import Supervisor

Stop = Callable[[], None]


class HubPort(Protocol):
    """A `clarion.Hub`, as far as works go. Everything belongs to its event loop."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    @property
    def supervisor(self) -> Supervisor: ...

    async def change_many(self, changes: Iterable[ValueChange]) -> list[Receipt]: ...

    async def get(self, topic: str, *, user: str | None = None) -> Any | None: ...

    async def control_set(self, name: str, subject: str, value: Any, *, ttl: float | None = None) -> Any: ...

    async def control_delete(self, name: str, subject: str) -> Any: ...

    async def control_values(self, name: str) -> dict[str, Any]: ...

    def on_control(self, name: str, callback: Callable[[str, Any], None]) -> Stop: ...

    def clients(self, *, user: str | None = None, topic: str | None = None) -> Sequence[Client]: ...


class PublisherPort(Protocol):
    """A `clarion.Publisher`, as far as works go. Blocking, from any thread."""

    def get(self, topic: str, *, user: str | None = None) -> Any | None: ...

    def change_many(self, changes: Iterable[ValueChange]) -> list[Receipt]: ...

    def control_set(self, name: str, subject: str, value: Any, *, ttl: float | None = None) -> Any: ...

    def control_delete(self, name: str, subject: str) -> Any: ...

    def control_get(self, name: str, subject: str) -> Any | None: ...

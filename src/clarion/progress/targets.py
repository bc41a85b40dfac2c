"""Where a task is told: a hub, or a journal that hubs have open. The contract, and how one is found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from clarion.changes import ValueChange
from clarion.work.leases import Lease


class Telling(Protocol):
    """A task, as its target sees it. All calls are quick, and may come from any thread."""

    @property
    def lease(self) -> Lease: ...

    @property
    def shared(self) -> bool:
        """Whether other processes count for it, so that `discover` has something to find."""
        ...

    def discover(self) -> None:
        """Look for processes that came since. Blocks a little."""
        ...

    def look(self, now_ms: int, wall_ms: int) -> dict[str, Any] | None:
        """The value to tell now; None if there is nothing to tell."""
        ...

    def value(self, now_ms: int, wall_ms: int) -> dict[str, Any]:
        """The value as it is now."""
        ...

    def told(self, value: dict[str, Any], now_ms: int) -> None:
        """That value was told."""
        ...

    def changes(self, value: dict[str, Any], *, key: str | None = None) -> Sequence[ValueChange]:
        """What telling a value is: a change for each address. key: an idempotency key."""
        ...

    def cancel(self, reason: str) -> None:
        """Begin to stop."""
        ...

    def abandon(self) -> None:
        """The process ends: tell the end as it is now, through `Target.end`."""
        ...


class Target(Protocol):
    """Tells tasks. Every method may be called from any thread; those with `_async` from an event loop.

    A journal that cannot be reached does not stop the work: that is logged, and told later. What cannot be told at all
    (`InvalidEvent`, `EventTooLarge`, `HubClosed`, ...) is raised by `begin`.
    """

    @property
    def url(self) -> str | None:
        """What another process finds it by; None for nothing."""
        ...

    def wall_ms(self) -> int:
        """Unix time."""
        ...

    def begin(self, task: Telling, *, waiting: bool = False) -> None:
        """Take the lease, tell the task for the first time, and from then on. waiting: tell it once; it is in a queue.

        If it raises, the task was not begun.
        """
        ...

    async def begin_async(self, task: Telling, *, waiting: bool = False) -> None:
        """`begin`, for an event loop."""
        ...

    def end(self, task: Telling) -> None:
        """Tell how the task ended, and no more. Gives the lease back. Raises nothing."""
        ...

    async def end_async(self, task: Telling) -> None:
        """`end`, for an event loop."""
        ...

    def wake(self) -> None:
        """Something is to be told at once."""
        ...

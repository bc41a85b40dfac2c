"""A hub and a publisher in memory, as far as works need them: values, control values, and a journal that may fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from clarion.changes import ValueChange
from clarion.errors import JournalUnavailable, NoValue
from clarion.position import Position
from clarion.receipt import Receipt
from clarion.testing import ManualClock
from clarion.work.supervisor import Supervisor


class Store:
    """What a journal keeps, shared by the hubs and publishers of a test."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str | None], Any] = {}
        self.control: dict[tuple[str, str], Any] = {}
        self.keys: set[tuple[str, str | None, str]] = set()
        self.told: list[ValueChange] = []
        self.batches: list[int] = []
        self.control_log: list[tuple[str, str, Any]] = []
        self.hubs: list[FakeHub] = []
        self.failing = False
        self.refused: Callable[[ValueChange], Exception | None] = lambda change: None
        self.offset = 0

    def change(self, changes: Iterable[ValueChange]) -> list[Receipt]:
        self.check()
        changes = list(changes)
        for change in changes:
            if (error := self.refused(change)) is not None:
                raise error
        receipts = []
        self.batches.append(len(changes))
        for change in changes:
            assert change.change == "set", "progress is told by whole values"
            address = (change.topic, change.user)
            duplicate = change.key is not None and (*address, change.key) in self.keys
            if not duplicate:
                if change.key is not None:
                    self.keys.add((*address, change.key))
                self.values[address] = change.data
                self.told.append(change)
            self.offset += 1
            receipts.append(Receipt(str(self.offset), Position("e", self.offset), 0, duplicate))
        return receipts

    def set_control(self, name: str, subject: str, value: Any) -> None:
        self.check()
        self.control[name, subject] = value
        self._tell(name, subject, value)

    def delete_control(self, name: str, subject: str) -> None:
        self.check()
        if (name, subject) not in self.control:
            raise NoValue(subject)
        del self.control[name, subject]
        self._tell(name, subject, None)

    def named(self, name: str) -> dict[str, Any]:
        self.check()
        return {subject: value for (kind, subject), value in self.control.items() if kind == name}

    def check(self) -> None:
        if self.failing:
            raise JournalUnavailable("the journal is away")

    def _tell(self, name: str, subject: str, value: Any) -> None:
        self.control_log.append((name, subject, value))
        for hub in self.hubs:
            hub.hear(name, subject, value)

    def statuses(self, topic: str, user: str | None = None) -> list[str]:
        """The statuses that were told there, one after the other."""
        return [change.data["status"] for change in self.told if (change.topic, change.user) == (topic, user)]


class FakeHub:
    """A `HubPort`. Every call that a journal would take some time for gives the loop a turn."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.viewers: dict[str, int] = {}
        self.listeners: list[tuple[str, Callable[[str, Any], None]]] = []
        self.deaf = False  # it hears nothing, as if its follower was slow
        self.supervisor = Supervisor(self, clock)
        store.hubs.append(self)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def hear(self, name: str, subject: str, value: Any) -> None:
        for wanted, listener in list(self.listeners):
            if wanted == name and not self.deaf:
                listener(subject, value)

    async def change_many(self, changes: Iterable[ValueChange]) -> list[Receipt]:
        await asyncio.sleep(0)
        return self.store.change(changes)

    async def get(self, topic: str, *, user: str | None = None) -> Any:
        await asyncio.sleep(0)
        self.store.check()
        return self.store.values.get((topic, user))

    async def control_set(self, name: str, subject: str, value: Any, *, ttl: float | None = None) -> None:
        assert ttl is not None, "what is left behind must go away some day"
        await asyncio.sleep(0)
        self.store.set_control(name, subject, value)

    async def control_delete(self, name: str, subject: str) -> None:
        await asyncio.sleep(0)
        self.store.delete_control(name, subject)

    async def control_values(self, name: str) -> dict[str, Any]:
        await asyncio.sleep(0)
        return self.store.named(name)

    def on_control(self, name: str, callback: Callable[[str, Any], None]) -> Callable[[], None]:
        entry = (name, callback)
        self.listeners.append(entry)
        return lambda: self.listeners.remove(entry) if entry in self.listeners else None

    def clients(self, *, user: str | None = None, topic: str | None = None) -> list[Any]:
        return [SimpleNamespace()] * self.viewers.get(user if user is not None else topic or "", 0)


class FakePublisher:
    """A `PublisherPort`."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def change_many(self, changes: Iterable[ValueChange]) -> list[Receipt]:
        return self.store.change(changes)

    def get(self, topic: str, *, user: str | None = None) -> Any:
        self.store.check()
        return self.store.values.get((topic, user))

    def control_set(self, name: str, subject: str, value: Any, *, ttl: float | None = None) -> None:
        assert ttl is not None, "what is left behind must go away some day"
        self.store.set_control(name, subject, value)

    def control_delete(self, name: str, subject: str) -> None:
        self.store.delete_control(name, subject)

    def control_get(self, name: str, subject: str) -> Any:
        return self.store.named(name).get(subject)


async def settle(turns: int = 30) -> None:
    """Let everything that is ready in the loop happen."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def pass_time(clock: ManualClock, seconds: float, step_seconds: float = 0.05) -> None:
    """Turn the clock in small steps, with turns of the loop between them."""
    for _ in range(round(seconds / step_seconds)):
        clock.advance(step_seconds)
        await settle()

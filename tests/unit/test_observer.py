"""The observer is told everything; whatever it does itself, the hub goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from clarion import Hub, Limits, Observer
from clarion.observer import guarded
from clarion.testing import RecordingSink
from tests.integration.in_process import answer, request
from tests.integration.test_limits_answers import App

METHODS = sorted(name for name in vars(Observer) if not name.startswith("_"))


def broken(called: list[str]) -> Observer:
    """An observer that raises in each of its methods, and writes down which were called."""

    def method(name: str) -> Callable[..., None]:
        def call(self: Observer, *values: Any) -> None:
            called.append(name)
            raise RuntimeError(f"a bug in {name}")

        return call

    kind = type("Broken", (Observer,), {name: method(name) for name in METHODS})
    observer: Observer = kind()
    return observer


async def test_one_that_always_raises_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    called: list[str] = []
    async with Hub(observer=broken(called), limits=Limits(max_readers=1)) as hub:
        app = App(hub)
        for _ in range(2):  # admitted again after it was released
            reader = request(app, headers=[(b"last-event-id", b"nobody-1")])
            await reader.connected()
            await reader.until("gap")
            first = (await hub.journal.bounds()).newest
            for n in range(first + 1, first + 11):
                await hub.publish("news", n)
            got = [message.data for _ in range(first + 10) if (message := await reader.next()) is not None]
            assert got == [str(n) for n in range(1, first + 11)], "each once"
            assert (await answer(app)).status == 503
            assert hub.client_count == 1
            await reader.hang_up()
            assert hub.client_count == 0
        assert not hub._open_engine()._follower.done()
    assert sorted(set(called)) == METHODS
    failures = [record for record in caplog.records if record.name == "clarion.observer"]
    assert len(failures) == len(called)
    assert all(record.levelno == logging.ERROR and record.exc_info for record in failures)


async def test_what_is_written_while_it_raises_is_not_written_again() -> None:
    """A pass over readers whose figures cannot be told goes on behind them."""
    async with Hub(observer=broken([])) as hub:
        sink = RecordingSink(hub)
        readers = [sink.join(str(number), "news") for number in range(3)]
        for n in range(4):
            await hub.publish("news", n)
            await hub.settle()
        for reader in readers:
            assert [event.data for event in reader.received()] == [0, 1, 2, 3]


def test_it_is_told_everything_as_it_is() -> None:
    told: list[tuple[str, tuple[Any, ...]]] = []

    class Writing(Observer):
        def gap(self, *values: Any) -> None:
            told.append(("gap", values))

        def lag(self, *values: Any) -> None:
            told.append(("lag", values))

    guard = guarded(Writing())
    guard.gap("expired", None)
    guard.lag(3)
    guard.refused("hub")
    assert told == [("gap", ("expired", None)), ("lag", (3,))]


def test_one_that_does_nothing_costs_nothing() -> None:
    observer = Observer()
    assert guarded(observer) is observer

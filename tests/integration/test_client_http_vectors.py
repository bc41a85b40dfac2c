"""The shared vectors of requests and answers, over real connections, with time in the test's hands.

What they mean stands in spec/vectors/http/README.md.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import pytest

from clarion.client import AsyncSource, HttpxTransport, ReceivedEvent, Refusal, Source, SourceError, Status
from clarion.client.base import SourceBase
from clarion.testing import ManualClock
from tests.integration.scripted_server import ScriptedServer, cases
from tests.unit.test_vectors_parse import as_text

CASES = cases()
QUIET_TURNS = 25  # of the loop in which nothing happens: nothing will
SECONDS = 5  # for what takes no time
FINAL = {"refused": "refused", "unauthorized": "refused", "not_a_stream": "refused"}


class ThreadedClock(ManualClock):
    """One that is turned from another thread than that of its timers."""

    loop: asyncio.AbstractEventLoop | None = None

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Any:
        self.loop = asyncio.get_running_loop()
        return super().call_later(delay_ms, callback)

    def advance(self, seconds: float) -> None:
        assert self.loop is not None
        self.loop.call_soon_threadsafe(super().advance, seconds)


class Played:
    """A case, and what a source made of it."""

    def __init__(self, case: dict[str, Any], server: ScriptedServer) -> None:
        self.server = server
        self.activity = 0
        self._case = case
        self._events: list[dict[str, Any]] = []
        self._asked: list[int | None] = []
        self.waits: list[int] = []

    def options(self) -> dict[str, Any]:
        """What the source is made with."""
        made = self._case.get("source", {})
        options = {name: made[name] for name in ("topics", "method", "body") if name in made}
        if "last_event_id" in made:
            options["last_event_id"] = as_text(made["last_event_id"])
        if "headers" in made:

            async def headers(refusal: Refusal | None) -> Any:
                self._asked.append(None if refusal is None else refusal.status_code)
                return made["headers"][min(len(self._asked), len(made["headers"])) - 1]

            options["headers"] = headers
        return {"decode": "text", "random": lambda: 0.0, **options}

    @property
    def url(self) -> str:
        return self.server.base + self._case.get("path", "/events")

    def watch(self, source: SourceBase) -> None:
        source.on_status(self._note_status)
        source.on_error(lambda error: None)

    def _note_status(self, status: Status) -> None:
        self.activity += 1
        if status.state == "waiting":
            assert status.delay_seconds is not None
            self.waits.append(round(status.delay_seconds * 1000))

    def note_event(self, event: ReceivedEvent) -> None:
        self.activity += 1
        self._events.append({"type": event.type, "data": event.text, "last_event_id": event.id, "topic": event.topic})

    def outcome(self, source: SourceBase) -> dict[str, Any]:
        status = source.status
        ends = FINAL.get(status.reason, status.reason) if status.state == "closed" else status.state.value
        return {
            "problems": self.server.problems,
            "requests": self.server.asked,
            "events": self._events,
            "waits": self.waits,
            "asked": self._asked,
            "ends": ends,
            "last_event_id": source.last_event_id if "last_event_id" in self._case else None,
        }

    def right(self) -> dict[str, Any]:
        """What should have come of it."""
        events: list[dict[str, Any]] = []
        for item in self._case["events"]:
            one, times = item.get("repeat", (item, 1))
            events += [one] * times
        return {
            "problems": [],
            "requests": len(self._case["exchanges"]),
            "events": events,
            "waits": self._case["waits"],
            "asked": self._case.get("asked", []),
            "ends": self._case["ends"],
            "last_event_id": self._case.get("last_event_id"),
        }


@pytest.mark.parametrize(("name", "case"), CASES, ids=[name for name, _ in CASES])
async def test_asynchronous_over_httpx2(name: str, case: dict[str, Any]) -> None:
    clock = ManualClock()
    async with ScriptedServer(case) as server, httpx2.AsyncClient(verify=False, trust_env=False) as client:
        played = Played(case, server)
        source = AsyncSource(played.url, transport=HttpxTransport(client), clock=clock, **played.options())
        played.watch(source)

        async def read() -> None:
            async for event in source:
                played.note_event(event)

        async with source:
            reading = asyncio.ensure_future(read())
            await quiet(played)
            while source.status.state == "waiting" and server.has_more:
                asked, delay_ms = server.asked, played.waits[-1]
                clock.advance((delay_ms - 1) / 1000)
                await quiet(played)
                assert server.asked == asked, f"it came back before {delay_ms} ms were over"
                clock.advance(0.001)
                await quiet(played)
            assert played.outcome(source) == played.right()
        await asyncio.wait((reading,))
        if (error := reading.exception()) is not None:
            assert isinstance(error, SourceError)


async def quiet(played: Played) -> None:
    """Until nothing more happens."""
    turns, before = 0, -1
    async with asyncio.timeout(SECONDS):
        while turns < QUIET_TURNS:
            await asyncio.sleep(0)
            activity = played.activity + played.server.activity
            turns = turns + 1 if activity == before else 0
            before = activity


class BareTransport(HttpxTransport):
    """Without the certificates of others, which take a tenth of a second to read."""

    def __init__(self) -> None:
        self._bare = httpx.AsyncClient(verify=False, trust_env=False)
        super().__init__(self._bare)

    async def aclose(self) -> None:
        await self._bare.aclose()


@pytest.mark.parametrize(("name", "case"), CASES, ids=[name for name, _ in CASES])
async def test_synchronous_over_httpx(name: str, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.client.blocking.HttpxTransport", BareTransport)
    clock = ThreadedClock()
    async with ScriptedServer(case) as server:
        played = Played(case, server)
        source = Source(played.url, clock=clock, **played.options())
        played.watch(source)

        def read() -> None:
            with source:
                for event in source:
                    played.note_event(event)

        reading = asyncio.ensure_future(asyncio.to_thread(read))
        try:
            await come_to(played, source, clock)
        finally:
            await asyncio.to_thread(source.close)
        await asyncio.wait((reading,))
        if (error := reading.exception()) is not None:
            assert isinstance(error, SourceError)


async def come_to(played: Played, source: Source, clock: ThreadedClock) -> None:
    """What should come of it does so, and stays so."""
    passed, deadline = 0, time.monotonic() + SECONDS
    while played.outcome(source) != played.right() and time.monotonic() < deadline:
        await asyncio.sleep(0.0005)
        if played.server.has_more and passed < len(played.waits):
            clock.advance(played.waits[passed] / 1000)
            passed += 1
    for _ in range(QUIET_TURNS):  # of both loops
        await asyncio.sleep(0)
        await pinged(clock)
    assert played.outcome(source) == played.right()


async def pinged(clock: ThreadedClock) -> None:
    """One turn of another thread's loop, if it has not ended."""
    assert clock.loop is not None
    turned = asyncio.Event()
    here = asyncio.get_running_loop()
    try:
        clock.loop.call_soon_threadsafe(here.call_soon_threadsafe, turned.set)
    except RuntimeError:
        return
    while not turned.is_set() and clock.loop.is_running():  # noqa: ASYNC110 - the loop may end instead
        await asyncio.sleep(0)

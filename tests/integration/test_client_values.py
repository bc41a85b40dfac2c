"""Values over a network that is out of order: what a client holds is always something that the topic was."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clarion import Hub
from clarion.client import AsyncSource, MemoryCursor, ReceivedEvent
from clarion.values import MISSING, Change, applied
from tests.integration.faulty_proxy import FaultyProxy
from tests.integration.serving import served
from tests.integration.test_client_faults import LOSSLESS, SECONDS, QuickClock, until

TOPICS = ("a", "b/1", "b/2")
SINKS = {"uvicorn": {}, "protocol": {"http": "clarion.uvicorn:Protocol"}}


def app_of(hub: Hub) -> Starlette:
    async def events(request: Request) -> Response:
        return hub.stream(topics=request.query_params.getlist("topic"))

    return Starlette(routes=[Route("/events", events)])


class Truth:
    """What the topics were, one after the other, and the plain events that were published."""

    def __init__(self, hub: Hub, seed: int) -> None:
        self.hub = hub
        self.states: dict[str, list[Any]] = {topic: [MISSING] for topic in TOPICS}
        self.published = 0
        self._chance = random.Random(seed)

    async def change(self, topic: str | None = None) -> None:
        """One change of one topic, or a plain event on it."""
        topic = topic or self._chance.choice(TOPICS)
        number = self._chance.randrange(100)
        kind = self._chance.choice(["event", "set", "append", "append", "merge", "merge", "delete"])
        now = self.states[topic][-1]
        if kind == "event":
            await self.hub.publish(topic, self.published)
            self.published += 1
            return
        if kind == "delete" and now is MISSING:
            kind = "set"
        if kind == "set":
            self._becomes(topic, Change.SET, delta := {"text": str(number)})
            await self.hub.set(topic, delta)
        elif kind == "append":
            self._becomes(topic, Change.APPEND, delta := {"text": f" {number}"})
            await self.hub.append(topic, delta)
        elif kind == "merge":
            self._becomes(topic, Change.MERGE, patch := {f"m{number % 5}": None if number % 3 == 0 else number})
            await self.hub.merge(topic, patch)
        else:
            self._becomes(topic, Change.DELETE, None)
            await self.hub.delete(topic)

    def _becomes(self, topic: str, change: Change, delta: Any) -> None:
        """Noted before it is published: a client may have it before the publisher knows that it is done."""
        self.states[topic].append(applied(self.states[topic][-1], change, delta))


class Seen:
    """What one client was given."""

    def __init__(self, truth: Truth, source: AsyncSource) -> None:
        self.plain: list[int] = []
        self.errors: list[Exception] = []
        self._truth = truth
        self.source = source
        source.on_error(self.errors.append)

    def add(self, event: ReceivedEvent) -> None:
        if event.change is None:
            self.plain.append(event.data)
        assert event.topic is not None
        self.holds_what_was(event.topic)

    def holds_what_was(self, topic: str) -> None:
        assert self.source.value(topic, MISSING) in self._truth.states[topic]

    def is_complete(self) -> bool:
        """Whether it holds what the topics are, and has had every plain event."""
        states = self._truth.states
        held = {topic: self.source.value(topic, MISSING) for topic in TOPICS}
        return held == {topic: states[topic][-1] for topic in TOPICS} and len(self.plain) == self._truth.published


async def read(seen: Seen, done: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS), seen.source as source:
        async for event in source:
            seen.add(event)
            if done() and seen.is_complete():
                return


@pytest.mark.parametrize("sink", SINKS)
async def test_values_over_cuts_are_those_of_the_hub(sink: str) -> None:
    seeds, over = range(300, 308), False
    async with Hub() as hub, served(app_of(hub), **SINKS[sink]) as url:
        truth = Truth(hub, 5)
        with ExitStack() as stack:
            port = int(url.rpartition(":")[2])
            clients = []
            for seed in seeds:
                way = stack.enter_context(FaultyProxy(port, seed, faults=LOSSLESS))
                source = AsyncSource(
                    f"http://127.0.0.1:{way.port}/events",
                    topics=["a", "b/*"],
                    since="earliest",
                    clock=QuickClock(),
                    random=random.Random(seed).random,
                    max_delay_seconds=5,
                )
                clients.append(Seen(truth, source))
            readers = asyncio.gather(*(read(seen, lambda: over) for seen in clients))
            for _ in range(150):
                await truth.change()
                await asyncio.sleep(0.01)
            over = True
            while not readers.done():
                # A change that all are told, until each has come to its end.
                await truth.change("a")
                await asyncio.sleep(0.3)
            await readers
        for seen in clients:
            assert seen.plain == list(range(len(seen.plain)))
            assert seen.errors == []


async def test_a_program_that_begins_anew_is_told_the_values() -> None:
    """Its cursor was kept, its values were not."""
    cursor = MemoryCursor()
    async with Hub() as hub, served(app_of(hub)) as url:
        async with asyncio.timeout(SECONDS):
            async with AsyncSource(f"{url}/events", topics=["a", "b/*"], cursor=cursor) as source:
                reading = asyncio.ensure_future(anext(source))
                await until(lambda: source.status.connected)
                await hub.set("a", "one")
                await hub.set("b/1", [1])
                await reading
                await anext(source)
            await hub.append("b/1", [2])
            await hub.publish("a", "plain")
            async with AsyncSource(f"{url}/events", topics=["a", "b/*"], cursor=cursor) as source:
                events = [await anext(source) for _ in range(3)]
                assert {(event.topic, event.change) for event in events} == {("a", "set"), ("a", None), ("b/1", "set")}
                assert (source.value("a"), source.value("b/1")) == ("one", [1, 2])


async def test_more_topics_are_asked_for_and_their_values_are_told() -> None:
    async with Hub() as hub, served(app_of(hub)) as url:
        await hub.set("a", 1)
        await hub.set("b/1", 2)
        async with asyncio.timeout(SECONDS), AsyncSource(f"{url}/events", topics="a") as source:
            await anext(source)
            assert (source.value("a"), source.value("b/1")) == (1, None)
            source.subscribe("b/*")
            reading = asyncio.ensure_future(source.run())
            await until(lambda: source.value("b/1") == 2)
            assert source.value("a") == 1
            reading.cancel()

"""Subscribing inside the process."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from clarion import Hub, LocalStream
from clarion.retention import Retention


async def take(events: LocalStream, count: int) -> list[Any]:
    async with asyncio.timeout(5):
        return [(await anext(events)).data for _ in range(count)]


async def test_nothing_is_missed_from_its_making_on() -> None:
    async with Hub() as hub:
        await hub.publish("a", 0)
        await hub.settle()
        events = hub.subscribe("a")
        await hub.publish("a", 1)
        await hub.publish("b", "other")
        await hub.publish("a", 2)
        assert await take(events, 2) == [1, 2]
        await hub.publish("a", 3)
        assert await take(events, 1) == [3]
        await events.aclose()


async def test_what_it_receives() -> None:
    async with Hub() as hub, hub.subscribe(["a/*", "b"]) as events:
        receipt = await hub.publish("a/1", {"n": 1}, event="x")
        await hub.publish("b", text="raw\ntext")
        first, second = await anext(events), await anext(events)
        assert (first.id, first.type, first.topic, first.data) == (receipt.id, "x", "a/1", {"n": 1})
        assert (second.type, second.topic, second.text) == ("message", "b", "raw\ntext")
        with pytest.raises(ValueError, match="not JSON"):
            _ = second.data


@pytest.mark.parametrize(
    ("since", "wanted"), [("earliest", [1, 2, 3]), (2, [2, 3]), ("last:1", [3]), ("5m", [1, 2, 3])]
)
async def test_it_starts_where_it_is_told(since: Any, wanted: list[int]) -> None:
    async with Hub() as hub:
        for n in (1, 2, 3):
            await hub.publish("a", n)
        async with hub.subscribe("a", since=since) as events:
            assert await take(events, len(wanted)) == wanted


async def test_it_is_no_client() -> None:
    async with Hub() as hub:
        seen: list[Any] = []
        hub.on_connect(seen.append)
        hub.on_disconnect(lambda client, reason: seen.append(client))
        async with hub.subscribe("a") as events:
            receipt = await hub.publish("a", 1)
            assert await take(events, 1) == [1]
            assert receipt.clients == hub.client_count == 0
            assert hub.clients() == []
        assert seen == []


async def test_slowness_costs_nobody_and_loses_nothing() -> None:
    async with Hub() as hub:
        quick, slow = hub.subscribe("a"), hub.subscribe("a")
        assert [await asyncio.gather(hub.publish("a", n), anext(quick)) for n in range(3)]
        for n in range(3, 500):
            await hub.publish("a", n)
        assert await take(slow, 500) == list(range(500))
        assert await take(quick, 497) == list(range(3, 500))
        await quick.aclose()
        await slow.aclose()


async def test_what_is_gone_is_told() -> None:
    async with Hub(retention=Retention(max_count=5)) as hub:
        events = hub.subscribe("a", since="earliest")
        await hub.publish("a", 0)
        assert await take(events, 1) == [0]
        engine = hub._open_engine()
        for n in range(1, 200):
            await hub.publish("a", n)
        await hub.settle()
        engine.log.reset(engine.log.head, ())  # as if the log's window had passed it by
        gap = await anext(events)
        assert gap.type == "gap"
        assert gap.topic is None
        assert gap.data["missed"] == 194
        assert await take(events, 5) == [195, 196, 197, 198, 199]


async def test_giving_up_waiting_loses_nothing() -> None:
    got: list[int] = []
    async with Hub() as hub, hub.subscribe("a") as events:
        for n in range(20):
            waiting = asyncio.ensure_future(anext(events))
            for _ in range(n % 4):
                await asyncio.sleep(0)
            await hub.publish("a", n)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            if not waiting.cancelled():
                got.append(waiting.result().data)
        got += await take(events, 20 - len(got))
    assert got == list(range(20))


async def test_it_ends_when_the_hub_closes() -> None:
    async with Hub() as hub:
        reading = asyncio.create_task(_all(hub.subscribe("a")))
        await asyncio.sleep(0)
        await hub.publish("a", 1)
        await hub.settle()
        await asyncio.sleep(0)
    assert await asyncio.wait_for(reading, 5) == [1]


async def _all(events: LocalStream) -> list[Any]:
    return [event.data async for event in events]


async def test_closing_is_for_good_and_twice_is_once() -> None:
    async with Hub() as hub:
        events = hub.subscribe("a")
        await events.aclose()
        await events.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(events)
        assert len(hub._open_engine().audiences) == 0


async def test_one_that_is_forgotten_is_counted_out() -> None:
    async with Hub() as hub:
        events = hub.subscribe("a", since="earliest")
        await hub.publish("a", 1)
        assert await take(events, 1) == [1]
        assert len(hub._open_engine().audiences) == 1
        del events
        gc.collect()
        await asyncio.sleep(0)
        assert len(hub._open_engine().audiences) == 0

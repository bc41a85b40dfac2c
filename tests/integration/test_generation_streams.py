"""Streams of generations in the formats of others: who may have one, what each viewer gets, and how a stream ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from clarion import Client, Hub, Limits
from clarion.generation import GenerationWriter
from clarion.testing import ManualClock
from tests.integration.in_process import Exchange, answer, request, stream, until
from tests.unit.generated import Completion, UIMessage

TOPIC = "chat/1"
FORMATS = ("openai", "ai-sdk")


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with Hub() as one:
        yield one


class Script:
    """A generation that is written by the test, step by step."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._orders: asyncio.Queue[str | None] = asyncio.Queue()

    async def __call__(self, out: GenerationWriter) -> None:
        while (text := await self._orders.get()) is not None:
            await out.write(text)

    async def begin(self, topic: str = TOPIC, **options: Any) -> Script:
        await self._hub.generate(topic, self, **options)
        return self

    async def write(self, text: str) -> None:
        """Write, and wait until it is the value."""
        before = (await self._hub.get(TOPIC))["text"]
        self._orders.put_nowait(text)
        async with asyncio.timeout(10):
            while (await self._hub.get(TOPIC))["text"] != before + text:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def end(self) -> None:
        self._orders.put_nowait(None)
        async with asyncio.timeout(10):
            while self._hub.supervisor.working(TOPIC):  # noqa: ASYNC110
                await asyncio.sleep(0.005)


def text_of(body: bytes, name: str) -> str:
    """The text that a client of the format has after these bytes."""
    if name == "openai":
        completion = Completion()
        completion.feed(body)
        return completion.texts.get("content", "")
    message = UIMessage()
    message.feed(body)
    return "".join(part["text"] for part in message.parts if part["type"] == "text")


async def shown(exchange: Exchange, name: str, text: str) -> None:
    await until(lambda: text_of(exchange.body, name) == text)


@pytest.mark.parametrize("name", FORMATS)
async def test_a_viewer_gets_the_whole_so_far_joined_and_then_the_rest(hub: Hub, name: Any) -> None:
    script = await Script(hub).begin()
    for word in ("One ", "two "):
        await script.write(word)
    async with stream(hub.generation_stream(TOPIC, format=name)) as exchange:
        await shown(exchange, name, "One two ")
        assert exchange.body.count(b'"One two "') == 1
        await script.write("three")
        await shown(exchange, name, "One two three")
        assert not exchange.complete
        await script.end()
        await until(lambda: exchange.complete)
    assert exchange.body.endswith(b"data: [DONE]\n\n")
    assert exchange.status == 200
    assert exchange.headers["content-type"].startswith("text/event-stream")
    assert exchange.headers["cache-control"] == "no-store"
    assert exchange.headers["x-accel-buffering"] == "no"
    assert exchange.headers.get("x-vercel-ai-ui-message-stream") == ("v1" if name == "ai-sdk" else None)


async def test_all_viewers_are_given_the_same_bytes(hub: Hub) -> None:
    script = await Script(hub).begin()
    await script.write("One ")
    seen: list[list[int]] = []

    def viewer() -> asyncio.Task[None]:
        objects: list[int] = []
        kept.append(objects)
        seen.append([])
        ids = seen[-1]

        async def receive() -> Any:
            await asyncio.sleep(60)

        async def send(message: Any) -> None:
            if body := message.get("body"):
                kept.append(body)
                ids.append(id(body))

        scope = {"type": "http", "method": "GET", "http_version": "1.1", "headers": [], "client": ("1.2.3.4", 5)}
        return asyncio.create_task(hub.generation_stream(TOPIC, format="openai")(scope, receive, send))

    kept: list[Any] = []  # so that no id is used twice
    viewers = [viewer() for _ in range(100)]
    await until(lambda: all(seen))
    for word in ("two ", "three"):
        await script.write(word)
        await asyncio.sleep(0.05)
    await script.end()
    await asyncio.gather(*viewers)
    assert all(ids == seen[0] for ids in seen)
    assert len(seen[0]) == 4


async def test_the_feed_is_read_once_and_let_go_of(hub: Hub) -> None:
    script = await Script(hub).begin()
    for _ in range(2):
        exchanges = [request(hub.generation_stream(TOPIC, format=name)) for name in ("openai", "ai-sdk") * 5]
        await until(lambda: all(one.body for one in exchanges))  # noqa: B023
        assert len(hub._feeds._feeds) == 1
        for one in exchanges:
            await one.hang_up()
        assert not hub._feeds._feeds
        assert hub.client_count == 0
    await script.end()


@pytest.mark.parametrize("name", FORMATS)
async def test_a_slow_viewer_is_told_the_newest_in_one(hub: Hub, name: Any) -> None:
    script = await Script(hub).begin()
    slow, bodies = asyncio.Event(), []

    async def receive() -> Any:
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        if body := message.get("body"):
            bodies.append(body)
            if len(bodies) == 1:
                await slow.wait()

    scope = {"type": "http", "method": "GET", "http_version": "1.1", "headers": [], "client": None}
    before = asyncio.all_tasks()
    viewing = asyncio.create_task(hub.generation_stream(TOPIC, format=name)(scope, receive, send))
    await until(lambda: bodies)
    for number in range(20):
        await script.write(f"{number} ")
    await script.end()
    slow.set()
    await viewing
    assert len(bodies) == 2
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before  # nothing of it is left
    assert text_of(b"".join(bodies), name) == "".join(f"{number} " for number in range(20))


@pytest.mark.parametrize("name", FORMATS)
async def test_where_there_is_nothing_the_answer_is_204(hub: Hub, name: Any) -> None:
    for _ in range(2):
        assert (await answer(hub.generation_stream(TOPIC, format=name))).status == 204
        await hub.set(TOPIC, {"something": "else"})
    script = await Script(hub).begin(replace=True)
    await script.end()
    assert (await answer(hub.generation_stream(TOPIC, format=name))).status == 200
    assert (await answer(hub.generation_stream("chat/2", format=name))).status == 204


async def test_what_ended_a_while_ago_is_not_told_again() -> None:
    clock = ManualClock()
    async with Hub(clock=clock) as hub:
        async with hub.generation(TOPIC) as out:
            await out.write("Done")
        clock.advance(60)
        assert (await answer(hub.generation_stream(TOPIC, format="openai"))).status == 200
        clock.advance(1)
        assert (await answer(hub.generation_stream(TOPIC, format="openai"))).status == 204
        always = hub.generation_stream(TOPIC, format="openai", replay_ended_seconds=None)
        assert text_of((await answer(always)).body, "openai") == "Done"
        assert (await answer(hub.generation_stream(TOPIC, format="openai", replay_ended_seconds=120))).status == 200


async def test_a_generation_of_one_user_is_told_to_that_user(hub: Hub) -> None:
    async with hub.generation(TOPIC, user="ann") as out:
        await out.write("For ann")
    for user, status in ((None, 204), ("bob", 204), ("ann", 200)):
        assert (await answer(hub.generation_stream(TOPIC, format="ai-sdk", user=user))).status == status


async def test_the_users_viewer_hears_nothing_else_of_that_user(hub: Hub) -> None:
    async with hub.generation(TOPIC, user="ann") as out:
        viewing = request(hub.generation_stream(TOPIC, format="openai", user="ann"))
        await until(lambda: viewing.body)
        await hub.send_to_user("ann", {"other": 1})
        await hub.set("chat/2", {"messageId": "m", "status": "running", "text": "other"}, user="ann")
        await out.write("For ann")
    await viewing.end()
    assert text_of(viewing.body, "openai") == "For ann"


async def test_head_is_answered_without_a_stream(hub: Hub) -> None:
    script = await Script(hub).begin()
    exchange = await answer(hub.generation_stream(TOPIC, format="ai-sdk"), method="HEAD")
    assert (exchange.status, exchange.body) == (200, b"")
    assert exchange.headers["x-vercel-ai-ui-message-stream"] == "v1"
    await script.end()


async def test_what_cannot_be_is_refused(hub: Hub) -> None:
    for topic in ("", "chat/*", "@user/ann", "a\nb"):
        assert (await answer(hub.generation_stream(topic, format="openai"))).status == 422
    for options in ({"format": "rot13"}, {"format": "ai-sdk", "sdk_version": 4}, {"replay_ended_seconds": -1}):
        with pytest.raises(ValueError, match=r"format|sdk_version|replay_ended"):
            hub.generation_stream(TOPIC, **{"format": "openai", **options})  # type: ignore[arg-type]
    closed = Hub()
    refused = await answer(closed.generation_stream(TOPIC, format="openai"))
    assert refused.status == 503
    assert refused.headers["retry-after"]


async def test_viewers_are_counted_limited_and_seen_as_clients() -> None:
    limits = Limits(max_readers=3, max_readers_per_user=1, max_readers_per_address=2)
    async with Hub(limits=limits) as hub:
        came: list[Client] = []
        left: list[tuple[str, str]] = []
        hub.on_connect(came.append)
        hub.on_disconnect(lambda client, reason: left.append((client.id, reason)))
        script = await Script(hub).begin()
        viewing = [request(hub.generation_stream(TOPIC, format="openai", meta={"tab": 1})) for _ in range(2)]
        await until(lambda: all(one.body for one in viewing))
        assert [(one.topics, one.meta, one.address) for one in hub.clients(topic=TOPIC)] == [
            ((TOPIC,), {"tab": 1}, "127.0.0.1")
        ] * 2
        assert len(came) == hub.client_count == 2
        assert (await answer(hub.generation_stream(TOPIC, format="openai"))).status == 429
        third = request(hub.generation_stream(TOPIC, format="openai"), address="10.0.0.1")
        await until(lambda: third.body)
        refused = await answer(hub.generation_stream(TOPIC, format="openai"), address="10.0.0.2")
        assert (refused.status, "retry-after" in refused.headers) == (503, True)
        for one in (*viewing, third):
            await one.hang_up()
        await until(lambda: len(left) == 3)
        assert {reason for _, reason in left} == {"disconnected"}
        assert hub.client_count == 0
        await script.end()


async def test_a_viewer_keeps_a_generation_alive_that_ends_without_viewers() -> None:
    async with Hub() as hub:
        script = await Script(hub).begin(on_no_viewers=1.0)
        async with stream(hub.generation_stream(TOPIC, format="ai-sdk")) as exchange:
            await until(lambda: exchange.body)
            await asyncio.sleep(2.5)
            assert (await hub.get(TOPIC))["status"] == "running"
        async with asyncio.timeout(10):
            while hub.supervisor.working(TOPIC):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (await hub.get(TOPIC))["status"] == "cancelled"
        del script


async def test_a_hub_that_drains_breaks_the_stream_rather_than_ending_it() -> None:
    async with Hub() as hub:
        script = await Script(hub).begin()
        await script.write("Half")
        exchange = request(hub.generation_stream(TOPIC, format="ai-sdk"))
        await shown(exchange, "ai-sdk", "Half")
        await hub.drain(0)
        await exchange.end()
        assert not exchange.complete  # the server closes the connection then
        assert b"[DONE]" not in exchange.body
        assert (await answer(hub.generation_stream(TOPIC, format="ai-sdk"))).status == 503
        await script.end()


async def test_a_hub_that_closes_tells_viewers_that_the_text_is_lost() -> None:
    async with Hub() as hub:
        script = await Script(hub).begin()
        await script.write("Half")
        exchange = request(hub.generation_stream(TOPIC, format="ai-sdk"))
        await shown(exchange, "ai-sdk", "Half")
    await exchange.end()
    assert b"broke off" in exchange.body


async def test_a_feed_that_fails_breaks_the_stream_and_the_next_viewer_gets_a_new_one(hub: Hub) -> None:
    script = await Script(hub).begin()
    await script.write("Half")
    exchange = request(hub.generation_stream(TOPIC, format="openai"))
    await shown(exchange, "openai", "Half")
    (feed,) = hub._feeds._feeds.values()
    feed._reading.cancel()
    await exchange.end()
    assert not exchange.complete
    again = request(hub.generation_stream(TOPIC, format="openai"))
    await shown(again, "openai", "Half")
    await script.end()
    await again.end()
    assert again.complete


async def test_who_is_kicked_is_cut_off(hub: Hub) -> None:
    script = await Script(hub).begin()
    exchange = request(hub.generation_stream(TOPIC, format="openai"))
    await until(lambda: exchange.body)
    await hub.kick(client=hub.clients()[0].id)
    await exchange.end()
    assert not exchange.complete
    await script.end()


async def test_a_stalled_viewer_is_let_go_of() -> None:
    clock = ManualClock()
    async with Hub(clock=clock) as hub:
        out_of_send = asyncio.Event()

        async def receive() -> Any:
            await asyncio.sleep(60)

        async def send(message: Any) -> None:
            if message.get("body"):
                try:
                    await asyncio.sleep(60)
                finally:
                    out_of_send.set()

        async with hub.generation(TOPIC):
            scope = {"type": "http", "method": "GET", "http_version": "1.1", "headers": [], "client": None}
            viewing = asyncio.create_task(hub.generation_stream(TOPIC, format="openai")(scope, receive, send))
            await until(lambda: hub.client_count)
            for _ in range(40):
                clock.advance(3)
                await asyncio.sleep(0)
            async with asyncio.timeout(5):
                await viewing
            assert not viewing.cancelling()
            assert out_of_send.is_set()
            assert hub.client_count == 0


async def test_a_silence_is_filled_with_comments() -> None:
    clock = ManualClock()
    async with Hub(clock=clock, heartbeat_seconds=15) as hub:
        script = await Script(hub).begin()
        exchange = request(hub.generation_stream(TOPIC, format="openai"))
        quiet = request(hub.generation_stream(TOPIC, format="openai", keep_alive_seconds=0))
        await until(lambda: exchange.body and quiet.body)
        for count in (1, 2, 3):
            for _ in range(30):
                clock.advance(0.5)
                await asyncio.sleep(0)
            await until(lambda: exchange.body.count(b": keep-alive\n\n") == count)  # noqa: B023
        assert b"keep-alive" not in quiet.body
        await script.end()
        for one in (exchange, quiet):
            await one.end()
            assert one.complete


async def test_a_value_that_is_deleted_ends_the_stream(hub: Hub) -> None:
    await hub.set(TOPIC, {"messageId": "m", "status": "running", "text": "by hand"})
    exchange = request(hub.generation_stream(TOPIC, format="openai"))
    await shown(exchange, "openai", "by hand")
    await hub.delete(TOPIC)
    await exchange.end()
    assert b"broke off" in exchange.body


async def test_a_generation_that_takes_the_place_of_another_is_not_mixed_up_with_it(hub: Hub) -> None:
    first = await Script(hub).begin()
    await first.write("first")
    exchange = request(hub.generation_stream(TOPIC, format="ai-sdk"))
    await shown(exchange, "ai-sdk", "first")
    second = await Script(hub).begin(replace=True)
    await second.write("second")
    await exchange.end()
    assert b"second" not in exchange.body
    assert json.loads(exchange.body.split(b"\n\n")[-3].removeprefix(b"data: ")) == {"type": "abort"}
    await second.end()

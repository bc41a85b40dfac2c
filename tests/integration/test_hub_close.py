"""Ends: a hub that closes, a client that goes in the middle of a `send`, a stream that is to end while it moves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from clarion import Client, Hub, HubClosed, engine
from clarion.takeover import EXTENSION
from tests.integration.in_process import request, stream
from tests.integration.test_limits_answers import App


async def closed(hub: Hub) -> None:
    async with asyncio.timeout(5):
        await hub.close()


async def test_a_callback_that_never_returns_does_not_hold_up_the_close(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine, "CLOSE_GRACE_SECONDS", 0.01)
    hub, called, stopped = Hub(), [], []

    @hub.on_disconnect
    async def gone(client: Client, reason: str) -> None:
        called.append(reason)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append(reason)
            raise

    await hub.open()
    exchange = request(App(hub))
    await exchange.connected()
    await closed(hub)
    await exchange.end()
    await asyncio.sleep(0)
    assert called == stopped == ["drain"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_callback_that_takes_a_while_is_waited_for() -> None:
    hub, done, go = Hub(), [], asyncio.Event()

    @hub.on_disconnect
    async def gone(client: Client, reason: str) -> None:
        await go.wait()
        done.append(reason)

    await hub.open()
    exchange = request(App(hub))
    await exchange.connected()
    closing = asyncio.create_task(closed(hub))
    await exchange.end()
    assert not closing.done()
    go.set()
    await closing
    assert done == ["drain"]


async def test_a_callback_may_tell_others_while_the_hub_closes() -> None:
    hub = Hub()
    told: list[Any] = []

    @hub.on_disconnect
    async def gone(client: Client, reason: str) -> None:
        await asyncio.sleep(0)
        told.append((await hub.publish("presence", {"left": client.id})).id)
        told.extend(one.id for one in await hub.publish_many([("presence", 1)]))

    await hub.open()
    exchange = request(App(hub))
    await exchange.connected()
    await closed(hub)
    assert [one.partition("-")[2] for one in told] == ["1", "2"]
    with pytest.raises(HubClosed):
        await hub.publish("presence", "too late")
    await exchange.end()


async def test_closing_twice_at_once_is_once_and_it_opens_again() -> None:
    hub = Hub()
    await hub.open()
    exchange = request(App(hub))
    await exchange.connected()
    async with asyncio.timeout(5):
        await asyncio.gather(hub.close(), hub.close())
    await exchange.end()
    await hub.open()
    async with stream(App(hub)) as again:
        await again.connected()
    await closed(hub)


@pytest.mark.parametrize("when", ["sends", "waits"])
async def test_a_request_whose_client_went_is_not_cancelled(when: str) -> None:
    """ASGI 2.4: `send` raises OSError. What the app cleans up after its response may wait for something."""
    cleaned: list[str] = []
    async with Hub() as hub:
        inner = App(hub)

        async def app(scope: Any, receive: Any, send: Callable[[Any], Any]) -> None:
            async def failing(message: Any) -> None:
                if b"data: 1\n" in message.get("body", b""):
                    if when == "waits":
                        await asyncio.sleep(0)
                    raise OSError("the client is gone")
                await send(message)

            try:
                await inner(scope, receive, failing)
            finally:
                for _ in range(3):
                    await asyncio.sleep(0)
                task = asyncio.current_task()
                assert task is not None
                assert not task.cancelling()
                cleaned.append("up")

        exchange = request(app)
        await exchange.connected()
        await hub.publish("news", 1)
        await exchange.end()
        assert cleaned == ["up"]
        assert hub.client_count == 0


class HeldOffer:
    """A server's offer of a connection that comes to nothing, once the test lets it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def take(self, first: bytes) -> int | None:
        self.asked.set()
        await self.go.wait()
        return None

    def on_shutdown(self, callback: Callable[[], None]) -> None:
        """The server of this test does not shut down."""


@pytest.mark.parametrize("reason", ["done", "kicked", "expired"])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
async def test_an_end_that_is_ordered_while_a_stream_moves_comes(reason: str, busy: bool) -> None:
    async with Hub() as hub:
        offer = HeldOffer()
        exchange = request(App(hub, user="ann"), extensions={EXTENSION: offer})
        await exchange.connected()
        async with asyncio.timeout(5):
            await offer.asked.wait()
        if busy:
            await hub.publish("news", 1)
        await hub.kick(user="ann", reason=reason)
        await hub.settle()
        offer.go.set()
        messages = await exchange.until("bye")
        assert f'"reason":"{reason}"' in messages[-1].data
        if busy and reason == "done":
            assert [message.data for message in messages[:-1]] == ["1"], "everything that was said before"
        await exchange.end()
        assert exchange.complete
        assert hub.client_count == 0
        assert not hub._open_engine().delivery._finishing

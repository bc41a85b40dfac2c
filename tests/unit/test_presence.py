"""Clients as they are shown, and the app's callbacks."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from clarion.position import Position
from clarion.presence import Callbacks, Client, client_of
from tests.unit.core import core


def a_client() -> Client:
    reader = core().reader("7", "b", "a", user="ann")
    reader.connected_at = 1_790_000_000.0
    reader.address, reader.meta, reader.reason = "127.0.0.1", {"tab": 1}, "kicked"
    return client_of(reader, Position("k3v9", 40), 42)


def test_a_client_is_what_is_known_of_a_reader() -> None:
    assert a_client() == Client(
        id="7",
        user="ann",
        topics=("a", "b"),
        address="127.0.0.1",
        connected_at=datetime.fromtimestamp(1_790_000_000, UTC),
        meta={"tab": 1},
        position=Position("k3v9", 40),
        lag=2,
        reason="kicked",
    )


def test_who_is_ahead_of_this_process_has_no_lag() -> None:
    assert client_of(core().reader("7"), Position("k3v9", 9), 5).lag == 0


async def test_callbacks_are_called_in_order_and_awaited() -> None:
    callbacks, called = Callbacks(), []

    async def slow(client: Client, *reason: Any) -> None:
        await asyncio.sleep(0)
        called.append(("slow", *reason))

    def quick(client: Client, *reason: Any) -> None:
        called.append(("quick", *reason))

    callbacks.connect += [slow, quick]
    callbacks.disconnect += [slow, quick]
    await callbacks.connected(a_client())
    callbacks.disconnected(a_client())
    await callbacks.join(5)
    assert called == [("slow",), ("quick",), ("slow", "kicked"), ("quick", "kicked")]


async def test_what_a_callback_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    callbacks, called = Callbacks(), []

    def bad(client: Client, *reason: Any) -> None:
        raise RuntimeError("in the app")

    callbacks.connect += [bad, lambda client: called.append("connect")]
    callbacks.disconnect += [bad, lambda client, reason: called.append("disconnect")]
    await callbacks.connected(a_client())
    callbacks.disconnected(a_client())
    await callbacks.join(5)
    assert called == ["connect", "disconnect"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


async def test_who_does_not_ask_for_the_reason_is_not_given_it() -> None:
    called: list[object] = []
    callbacks = Callbacks()

    async def later(client: Client) -> None:
        called.append(client.id)

    callbacks.add_disconnect(lambda client: called.append(client.id))
    callbacks.add_disconnect(later)
    callbacks.add_disconnect(lambda client, reason: called.append(reason))
    client = a_client()
    callbacks.disconnected(client)
    await callbacks.join(5)
    assert called == [client.id, client.id, client.reason]

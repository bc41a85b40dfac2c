"""Readers in and out of the process who wait for something while their hub closes, their journal fails, they go."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

import pytest

from clarion import Hub, LocalStream, engine, paging
from clarion.errors import JournalUnavailable
from tests.integration.in_process import Exchange, request, until
from tests.integration.test_limits_answers import App


class Pages:
    """Stands between a hub and its journal's pages: they wait, or fail, when the test says so."""

    def __init__(self, hub: Hub) -> None:
        self.asked = 0
        self.fail = False
        self.open = asyncio.Event()
        self.open.set()
        self._read = hub.journal.read
        hub.journal.read = self.read  # type: ignore[method-assign]

    def were_asked(self, times: int) -> bool:
        return self.asked >= times

    async def read(self, *args: Any, **bounds: Any) -> Any:
        self.asked += 1
        await self.open.wait()
        if self.fail:
            raise JournalUnavailable("on purpose")
        return await self._read(*args, **bounds)


async def far_behind(hub: Hub, count: int = 3) -> Pages:
    """Publish, and have the log's window pass it by: it is in the journal alone."""
    await hub.publish_many([("news", n) for n in range(count)])
    await hub.settle()
    log = hub._open_engine().log
    log.reset(log.head, ())
    return Pages(hub)


async def read_all(events: LocalStream) -> list[Any]:
    return [event.data async for event in events]


async def ended(task: asyncio.Task[Any]) -> Any:
    async with asyncio.timeout(5):
        return await task


@pytest.mark.parametrize("since", [None, "earliest", "last:2", "5m"])
async def test_one_made_before_the_hub_closed_ends_after_it(since: str | None) -> None:
    hub = Hub()
    await hub.open()
    await hub.publish("news", 1)
    events = hub.subscribe("news", since=since)
    await hub.close()
    async with asyncio.timeout(5):
        with pytest.raises(StopAsyncIteration):
            await anext(events)
        with pytest.raises(StopAsyncIteration):
            await anext(events)
    await events.aclose()


@pytest.mark.parametrize("since", ["earliest", "5m", None])
async def test_whatever_it_begins_with_nothing_is_missed_from_its_making_on(since: str | None) -> None:
    async with Hub() as hub:
        events = hub.subscribe("news", since=since)
        await hub.publish_many([("news", n) for n in range(3)])
        assert [(await anext(events)).data for _ in range(3)] == [0, 1, 2]
        await events.aclose()


@pytest.mark.parametrize("state", ["failing", "waiting"])
async def test_one_that_waits_for_a_page_ends_when_the_hub_closes(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE_RETRY_SECONDS", 0.001)
    hub = Hub()
    await hub.open()
    pages = await far_behind(hub)
    pages.fail = state == "failing"
    if state == "waiting":
        pages.open.clear()
    task = asyncio.create_task(read_all(hub.subscribe("news", since="earliest")))
    await until(lambda: pages.asked >= (3 if pages.fail else 1))
    assert not task.done()
    await hub.close()
    assert await ended(task) == []


async def test_one_that_waited_while_the_journal_failed_gets_it_all_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE_RETRY_SECONDS", 0.001)
    async with Hub() as hub:
        pages = await far_behind(hub)
        pages.fail = True
        task = asyncio.create_task(read_all(hub.subscribe("news", since="earliest")))
        await until(lambda: pages.asked >= 3)
        pages.fail = False
        await hub.publish("news", 3)
        await until(lambda: any(audience.live for audience in hub._open_engine().audiences))
    assert await ended(task) == [0, 1, 2, 3]


async def a_stream_that_waits(hub: Hub, pages: Pages) -> Exchange:
    exchange = request(App(hub, since="earliest"))
    await exchange.connected()
    asked = pages.asked
    pages.fail = True
    await until(lambda: pages.asked >= asked + 3)
    return exchange


async def test_a_client_that_leaves_while_the_journal_fails_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE_RETRY_SECONDS", 0.001)
    async with Hub() as hub:
        pages = await far_behind(hub)
        pages.fail = True
        exchange = await a_stream_that_waits(hub, pages)
        await exchange.hang_up()
        assert hub.client_count == 0
        assert not hub._open_engine().writers
        asked = pages.asked
        await asyncio.sleep(0.02)  # twenty times what lies between two tries
        assert pages.asked == asked, "nobody asks any more"


async def test_a_client_is_told_of_the_close_while_the_journal_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(engine, "CLOSE_GRACE_SECONDS", 5)
    hub = Hub()
    await hub.open()
    exchange = await a_stream_that_waits(hub, await far_behind(hub))
    async with asyncio.timeout(4):
        await hub.close()
    assert (await exchange.bye())["reason"] == "drain"
    await exchange.end()


async def test_an_outage_is_one_line_however_many_wait(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(paging, "PAGE_RETRY_SECONDS", 0.001)
    async with Hub() as hub:
        audiences = hub._open_engine().audiences
        pages = await far_behind(hub)
        for outage in (1, 2):
            pages.fail = True
            tasks = [asyncio.create_task(read_all(hub.subscribe("news", since="earliest"))) for _ in range(50)]
            asked = pages.asked
            await until(partial(pages.were_asked, asked + 10))
            pages.fail = False
            await until(lambda: any(len(audience.live) == 50 for audience in audiences))
            said = [record.levelno for record in caplog.records if record.name == "clarion.delivery"]
            assert said == [logging.ERROR, logging.WARNING] * outage
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for reader in list(audiences.clients.values()):
                hub._open_engine().delivery.gone(reader, "disconnected")
            hub._open_engine().pager._cache.clear()

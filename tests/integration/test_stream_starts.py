"""Where a stream starts: as its query says, as the app does, and what retention took away of it."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from clarion import Hub, Limits, Retention
from clarion.parser import Message
from clarion.stream import LAST_EVENT_ID_QUERIES
from tests.integration.in_process import stream
from tests.integration.test_limits_answers import App

LAST_ONE_ONLY = {"presence/*": Retention(max_count=1)}


async def replayed(hub: Hub, app: App, query: bytes = b"", **options: Any) -> list[Message]:
    """What a stream begins with, `connected` left out."""
    async with stream(app, query=query, **options) as reader:
        await reader.connected()
        await hub.broadcast(event="end")
        return (await reader.until("end"))[:-1]


def texts(messages: list[Message]) -> list[str]:
    return [message.data if message.type == "message" else message.type for message in messages]


async def trimmed(hub: Hub) -> list[str]:
    """An event of `news`, ten of a topic that keeps its last one, another of `news`; all of it out of the log."""
    ids = [(await hub.publish("news", "first")).id]
    ids += [(await hub.publish("presence/ann", n)).id for n in range(10)]
    ids += [(await hub.publish("news", "last")).id]
    await hub.settle()
    log = hub._open_engine().log
    log.reset(log.head, ())  # as after a restart, or once the window has moved on
    return ids


@pytest.mark.parametrize(
    ("since", "wanted"),
    [
        ("earliest", ['"first"', "9", '"last"']),
        ("5m", ['"first"', "9", '"last"']),
        ("last:3", ['"first"', "9", '"last"']),
        ("last:2", ["9", '"last"']),
        ("100", ['"first"', "9", '"last"']),
        ("live", []),
    ],
)
@pytest.mark.parametrize("whose", ["query", "app", "local"])
async def test_who_asks_for_what_there_is_is_told_of_no_loss(since: str, wanted: list[str], whose: str) -> None:
    async with Hub(topic_retention=LAST_ONE_ONLY) as hub:
        await trimmed(hub)
        topics = ["presence/*", "news"]
        if whose == "query":
            got = texts(await replayed(hub, App(hub, topics=topics), b"since=" + since.encode()))
        elif whose == "app":
            got = texts(await replayed(hub, App(hub, topics=topics, since=since)))
        else:
            async with hub.subscribe(topics, since=since) as events:
                got = [event.text for _ in wanted if (event := await anext(events)).type == "message"]
                await hub.publish("news", "end")
                assert (await anext(events)).data == "end"
        assert got == wanted


async def test_who_comes_back_is_told_of_it() -> None:
    async with Hub(topic_retention=LAST_ONE_ONLY) as hub:
        ids = await trimmed(hub)
        app = App(hub, topics=["presence/*", "news"])
        gap, *rest = await replayed(hub, app, headers=[(b"last-event-id", ids[0].encode())])
        assert gap.type == "gap"
        assert (json.loads(gap.data)["reason"], json.loads(gap.data)["missed"]) == ("expired", 9)
        assert texts(rest) == ["9", '"last"']


@pytest.mark.parametrize(
    ("asked", "first"),
    [(b"since=last:1000000", 7), (b"since=1000000", 7), (b"since=last:4", 7), (b"since=2", 8), (b"", 2)],
)
async def test_a_query_is_given_so_many_and_no_more(asked: bytes, first: int) -> None:
    """The app knows what it does."""
    async with Hub(limits=Limits(max_last_events=3)) as hub:
        await hub.publish_many([("news", n) for n in range(10)])
        await hub.settle()
        wanted = [str(n) for n in range(first, 10)]
        assert texts(await replayed(hub, App(hub, since=8), asked)) == wanted


async def test_code_inside_is_given_as_many_as_it_asks_for() -> None:
    async with Hub(limits=Limits(max_last_events=3)) as hub:
        await hub.publish_many([("news", n) for n in range(10)])
        async with hub.subscribe("news", since=8) as events:
            assert [(await anext(events)).data for _ in range(8)] == list(range(2, 10))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_the_first_spelling_of_an_id_counts_and_a_header_before_all(order: tuple[int, ...]) -> None:
    """Whatever their order in the query."""
    async with Hub() as hub:
        ids = [(await hub.publish("news", n)).id for n in range(5)]
        await hub.settle()
        fields = [f"{LAST_EVENT_ID_QUERIES[n]}={ids[n]}" for n in order]
        assert LAST_EVENT_ID_QUERIES == ("last_event_id", "lastEventId", "Last-Event-ID")
        for first in range(3):
            query = "&".join(field for field, n in zip(fields, order, strict=True) if n >= first).encode()
            async with stream(App(hub), query=query) as reader:
                assert (await reader.connected())["from"] == ids[first]
            async with stream(App(hub), query=query, headers=[(b"last-event-id", ids[4].encode())]) as reader:
                assert (await reader.connected())["from"] == ids[4]

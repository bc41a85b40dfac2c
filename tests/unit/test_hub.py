"""The hub's own calls: what may be given as a name, and whose clock counts."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Any

import pytest

from clarion import Hub, InvalidTopic, Retention
from clarion.event import draft
from clarion.journals.base import KEY_WINDOW_SECONDS
from clarion.testing import ManualClock
from tests.integration.in_process import answer, stream
from tests.integration.test_limits_answers import App, assert_refused


class Name(str, Enum):  # noqa: UP042 - the other kind, on purpose
    """Shows itself as `Name.NEWS`, but is the text `news`."""

    NEWS = "news"
    ANN = "ann"
    CREATED = "created"
    ONCE = "once"


class NewName(StrEnum):
    NEWS = "news"
    ANN = "ann"
    CREATED = "created"
    ONCE = "once"


NO_TEXTS = [["a"], {"a": 1}, None, 5, b"a"]


@pytest.mark.parametrize("names", [Name, NewName])
async def test_a_member_of_an_enum_is_said_by_its_value(names: Any) -> None:
    async with Hub() as hub, stream(App(hub, topics=[names.NEWS], user=names.ANN)) as reader:
        await reader.connected()
        receipts = [
            await hub.publish(names.NEWS, 1, event=names.CREATED),
            await hub.publish("news", 2, event="created"),
            *await hub.publish_many([(names.NEWS, 3)]),
            await hub.send_to_user(names.ANN, 4),
            await hub.send_to_user("ann", 5),
        ]
        assert [receipt.clients for receipt in receipts] == [1] * 5
        got = [await reader.next() for _ in receipts]
        assert [(one.type, one.topic, one.data) for one in got if one is not None] == [
            ("created", "news", "1"),
            ("created", "news", "2"),
            ("message", "news", "3"),
            ("message", "@user/ann", "4"),
            ("message", "@user/ann", "5"),
        ]
        assert b"NEWS" not in reader.body
        assert b"CREATED" not in reader.body
        (client,) = hub.user_clients(names.ANN)
        assert (type(client.user), client.user) == (str, "ann")
        assert client.topics == ("news",)
        assert hub.clients(topic=names.NEWS) == hub.clients(topic="news") == [client]
        await hub.kick(user=names.ANN)
        assert (await reader.bye())["reason"] == "kicked"


@pytest.mark.parametrize("names", [Name, NewName])
async def test_a_key_that_is_a_member_of_an_enum_is_its_value(names: Any) -> None:
    async with Hub() as hub:
        first = await hub.publish(names.NEWS, 1, key=names.ONCE)
        for topic, key in (("news", "once"), ("news", names.ONCE), (names.NEWS, "once")):
            again = await hub.publish(topic, 2, key=key)
            assert (again.duplicate, again.id) == (True, first.id)


@pytest.mark.parametrize("names", [Name, NewName])
def test_a_draft_holds_plain_texts(names: Any) -> None:
    made = draft(names.NEWS, created_ms=0, event=names.CREATED, key=names.ONCE)
    assert made.body == b"event: created\ntopic: news\ndata: null\n\n"
    assert (type(made.topic), type(made.key)) == (str, str)


@pytest.mark.parametrize("topic", NO_TEXTS)
async def test_what_is_no_text_is_no_topic(topic: Any) -> None:
    async with Hub() as hub:
        with pytest.raises(InvalidTopic, match="must be text"):
            await hub.publish(topic, 1)
        with pytest.raises(InvalidTopic, match="must be text"):
            await hub.publish_many([(topic, 1)])
        with pytest.raises(InvalidTopic, match="must be text"):
            await hub.send_to_user(topic, 1)
        with pytest.raises(InvalidTopic, match="must be text"):
            hub.subscribe([topic])
        assert_refused(await answer(App(hub, topics=[topic])), 422)
        assert (await hub.journal.bounds()).newest == 0


async def test_the_hub_s_clock_is_the_journal_s() -> None:
    clock = ManualClock()
    async with Hub(clock=clock, retention=Retention(max_age_seconds=60)) as hub:
        first = await hub.publish("news", 1, key="k")
        assert (await hub.journal.bounds())[:] == (1, 1)
        clock.advance(59)
        assert (await hub.journal.bounds())[:] == (1, 1)
        assert (await hub.publish("news", 1, key="k")).duplicate
        clock.advance(2)
        assert (await hub.journal.bounds())[:] == (2, 1)
        clock.advance(KEY_WINDOW_SECONDS - 62)
        again = await hub.publish("news", 1, key="k")
        assert (again.duplicate, again.id) == (True, first.id)
        clock.advance(2)
        assert not (await hub.publish("news", 1, key="k")).duplicate


async def test_a_clock_that_stands_still_keeps_everything() -> None:
    """Also one that is far from the machine's."""
    async with Hub(clock=ManualClock(wall_ms=0), retention=Retention(max_age_seconds=60)) as hub:
        await hub.publish_many([("news", n) for n in range(5)])
        async with hub.subscribe("news", since="earliest") as events:
            assert [(await anext(events)).data for _ in range(5)] == list(range(5))


async def test_the_clients_of_a_user_are_told_apart() -> None:
    async with Hub() as hub, stream(App(hub, topics=["news"], user="ann")) as reader:
        said = await reader.connected()
        assert [client.id for client in hub.user_clients("ann")] == [said["clientId"]]
        assert hub.user_clients("bob") == []

"""What hubs say to each other: heard by those who listen, by every hub of a journal, and by no reader."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from clarion import Hub, InvalidEvent, NoValue, Publisher
from clarion.changes import change_body, change_draft
from clarion.event import Entry, draft
from clarion.orders import Orders
from clarion.topics import CONTROL_PREFIX
from clarion.values import Change
from clarion.wire import event_frame
from tests.integration.in_process import stream, until
from tests.integration.test_limits_answers import App
from tests.unit.core import NOW_MS

TOPIC = CONTROL_PREFIX + "lease"


def order(data: Any, topic: str = TOPIC) -> Entry:
    body = draft(topic, data, created_ms=NOW_MS, ephemeral=True).body
    return Entry(7, topic, event_frame("k3v9", 7, body), NOW_MS, ephemeral=True)


def value(change: Change, data: Any, subject: str = "task/1") -> Entry:
    body = change_draft(TOPIC, change, data, created_ms=NOW_MS, subject=subject).body
    return Entry(7, TOPIC, event_frame("k3v9", 7, body), NOW_MS, change=change)


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.all: list[tuple[str, Any]] = []

    def __call__(self, subject: str, data: Any) -> None:
        self.all.append((subject, data))


def test_those_who_listen_hear_it() -> None:
    orders, one, other, elsewhere = Orders(), Heard(), Heard(), Heard()
    orders.listen(TOPIC, one)
    orders.listen(TOPIC, other)
    orders.listen(CONTROL_PREFIX + "other", elsewhere)
    orders.tell(order({"a": [1, None]}))
    orders.tell(order("data: text\nwith lines"))
    orders.tell(order(None))
    orders.tell(order(1, CONTROL_PREFIX + "nobody"))
    assert one.all == other.all == [(TOPIC, {"a": [1, None]}), (TOPIC, "data: text\nwith lines"), (TOPIC, None)]
    assert elsewhere.all == []


def test_values_are_heard_by_their_subjects() -> None:
    orders, heard = Orders(), Heard()
    orders.listen(TOPIC, heard)
    orders.tell(value(Change.SET, {"owner": "x"}))
    orders.tell(value(Change.SET, None, "task/2"))
    orders.tell(value(Change.DELETE, None))
    assert heard.all == [("task/1", {"owner": "x"}), ("task/2", None), ("task/1", None)]


def test_who_has_ended_hears_no_more() -> None:
    orders, heard, other = Orders(), Heard(), Heard()
    end = orders.listen(TOPIC, heard)
    orders.listen(TOPIC, other)
    orders.tell(order(1))
    end()
    end()
    orders.tell(order(2))
    assert (heard.all, other.all) == ([(TOPIC, 1)], [(TOPIC, 1), (TOPIC, 2)])


def test_a_listener_may_end_itself_and_others_while_it_is_told() -> None:
    orders, heard = Orders(), Heard()
    ends: list[Any] = []

    def once(subject: str, data: Any) -> None:
        for end in ends:
            end()

    ends.append(orders.listen(TOPIC, once))
    ends.append(orders.listen(TOPIC, heard))
    orders.tell(order(1))
    orders.tell(order(2))
    assert heard.all == [(TOPIC, 1)]  # it was told of what had come before it ended


def test_what_a_listener_raises_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    orders, heard = Orders(), Heard()

    def bad(subject: str, data: Any) -> None:
        raise RuntimeError("on purpose")

    orders.listen(TOPIC, bad)
    orders.listen(TOPIC, heard)
    orders.tell(order(1))
    assert heard.all == [(TOPIC, 1)]
    assert "could not be carried out" in caplog.text


@pytest.mark.parametrize(
    "entry",
    [
        Entry(7, TOPIC, b"id: k3v9-7\ntopic: @hub/lease\ndata: {not json}\n\n", NOW_MS),
        Entry(7, TOPIC, b"id: k3v9-7\ntopic: @hub/lease\n\n", NOW_MS),
        Entry(7, TOPIC, b"id: k3v9-7\ntopic: @hub/lease\ndata: 1\n\n", NOW_MS, change=Change.SET),
        Entry(
            7,
            TOPIC,
            b"id: k3v9-7\nevent: value.swap\ntopic: task/1\nchange: swap\ndata: 1\n\n",
            NOW_MS,
            change=Change.MERGE,
        ),
        Entry(7, TOPIC, b"id: k3v9-7\n" + change_body(Change.SET, "value", "t", b"{"), NOW_MS, change=Change.SET),
        Entry(7, TOPIC, b"", NOW_MS, change=Change.SET),
    ],
    ids=["no JSON", "no data", "no change", "an unknown change", "half a value", "nothing"],
)
def test_what_another_version_says_is_passed_over(entry: Entry, caplog: pytest.LogCaptureFixture) -> None:
    orders, heard = Orders(), Heard()
    orders.listen(TOPIC, heard)
    orders.tell(entry)
    assert heard.all == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    orders.tell(order(1))
    assert heard.all == [(TOPIC, 1)]


# In hubs.


async def test_all_hubs_of_a_journal_hear_an_order_and_no_reader_does(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/events.db"
    async with Hub(url) as here, Hub(url) as there, stream(App(there, topics=["**"])) as reader:
        await reader.connected()
        heard: list[tuple[str, Any]] = []
        ends = [
            here.on_order("stop", lambda data: heard.append(("here", data))),
            there.on_order("stop", lambda data: heard.append(("there", data))),
        ]
        await here.order("stop", {"id": 1})
        await until(lambda: len(heard) == 2)
        assert sorted(heard) == [("here", {"id": 1}), ("there", {"id": 1})]
        ends[0]()
        await there.order("stop", 2)
        await until(lambda: len(heard) == 3)
        await here.publish("news", "plain")
        message = await reader.next()
        assert message is not None
        assert message.topic == "news"
        assert heard[2] == ("there", 2)


@pytest.mark.parametrize("shared", [True, False])
async def test_values_between_hubs(shared: bool, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/events.db" if shared else "memory://"
    async with Hub(url) as hub, stream(App(hub, topics=["**"])) as reader:
        await reader.connected()
        heard: list[tuple[str, Any]] = []
        end = hub.on_control("lease", lambda subject, data: heard.append((subject, data)))
        await hub.control_set("lease", "task/1", {"owner": "a"}, ttl=60)
        await hub.control_set("lease", "task/2", [1])
        await hub.control_set("other", "task/1", 5)
        assert await hub.control_values("lease") == {"task/1": {"owner": "a"}, "task/2": [1]}
        assert await hub.control_values("nothing") == {}
        await hub.control_delete("lease", "task/1")
        with pytest.raises(NoValue):
            await hub.control_delete("lease", "task/1")
        assert await hub.control_values("lease") == {"task/2": [1]}
        await until(lambda: len(heard) == 3)
        assert heard == [("task/1", {"owner": "a"}), ("task/2", [1]), ("task/1", None)]
        end()
        await hub.control_set("lease", "task/3", 1)
        assert await hub.get("task/2") is None  # it is no topic's value
        await hub.publish("news", "plain")
        message = await reader.next()
        assert message is not None
        assert message.topic == "news"
        await hub.settle()
        assert len(heard) == 3
        with pytest.raises(InvalidEvent):
            await hub.control_set("lease", "task/1", object())


async def test_a_publisher_s_values_reach_hubs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/events.db"
    async with Hub(url) as hub:
        heard: list[tuple[str, Any]] = []
        hub.on_control("lease", lambda subject, data: heard.append((subject, data)))

        def work() -> None:
            with Publisher(url) as publisher:
                publisher.control_set("lease", "task/1", {"owner": "b"}, ttl=60)
                assert publisher.control_get("lease", "task/1") == {"owner": "b"}
                publisher.control_delete("lease", "task/1")
                assert publisher.control_get("lease", "task/1") is None

        await asyncio.to_thread(work)
        await until(lambda: len(heard) == 2)
        assert heard == [("task/1", {"owner": "b"}), ("task/1", None)]

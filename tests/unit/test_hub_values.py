"""Values as an app meets them: each call of a hub, on both journals, what readers are told, and what is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from clarion import (
    EventTooLarge,
    Hub,
    HubClosed,
    InvalidEvent,
    InvalidTopic,
    Limits,
    NoValue,
    ValueMismatch,
    ValueTooLarge,
)
from clarion.changes import MAX_VALUE_DEPTH, ValueChange
from clarion.errors import ClarionError
from clarion.journals.base import KEY_WINDOW_SECONDS
from clarion.local import Received
from clarion.parser import Message
from clarion.position import parse
from clarion.receipt import Receipt
from clarion.testing import ManualClock
from clarion.values import MISSING
from tests.integration.in_process import Exchange, stream
from tests.integration.test_limits_answers import App
from tests.model.ledger import changed

SECONDS = 10
MARK = "mark"
SMALL = Limits(max_event_bytes=400)


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/events.db"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def hub(url: str, clock: ManualClock) -> AsyncIterator[Hub]:
    async with Hub(url, clock=clock) as hub:
        yield hub


class Page:
    """What shows a stream: the values as its frames make them, and every frame there was."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.values: dict[str, Any] = {}
        self.told: list[tuple[str, str | None, str]] = []
        self.connected: dict[str, Any] = {}

    async def upto(self, offset: int) -> int:
        """Read until the mark that was published at an offset. Up to where values were told by then."""
        while True:
            message = await self.exchange.next()
            assert message is not None, "the stream has ended"
            if message.change is not None:
                self._change(message)
            elif message.type == MARK:
                presented = parse(message.last_event_id)
                assert presented is not None
                if presented.position.offset == offset:
                    return presented.told
            else:
                self.told.append((message.type, message.topic, message.data))

    def _change(self, message: Message) -> None:
        assert message.topic is not None
        self.told.append((message.type, message.topic, message.data))
        value = changed(self.values.get(message.topic, MISSING), message)
        if value is MISSING:
            del self.values[message.topic]
        else:
            self.values[message.topic] = value


@asynccontextmanager
async def showing(
    hub: Hub, *topics: str, last_event_id: str | None = None, values: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[Page]:
    """A page that shows these topics. values: what it has from before."""
    headers = [] if last_event_id is None else [(b"last-event-id", last_event_id.encode())]
    async with stream(App(hub, topics=list(topics), **options), headers=headers) as exchange:
        page = Page(exchange)
        page.connected = await exchange.connected()
        page.values.update(values or {})
        yield page


async def see(hub: Hub, *pages: Page) -> None:
    """Have pages read everything that was said. Values may be told behind later events, whose ids say so then."""
    for page in pages:
        told, offset = -1, 0
        while told < offset:
            offset = (await hub.broadcast(event=MARK)).position.offset
            told = await page.upto(offset)


async def empty_log(hub: Hub) -> None:
    """Let everything so far be in the journal alone."""
    await hub.settle()
    hub._open_engine().log.reset((await hub.journal.bounds()).newest, [])


# What a value is.


async def test_a_topic_has_a_value(hub: Hub) -> None:
    assert await hub.get("t") is None
    await hub.set("t", {"n": 1, "text": "Once", "list": []})
    assert await hub.get("t") == {"n": 1, "text": "Once", "list": []}
    await hub.append("t", {"text": " upon", "list": [1]})
    await hub.append("t", {"text": " a time", "list": [2, 3]})
    assert await hub.get("t") == {"n": 1, "text": "Once upon a time", "list": [1, 2, 3]}
    await hub.merge("t", {"n": None, "list": None, "more": {"a": 1}})
    await hub.merge("t", {"more": {"b": 2}})
    assert await hub.get("t") == {"text": "Once upon a time", "more": {"a": 1, "b": 2}}
    await hub.set("t", "text")
    await hub.append("t", "s")
    assert await hub.get("t") == "texts"
    await hub.delete("t")
    assert await hub.get("t") is None
    await hub.append("t", [1])
    assert await hub.get("t") == [1]


@pytest.mark.parametrize(
    "value", [None, True, False, 0, -1, 1.5, 2**63, 2**70, "", "é\u2028\n", [], {}, [None, [{}]], {"": {"a/b": "~"}}]
)
async def test_a_value_is_anything_that_json_can_say(hub: Hub, value: Any) -> None:
    await hub.set("t", value)
    got = await hub.get("t")
    assert got == value
    assert type(got) is type(value)


@dataclass
class Point:
    x: int
    at: datetime | None = None


async def test_what_json_says_of_other_things_is_the_value(hub: Hub) -> None:
    await hub.set("t", Point(1, datetime(2026, 1, 2, tzinfo=UTC)))
    assert await hub.get("t") == {"x": 1, "at": "2026-01-02T00:00:00Z"}
    await hub.merge("t", Point(2))
    assert await hub.get("t") == {"x": 2}
    await hub.set("t", {"a": float("nan"), "b": (1, 2), "c": {3}})
    assert await hub.get("t") == {"a": None, "b": [1, 2], "c": [3]}


async def test_what_get_gives_is_the_caller_s(hub: Hub) -> None:
    given = {"list": [1]}
    await hub.set("t", given)
    given["list"].append(2)
    got = await hub.get("t")
    got["list"].append(99)
    await hub.append("t", {"list": [3]})
    assert await hub.get("t") == {"list": [1, 3]}


async def test_events_leave_values_alone(hub: Hub) -> None:
    await hub.publish("t", {"n": 1})
    assert await hub.get("t") is None
    await hub.set("t", 1)
    await hub.publish("t", 2, event="value")
    assert await hub.get("t") == 1
    await hub.delete("t")
    with pytest.raises(NoValue):
        await hub.delete("t")


async def test_a_receipt_says_where_it_stands_and_how_many_are_told(hub: Hub) -> None:
    async with showing(hub, "t"), showing(hub, "*", user="ann"):
        receipts = [
            await hub.set("t", {}),
            await hub.append("t", {}),
            await hub.merge("t", {}),
            await hub.delete("t"),
            await hub.set("t", 1, user="ann"),
            await hub.set("other/topic", 1),
        ]
    assert [one.position.offset for one in receipts] == [1, 2, 3, 4, 5, 6]
    assert [one.clients for one in receipts] == [2, 2, 2, 2, 1, 0]
    assert all(one.id == f"{hub.journal.epoch}-{one.position.offset}" and not one.duplicate for one in receipts)


# What readers are told.


async def test_live_readers_are_told_each_change_by_its_name(hub: Hub) -> None:
    async with showing(hub, "t") as page:
        assert (page.connected["values"], page.connected["mode"]) == ("all", "live")
        for call, data, event in (
            (hub.set, {"text": "a"}, "answer"),
            (hub.append, {"text": "b"}, "answer"),
            (hub.merge, {"n": 1}, "other"),
            (hub.merge, {"n": None}, None),
        ):
            await call("t", data, event=event)
            await see(hub, page)
        await hub.delete("t", event="answer")
        await see(hub, page)
    assert page.told == [
        ("answer", "t", '{"text":"a"}'),
        ("answer.append", "t", '{"text":"b"}'),
        ("other.merge", "t", '{"n":1}'),
        ("value.merge", "t", '{"n":null}'),
        ("answer.delete", "t", "null"),
    ]


async def test_what_begins_a_value_is_told_as_a_set(hub: Hub) -> None:
    async with showing(hub, "**") as page:
        await hub.append("a", "text", event="n")
        await hub.merge("b", {"x": None, "y": {"z": None}})
        await see(hub, page)
        assert page.told == [("n", "a", '"text"'), ("value", "b", '{"y":{}}')]
        assert page.values == {"a": "text", "b": {"y": {}}}


async def test_who_joins_late_is_told_each_value_once_then_changes(hub: Hub) -> None:
    for n in range(20):
        await hub.append("text", f"{n} ")
        await hub.set("a/1", n)
        await hub.set("hidden", n)
    await hub.set("a/2", [1])
    await hub.append("a/2", [2])
    await hub.set("a/gone", 1)
    await hub.delete("a/gone")
    async with showing(hub, "a/*", "text") as page:
        await see(hub, page)
        text = "".join(f"{n} " for n in range(20))
        assert page.told == [("value", "text", f'"{text}"'), ("value", "a/1", "19"), ("value", "a/2", "[1,2]")]
        await hub.append("a/2", [3])
        await see(hub, page)
        assert page.told[3:] == [("value.append", "a/2", "[3]")]
        assert page.values == {"text": text, "a/1": 19, "a/2": [1, 2, 3]}


async def test_who_comes_back_is_told_what_it_missed(hub: Hub) -> None:
    await hub.set("text", "a long text that is longer than what is put to its end")
    await hub.set("gone", 1)
    await hub.set("same", {"n": 1})
    async with showing(hub, "*") as page:
        await see(hub, page)
        last_event_id = page.exchange.last_event_id
    await hub.append("text", "!")
    await hub.append("text", "?")
    await hub.delete("gone")
    await hub.set("new", 5)
    async with showing(hub, "*", last_event_id=last_event_id, values=page.values) as again:
        assert (again.connected["values"], again.connected["mode"]) == ("changed", "resumed")
        await see(hub, again)
    assert again.told == [("value.append", "text", '"!?"'), ("value.delete", "gone", "null"), ("value", "new", "5")]
    assert again.values == {
        "text": "a long text that is longer than what is put to its end!?",
        "same": {"n": 1},
        "new": 5,
    }


async def test_who_was_away_beyond_the_log_is_told_the_value_where_that_is_smaller(hub: Hub, url: str) -> None:
    async with showing(hub, "t", "plain") as page:
        await hub.set("t", {"a": 0})
        await see(hub, page)
        last_event_id = page.exchange.last_event_id
    for n in range(50):
        await hub.merge("t", {"a": {"deep": n}} if n % 2 else {"a": None, f"b{n}": 1})
        await hub.merge("t", {f"b{n}": None})
    await empty_log(hub)
    await hub.merge("t", {"last": True})
    async with showing(hub, "t", "plain", last_event_id=last_event_id, values=page.values) as again:
        await see(hub, again)
        assert again.values == {"t": {"a": {"deep": 49}, "last": True}}
        (told,) = again.told
        assert told[0] == "value"


async def test_code_in_the_process_is_told_as_well(hub: Hub) -> None:
    await hub.set("t", "a")
    async with hub.subscribe("t") as events, asyncio.timeout(SECONDS):
        first = await anext(events)
        assert (first.type, first.topic, first.data, first.change) == ("value", "t", "a", "set")
        await hub.append("t", "b")
        assert isinstance(second := await anext(events), Received)
        assert (second.type, second.data, second.change) == ("value.append", "b", "append")


# Values of users.


async def test_a_user_s_value_is_told_to_that_user_alone(hub: Hub) -> None:
    await hub.set("task/1", {"n": 0}, user="ann")
    await hub.set("task/2", "everyone's")
    await hub.set("task/2", "ann's", user="ann")
    async with (
        showing(hub, user="ann") as ann,
        showing(hub, "other", user="ann") as twin,
        showing(hub, "task/*", user="ben") as ben,
        showing(hub, "**") as nobody,
    ):
        await hub.merge("task/1", {"n": 1}, user="ann", event="progress")
        await see(hub, ann, twin, ben, nobody)
        assert ann.values == twin.values == {"task/1": {"n": 1}, "task/2": "ann's"}
        assert ben.values == nobody.values == {"task/2": "everyone's"}
        assert not any("@" in (topic or "") for _, topic, _ in ann.told)
        await hub.delete("task/2", user="ann")
        await see(hub, ann, twin, ben, nobody)
        assert ann.values == twin.values == {"task/1": {"n": 1}}
        assert ben.values == nobody.values == {"task/2": "everyone's"}
    assert await hub.get("task/1") is None
    assert await hub.get("task/1", user="ann") == {"n": 1}
    assert await hub.get("task/1", user="ben") is None
    assert await hub.get("task/2") == "everyone's"
    assert await hub.get("task/2", user="ann") is None
    with pytest.raises(NoValue):
        await hub.delete("task/2", user="ann")


async def test_many_values_of_one_user_are_found_one_by_one(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.hub_calls.VALUES_BYTES", 100)
    for n in range(50):
        await hub.set(f"task/{n}", {"n": n, "more": "x" * 20}, user="ann")
    for n in range(0, 50, 7):
        assert (await hub.get(f"task/{n}", user="ann"))["n"] == n
    assert await hub.get("task/50", user="ann") is None


# Time to live.


async def test_a_value_lives_as_long_as_it_was_told_to(hub: Hub, clock: ManualClock) -> None:
    await hub.set("t", 1, ttl=10)
    clock.advance(9.999)
    assert await hub.get("t") == 1
    clock.advance(0.001)
    assert await hub.get("t") is None
    clock.advance(1)  # a change that found it alive may have been on its way until now
    async with showing(hub, "t") as page:
        await see(hub, page)
        assert page.values == {}
    with pytest.raises(NoValue):
        await hub.delete("t")


async def test_a_change_makes_a_value_live_anew(hub: Hub, clock: ManualClock) -> None:
    await hub.set("t", {}, ttl=timedelta(seconds=10))
    for n in range(5):
        clock.advance(8)
        await hub.merge("t", {"n": n})
    clock.advance(9.9)
    assert await hub.get("t") == {"n": 4}
    await hub.append("t", {}, ttl=100)
    clock.advance(99)
    assert await hub.get("t") == {"n": 4}
    await hub.set("t", {})
    clock.advance(10**6)
    assert await hub.get("t") == {}


async def test_what_comes_after_a_value_s_time_is_not_put_onto_it(hub: Hub, clock: ManualClock) -> None:
    """A page may still show what is over by now, and a list does not go onto a text."""
    async with showing(hub, "t") as page:
        await hub.set("t", "old", ttl=1)
        await see(hub, page)
        last_event_id = page.exchange.last_event_id
        clock.advance(2)
        await hub.journal.bounds()  # the memory journal lets go of it here
        await hub.append("t", [1])
        await hub.append("t", [2])
        await see(hub, page)
        assert page.values == {"t": [1, 2]}
    async with showing(hub, "t", last_event_id=last_event_id, values={"t": "old"}) as again:
        await see(hub, again)
        assert again.values == {"t": [1, 2]}
    assert await hub.get("t") == [1, 2]


async def test_who_comes_back_after_a_deletion_is_forgotten_is_told_all_anew(hub: Hub, clock: ManualClock) -> None:
    await hub.set("kept", 1)
    await hub.set("gone", 1)
    async with showing(hub, "*") as page:
        await see(hub, page)
        last_event_id = page.exchange.last_event_id
    await hub.delete("gone")
    await empty_log(hub)
    async with showing(hub, "*", last_event_id=last_event_id, values=page.values) as in_time:
        await see(hub, in_time)
        assert in_time.values == {"kept": 1}
        assert in_time.connected["values"] == "changed"
    clock.advance(25 * 3600)
    async with showing(hub, "*", last_event_id=last_event_id, values=page.values) as late:
        if late.connected["values"] == "all":
            late.values.clear()
        await see(hub, late)
        assert late.values == {"kept": 1}


# Keys.


async def test_a_key_makes_a_change_once(hub: Hub, clock: ManualClock) -> None:
    first = await hub.append("t", "a", key="k")
    again = await hub.append("t", "a", key="k")
    assert (again.duplicate, again.position, again.clients) == (True, first.position, 0)
    assert await hub.get("t") == "a"
    assert not (await hub.append("t", "b", key="k2")).duplicate
    assert not (await hub.append("u", "a", key="k")).duplicate
    assert not (await hub.append("t", "a", key="k", user="ann")).duplicate
    assert not (await hub.append("t", "a", key="k", user="ben")).duplicate
    assert (await hub.append("t", "a", key="k", user="ann")).duplicate
    assert await hub.get("t") == "ab"
    clock.advance(KEY_WINDOW_SECONDS + 1)
    assert not (await hub.append("t", "a", key="k")).duplicate
    assert await hub.get("t") == "aba"


async def test_keys_of_a_user_s_values_do_not_run_together(hub: Hub) -> None:
    assert not (await hub.set("a b", 1, key="c", user="ann")).duplicate
    assert not (await hub.set("a", 1, key="b c", user="ann")).duplicate
    assert not (await hub.send_to_user("ann", 1, key="a b c")).duplicate


async def test_the_key_of_what_was_refused_may_be_used_again(hub: Hub) -> None:
    await hub.set("t", "text")
    with pytest.raises(ValueMismatch):
        await hub.append("t", 1, key="k")
    assert not (await hub.append("t", "s", key="k")).duplicate
    assert await hub.get("t") == "texts"


async def test_what_was_done_is_not_refused_when_it_comes_again(hub: Hub) -> None:
    """A delta that fitted once need not fit what the value is by now."""
    first = await hub.append("t", "a", key="k")
    await hub.set("t", [1])
    assert (await hub.append("t", "a", key="k")).position == first.position
    assert await hub.get("t") == [1]


# Many at once.


async def test_many_changes_are_one_run(hub: Hub) -> None:
    async with showing(hub, "**", user="ann") as page:
        receipts = await hub.change_many(
            [
                ValueChange("a", "set", {"n": 1}, event="n"),
                ValueChange("a", "append", {"list": [1]}),
                ValueChange("b", "append", "text", ttl=60),
                ValueChange("b", "delete"),
                ValueChange("a", "merge", {"n": None}, key="k"),
                ValueChange("a", "merge", {"n": 5}, key="k"),
                ValueChange("own", "set", 1, user="ann"),
                ValueChange("b", "append", [1]),
            ]
        )
        assert [(one.position.offset, one.duplicate) for one in receipts] == [
            (1, False),
            (2, False),
            (3, False),
            (4, False),
            (5, False),
            (5, True),
            (6, False),
            (7, False),
        ]
        await see(hub, page)
        assert page.values == {"a": {"list": [1]}, "b": [1], "own": 1}
    assert await hub.get("a") == {"list": [1]}
    assert await hub.get("b") == [1]
    assert await hub.get("own", user="ann") == 1
    assert await hub.change_many([]) == []


BAD_CHANGES: list[tuple[Any, type[ClarionError]]] = [
    (ValueChange("a", "append", 5), ValueMismatch),
    (ValueChange("a", "append", {"deep": {"text": 5}}), ValueMismatch),
    (ValueChange("none", "delete"), NoValue),
    (ValueChange("a", "merge", [1]), InvalidEvent),
    (ValueChange("a", "swap", 1), InvalidEvent),
    (ValueChange("a", "", 1), InvalidEvent),
    (ValueChange("a", ["set"], 1), InvalidEvent),  # type: ignore[arg-type]
    (ValueChange("a", None, 1), InvalidEvent),  # type: ignore[arg-type]
    (ValueChange("a/*", "set", 1), InvalidTopic),
    (ValueChange("a", "set", object()), InvalidEvent),
    (ValueChange("a", "set", "x" * 500), EventTooLarge),
    (ValueChange("a", "append", {"text": "x" * 300}), ValueTooLarge),
    (("a", "set", 1), InvalidEvent),
    (None, InvalidEvent),
]


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_one_that_is_refused_refuses_all(url: str, place: int) -> None:
    value = {"deep": {"text": "x"}, "text": "y" * 200}
    async with Hub(url, limits=SMALL) as hub, showing(hub, "**") as page:
        await hub.set("a", value)
        await see(hub, page)
        told = list(page.told)
        for bad, error in BAD_CHANGES:
            newest = (await hub.journal.bounds()).newest
            changes: list[Any] = [ValueChange("a", "append", {"text": "z"}, key="k"), ValueChange("b", "set", "text")]
            changes.insert(place, bad)
            with pytest.raises(error):
                await hub.change_many(changes)
            assert (await hub.journal.bounds()).newest == newest, f"{bad} changed something"
            assert (await hub.get("a"), await hub.get("b")) == (value, None)
        await see(hub, page)
        assert page.told == told
        assert not (await hub.append("a", {"text": "!"}, key="k")).duplicate
        assert (await hub.get("a"))["text"] == "y" * 200 + "!"


async def test_a_change_is_refused_for_what_others_before_it_make(hub: Hub) -> None:
    with pytest.raises(ValueMismatch):
        await hub.change_many([ValueChange("t", "set", "text"), ValueChange("t", "append", [1])])
    with pytest.raises(NoValue):
        await hub.change_many([ValueChange("t", "set", "text"), ValueChange("t", "delete"), ValueChange("t", "delete")])
    assert await hub.get("t") is None
    await hub.change_many(
        [ValueChange("t", "set", "text"), ValueChange("t", "delete"), ValueChange("t", "append", [1])]
    )
    assert await hub.get("t") == [1]


async def test_changes_of_many_callers_are_all_there(hub: Hub) -> None:
    await hub.set("t", "")

    async def write(caller: int) -> list[int]:
        return [(await hub.append("t", f"<{caller}.{n}>")).position.offset for n in range(10)]

    async with showing(hub, "t") as page:
        offsets = await asyncio.gather(*(write(caller) for caller in range(20)))
        parts = [f"<{caller}.{n}>" for caller in range(20) for n in range(10)]
        by_offset = dict(zip([offset for each in offsets for offset in each], parts, strict=True))
        expected = "".join(by_offset[offset] for offset in sorted(by_offset))
        assert len(by_offset) == 200
        assert await hub.get("t") == expected
        await see(hub, page)
        assert page.values == {"t": expected}


# What is refused.

DEEP: Any = "x"
for _ in range(MAX_VALUE_DEPTH):
    DEEP = [DEEP]
DEEP = {"a": DEEP}

Call = Callable[[Hub], Awaitable[Any]]
REFUSED: list[tuple[Call, type[ClarionError], int, str]] = [
    (lambda hub: hub.set("", 1), InvalidTopic, 422, "empty"),
    (lambda hub: hub.set("a/*", 1), InvalidTopic, 422, "pattern"),
    (lambda hub: hub.set("@all", 1), InvalidTopic, 422, "hub's own"),
    (lambda hub: hub.set("@hub/lease", 1), InvalidTopic, 422, "hub's own"),
    (lambda hub: hub.append("a\nb", 1), InvalidTopic, 422, "control characters"),
    (lambda hub: hub.merge(None, {}), InvalidTopic, 422, "must be text"),  # type: ignore[arg-type]
    (lambda hub: hub.delete("**"), InvalidTopic, 422, "pattern"),
    (lambda hub: hub.get("@user/ann"), InvalidTopic, 422, "hub's own"),
    (lambda hub: hub.get("t", user=""), InvalidTopic, 422, "user id"),
    (lambda hub: hub.set("t", 1, user=5), InvalidTopic, 422, "user id"),  # type: ignore[arg-type]
    (lambda hub: hub.set("t", 1, user="a\x00"), InvalidTopic, 422, "control characters"),
    (lambda hub: hub.set("t", object()), InvalidEvent, 422, "JSON"),
    (lambda hub: hub.set("t", "\ud800"), InvalidEvent, 422, "JSON"),
    (lambda hub: hub.set("t", DEEP), InvalidEvent, 422, "levels"),
    (lambda hub: hub.append("t", DEEP), InvalidEvent, 422, "levels"),
    (lambda hub: hub.merge("t", DEEP), InvalidEvent, 422, "levels"),
    (lambda hub: hub.merge("t", None), InvalidEvent, 422, "must be an object"),
    (lambda hub: hub.merge("t", [{}]), InvalidEvent, 422, "must be an object"),
    (lambda hub: hub.set("t", 1, event="gap"), InvalidEvent, 422, "what the stream says"),
    (lambda hub: hub.set("t", 1, event="x.append"), InvalidEvent, 422, "values"),
    (lambda hub: hub.set("t", 1, event="a\nb"), InvalidEvent, 422, "control characters"),
    (lambda hub: hub.delete("t", event="n" * 250), InvalidEvent, 422, "bytes"),
    (lambda hub: hub.set("t", 1, ttl=0), InvalidEvent, 422, "ttl"),
    (lambda hub: hub.set("t", 1, ttl=float("nan")), InvalidEvent, 422, "ttl"),
    (lambda hub: hub.set("t", 1, key=""), InvalidEvent, 422, "key"),
    (lambda hub: hub.set("t", 1, key=5), InvalidEvent, 422, "key"),  # type: ignore[arg-type]
    (lambda hub: hub.set("t", "x" * 400), EventTooLarge, 413, "limit is 400"),
    (lambda hub: hub.append("t", {"text": "x" * 300}), ValueTooLarge, 413, "the value of 't' would have"),
    (lambda hub: hub.merge("t", {"more": "x" * 300}), ValueTooLarge, 413, "limit is"),
    (lambda hub: hub.append("t", 5), ValueMismatch, 409, "cannot append a number to the value, which is an object"),
    (lambda hub: hub.append("t", {"text": [1]}), ValueMismatch, 409, "a list to the value at /text, which is a text"),
    (lambda hub: hub.append("t", {"n": 1}), ValueMismatch, 409, "a number to the value at /n, which is a number"),
    (lambda hub: hub.append("t", {"a/b": ["x", None]}), ValueMismatch, 409, "at /a~1b, which is null"),
    (lambda hub: hub.delete("none"), NoValue, 404, "'none' has no value"),
    (lambda hub: hub.delete("t", user="ann"), NoValue, 404, "'t' has no value"),
]


@pytest.mark.parametrize("via", ["the loop", "another thread"])
async def test_what_is_refused_changes_nothing(url: str, via: str) -> None:
    value = {"text": "y" * 100, "n": 1, "a/b": None}
    async with Hub(url, limits=SMALL) as hub, showing(hub, "**") as page:
        await hub.set("t", value)
        await see(hub, page)
        told = list(page.told)
        for number, (call, error, status, says) in enumerate(REFUSED):
            newest = (await hub.journal.bounds()).newest
            calling = call(hub) if via == "the loop" else asyncio.to_thread(call, hub.sync)  # type: ignore[arg-type]
            with pytest.raises(error) as raised:
                await calling
            assert (raised.value.status, says in str(raised.value)) == (status, True), f"{number}: {raised.value!r}"
            assert (await hub.journal.bounds()).newest == newest, f"{number} changed something"
            assert await hub.get("t") == value, f"{number} changed the value"
        await see(hub, page)
        assert page.told == told


async def test_what_is_as_large_as_the_limit_is_taken(url: str) -> None:
    async with Hub(url, limits=SMALL) as hub, showing(hub, "t") as page:
        body = len(b'event: value\ntopic: t\nchange: set\ndata: ""\n\n')
        await hub.set("t", "x" * (400 - body))
        with pytest.raises(EventTooLarge):
            await hub.set("t", "x" * (400 - body + 1))
        await hub.set("t", "")
        size = len(b'event: value.append\ntopic: t\nchange: append\ndata: ""\n\n')
        for _ in range(400 - size):
            await hub.append("t", "y")
        with pytest.raises(ValueTooLarge) as raised:
            await hub.append("t", "y")
        assert (raised.value.topic, raised.value.size_bytes - raised.value.limit_bytes) == ("t", 1)
        assert await hub.get("t") == "y" * (400 - size)
        await see(hub, page)
        assert page.values == {"t": "y" * (400 - size)}


async def test_a_hub_that_is_not_open_says_so(url: str) -> None:
    hub = Hub(url)
    calls: list[Call] = [
        lambda hub: hub.set("t", 1),
        lambda hub: hub.append("t", 1),
        lambda hub: hub.merge("t", {}),
        lambda hub: hub.delete("t"),
        lambda hub: hub.get("t"),
        lambda hub: hub.change_many([ValueChange("t", "set", 1)]),
        lambda hub: hub.control_set("n", "s", 1),
        lambda hub: hub.control_delete("n", "s"),
        lambda hub: hub.control_values("n"),
        lambda hub: hub.order("n", 1),
    ]
    for call in calls:
        with pytest.raises(HubClosed):
            await call(hub)


# From threads.


async def test_threads_do_the_same(hub: Hub) -> None:
    def work() -> list[Receipt]:
        receipts = [
            hub.sync.set("t", {"text": "a"}, event="n", ttl=60, key="k"),
            hub.sync.set("t", {"text": "b"}, event="n", ttl=60, key="k"),
            hub.sync.append("t", {"text": "b"}),
            hub.sync.merge("t", {"n": 1}),
            hub.sync.set("t", 5, user="ann"),
        ]
        assert hub.sync.get("t") == {"text": "ab", "n": 1}
        assert hub.sync.get("t", user="ann") == 5
        receipts += hub.sync.change_many([ValueChange("u", "set", 1), ValueChange("u", "delete")])
        assert hub.sync.get("u") is None
        hub.sync.control_set("lease", "s", 1, ttl=60)
        hub.sync.control_delete("lease", "s")
        receipts.append(hub.sync.delete("t", user="ann"))
        return receipts

    receipts = await asyncio.to_thread(work)
    assert [one.position.offset for one in receipts] == [1, 1, 2, 3, 4, 5, 6, 9]
    assert [one.duplicate for one in receipts] == [False, True, *[False] * 6]


async def test_many_threads_change_one_value(hub: Hub) -> None:
    def work(number: int) -> None:
        for n in range(20):
            hub.sync.append("t", {f"{number}": [n]})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    async with showing(hub, "t") as page:
        for thread in threads:
            await asyncio.to_thread(thread.join)
        expected = {f"{number}": list(range(20)) for number in range(4)}
        assert await hub.get("t") == expected
        await see(hub, page)
        assert page.values == {"t": expected}


async def test_the_loop_s_own_thread_is_not_blocked(hub: Hub) -> None:
    for call in (
        lambda: hub.sync.set("t", 1),
        lambda: hub.sync.append("t", 1),
        lambda: hub.sync.merge("t", {}),
        lambda: hub.sync.get("t"),
        lambda: hub.sync.delete("t"),
    ):
        with pytest.raises(RuntimeError, match="await the hub's call"):
            call()

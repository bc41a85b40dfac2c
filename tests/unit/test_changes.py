"""Changes on the wire: what is said is what is read, and what cannot be said is refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from clarion import json
from clarion.changes import (
    MAX_NAME_BYTES,
    MAX_VALUE_DEPTH,
    Said,
    ValueChange,
    _is_too_deep,
    change_body,
    change_draft,
    folded_body,
    said,
)
from clarion.errors import ClarionError, EventTooLarge, InvalidEvent, InvalidTopic
from clarion.event import MAX_EVENT_BYTES, MAX_KEY_BYTES, MAX_TYPE_BYTES, Draft, check_type
from clarion.parser import Parser
from clarion.topics import check_name
from clarion.values import Change, Folded
from clarion.wire import event_frame
from tests.unit.core import NOW_MS

CHANGES = [Change.SET, Change.APPEND, Change.MERGE, Change.DELETE]
WORDS = {Change.SET: "set", Change.APPEND: "append", Change.MERGE: "merge", Change.DELETE: "delete"}

# Texts that look like parts of a frame, and any others that are topics and event types.
LOOKALIKES = ["event: x", "topic: y", "change: set", "data: {}", "x.set", "append", " ", "a b", "ü/☃", "id: 1", "."]
TOPICS = st.one_of(st.sampled_from(LOOKALIKES), st.text(max_size=20)).filter(lambda text: _allows(check_name, text))
TYPES = st.one_of(st.sampled_from(LOOKALIKES), st.text(max_size=20)).filter(lambda text: _allows(check_type, text))
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _allows(check: Any, text: str) -> bool:
    try:
        check(text)
    except ClarionError:
        return False
    return True


def change(change: Change = Change.SET, data: Any = 1, topic: str = "t", **options: Any) -> Draft:
    return change_draft(topic, change, data, created_ms=NOW_MS, **options)


@given(kind=st.sampled_from(CHANGES), name=TYPES, subject=TOPICS, topic=TOPICS, data=DATA)
def test_what_is_said_is_what_is_read(kind: Change, name: str, subject: str, topic: str, data: Any) -> None:
    data = {"data": data} if kind is Change.MERGE else None if kind is Change.DELETE else data
    draft = change(kind, data, topic, subject=subject, event=name)
    told = Said(kind, name, subject, json.encode(data))
    frame = event_frame("k3v9", 1042, draft.body)
    assert said(draft.body) == said(frame) == told
    (message,) = Parser().feed(frame)
    assert message.type == (name if kind is Change.SET else f"{name}.{WORDS[kind]}")
    assert (message.topic, message.change, message.last_event_id) == (subject, WORDS[kind], "k3v9-1042")
    assert json.encode(json.decode(message.data)) == told.data
    assert draft.body == change_body(*told)
    assert (draft.topic, draft.change, draft.created_ms, draft.ephemeral) == (topic, kind, NOW_MS, False)


@pytest.mark.parametrize(
    ("kind", "data", "body"),
    [
        (Change.SET, {"a": "ü\u2028"}, 'event: value\ntopic: t\nchange: set\ndata: {"a":"ü\\u2028"}\n\n'),
        (Change.APPEND, " world", 'event: value.append\ntopic: t\nchange: append\ndata: " world"\n\n'),
        (Change.MERGE, {"a": None}, 'event: value.merge\ntopic: t\nchange: merge\ndata: {"a":null}\n\n'),
        (Change.DELETE, None, "event: value.delete\ntopic: t\nchange: delete\ndata: null\n\n"),
        (Change.DELETE, {"what": "ever"}, "event: value.delete\ntopic: t\nchange: delete\ndata: null\n\n"),
    ],
)
def test_the_frames_of_changes(kind: Change, data: Any, body: str) -> None:
    assert change(kind, data).body.decode() == body


def test_a_value_may_be_told_to_others_than_those_of_its_topic() -> None:
    draft = change(Change.SET, 1, "@user/ann", subject="task/42", event="progress")
    assert draft.topic == "@user/ann"
    assert draft.body == b"event: progress\ntopic: task/42\nchange: set\ndata: 1\n\n"


def test_folded_changes_are_a_frame_as_others() -> None:
    two = Folded(Change.MERGE, [{"a": None}, {"a": {"b": 1}}])
    assert folded_body(two, "n", "s") == (
        b'event: n.merge\ntopic: s\nchange: merge\ndata: [{"a":null},{"a":{"b":1}}]\n\n'
    )


@dataclass
class Patch:
    progress: int
    message: str | None = None


class Struct(msgspec.Struct):
    progress: int


class Model(BaseModel):
    progress: int = Field(alias="p")


@pytest.mark.parametrize(
    ("patch", "line"),
    [
        (Patch(1), b'{"progress":1,"message":null}'),
        (Struct(2), b'{"progress":2}'),
        (Model(p=3), b'{"p":3}'),
        ({"at": timedelta(seconds=1)}, b'{"at":"PT1S"}'),
        ({}, b"{}"),
    ],
)
def test_a_patch_is_anything_that_json_says_as_an_object(patch: Any, line: bytes) -> None:
    assert said(change(Change.MERGE, patch).body).data == line


@pytest.mark.parametrize("patch", [None, 5, "text", [], [{"a": 1}], True, ((1, 2),)])
def test_a_patch_that_is_no_object_is_refused(patch: Any) -> None:
    with pytest.raises(InvalidEvent, match="must be an object"):
        change(Change.MERGE, patch)


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize("kind", [Change.SET, Change.APPEND, Change.MERGE])
@pytest.mark.parametrize("data", [object(), {"a": object()}, "\ud800", {"\ud800": 1}, LOOP, {"a": {1, object()}}])
def test_what_json_cannot_say_is_refused(kind: Change, data: Any) -> None:
    with pytest.raises(InvalidEvent):
        change(kind, data)


@pytest.mark.parametrize("topic", ["", "a/*", "**", "a\nb", "\x7f", "\u2028", "x" * 256, None, 5, b"a", ["a"]])
def test_what_is_no_topic_is_refused(topic: Any) -> None:
    with pytest.raises(InvalidTopic):
        change(topic=topic)
    if topic is not None:
        with pytest.raises(InvalidTopic):
            change(subject=topic)


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize(
    "name", ["", "a\nb", "connected", "heartbeat", "gap", "bye", "x.append", "x.merge", "x.delete", 5, b"x", "\ud800"]
)
def test_what_is_no_event_type_is_refused(kind: Change, name: Any) -> None:
    with pytest.raises(InvalidEvent):
        change(kind, {}, event=name)


def test_the_types_of_all_changes_are_within_the_bound() -> None:
    name = "ü" * (MAX_NAME_BYTES // 2)
    for kind in CHANGES:
        line = change(kind, {}, event=name).body.split(b"\n")[0]
        assert len(line) - len(b"event: ") <= MAX_TYPE_BYTES
        with pytest.raises(InvalidEvent, match=f"at most|{MAX_NAME_BYTES} bytes"):
            change(kind, {}, event=name + "x")


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 1e12, True, "5", timedelta(0)])
def test_what_is_no_time_to_live_is_refused(ttl: Any) -> None:
    with pytest.raises(InvalidEvent, match="ttl"):
        change(ttl_seconds=ttl)


def test_a_time_to_live_is_counted_from_the_change() -> None:
    assert change().expires_ms is None
    assert change(ttl_seconds=1.5).expires_ms == NOW_MS + 1_500
    assert change(ttl_seconds=timedelta(minutes=1)).expires_ms == NOW_MS + 60_000


# Keys.


@pytest.mark.parametrize("key", ["", 5, b"k", "x" * (MAX_KEY_BYTES + 1), "\ud800"])
def test_what_is_no_key_is_refused(key: Any) -> None:
    with pytest.raises(InvalidEvent, match="key"):
        change(key=key)
    with pytest.raises(InvalidEvent, match="key"):
        change(subject="other", key=key)


@given(
    one=st.tuples(TOPICS, st.text(min_size=1, max_size=8).filter(str.isprintable)),
    other=st.tuples(TOPICS, st.text(min_size=1, max_size=8).filter(str.isprintable)),
)
def test_keys_of_different_values_are_different(one: tuple[str, str], other: tuple[str, str]) -> None:
    keys = [change(topic="@user/x", subject=subject, key=key).key for subject, key in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


def test_a_subject_with_a_space_is_not_the_start_of_a_key() -> None:
    assert change(subject="a b", key="c").key != change(subject="a", key="b c").key
    assert change(key="k").key == "k"
    assert change().key is None


# Bounds.


@pytest.mark.parametrize("kind", [Change.SET, Change.APPEND, Change.MERGE])
def test_a_change_is_as_large_as_an_event_at_most(kind: Change) -> None:
    def sized(size: int) -> Any:
        return {"a": "x" * size} if kind is Change.MERGE else "x" * size

    overhead = len(change(kind, sized(0)).body)
    largest = change(kind, sized(MAX_EVENT_BYTES - overhead))
    assert len(largest.body) == MAX_EVENT_BYTES
    with pytest.raises(EventTooLarge) as raised:
        change(kind, sized(MAX_EVENT_BYTES - overhead + 1))
    assert (raised.value.size_bytes, raised.value.limit_bytes) == (MAX_EVENT_BYTES + 1, MAX_EVENT_BYTES)
    assert len(change(kind, sized(10), max_event_bytes=overhead + 10).body) == overhead + 10
    with pytest.raises(EventTooLarge):
        change(kind, sized(11), max_event_bytes=overhead + 10)


@given(kind=st.sampled_from(CHANGES), name=TYPES, subject=TOPICS)
def test_a_value_of_the_greatest_size_fits_into_an_event(kind: Change, name: str, subject: str) -> None:
    draft = change(kind, {}, "@user/x", subject=subject, event=name)
    whole = change_body(Change.SET, name, subject, b"x" * draft.max_value_bytes)
    assert len(whole) <= MAX_EVENT_BYTES
    assert draft.max_value_bytes > MAX_EVENT_BYTES - 600  # and nearly all of an event is the value's


def nested(depth: int) -> Any:
    value: Any = "]}"
    for level in range(depth):
        value = {"[": value} if level % 2 else [value, "[[[{{{"]
    return value


@pytest.mark.parametrize("kind", [Change.SET, Change.APPEND, Change.MERGE])
def test_a_value_is_as_deep_as_the_bound_at_most(kind: Change) -> None:
    def deep(depth: int) -> Any:
        return {"a": nested(depth - 1)} if kind is Change.MERGE else nested(depth)

    assert json.decode(said(change(kind, deep(MAX_VALUE_DEPTH)).body).data) == deep(MAX_VALUE_DEPTH)
    for depth in (MAX_VALUE_DEPTH + 1, MAX_VALUE_DEPTH + 2, 5 * MAX_VALUE_DEPTH):
        with pytest.raises(InvalidEvent, match=f"{MAX_VALUE_DEPTH} levels"):
            change(kind, deep(depth))


def test_many_values_beside_each_other_are_not_deep() -> None:
    change(Change.SET, [[{"[": []}] for _ in range(10 * MAX_VALUE_DEPTH)])
    change(Change.SET, "[" * 10 * MAX_VALUE_DEPTH)
    change(Change.SET, {'"[': ["\\", '\\"', "\\\\[", *(["x"] for _ in range(MAX_VALUE_DEPTH))]})


BRACKETS = st.recursive(
    st.text('[]{}"\\a', max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('[]{}"\\', max_size=3), inner, max_size=2),
    max_leaves=10,
)


@given(value=BRACKETS)
def test_the_depth_is_that_of_the_value(value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clarion.changes.MAX_VALUE_DEPTH", 3)
        assert _is_too_deep(json.encode(value)) == (depth_of(value) > 3)


def depth_of(value: Any) -> int:
    if not isinstance(value, list | dict):
        return 0
    return 1 + max(map(depth_of, value.values() if isinstance(value, dict) else value), default=0)


class Name(str, Enum):  # noqa: UP042 - shows itself as `Name.NEWS`
    NEWS = "news"


def test_members_of_enums_are_their_values() -> None:
    draft = change(topic=Name.NEWS, event=Name.NEWS, key=Name.NEWS)
    assert draft.body == b"event: news\ntopic: news\nchange: set\ndata: 1\n\n"
    assert (type(draft.topic), type(draft.key)) == (str, str)


def test_a_change_for_many_has_the_arguments_of_the_single_calls() -> None:
    one = ValueChange("t", "append", "x")
    assert (one.event, one.ttl, one.key, one.user) == (None, None, None, None)
    with pytest.raises(AttributeError):
        one.topic = "other"  # type: ignore[misc]

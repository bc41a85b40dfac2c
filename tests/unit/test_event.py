"""Events: valid by construction, refused at the door."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.errors import ClarionError, EventTooLarge, InvalidEvent, InvalidTopic
from clarion.event import MAX_EVENT_BYTES, RESERVED_TYPES, Draft, draft
from clarion.parser import Parser
from clarion.wire import event_frame

NOW_MS = 1_790_000_000_000


def make(topic: str = "t", data: Any = None, **options: Any) -> Draft:
    return draft(topic, data, created_ms=NOW_MS, **options)


@given(st.text())
def test_raw_text_is_read_back_with_plain_line_ends(text: str) -> None:
    [message] = Parser().feed(event_frame("k3v9", 1, make(text=text).body))
    assert message.data == text.replace("\r\n", "\n").replace("\r", "\n")
    assert (message.type, message.topic, message.last_event_id) == ("message", "t", "k3v9-1")


@given(topic=st.text(), event=st.text(), data=st.text())
def test_what_is_not_refused_is_one_event_of_its_topic_and_type(topic: str, event: str, data: str) -> None:
    try:
        body = make(topic, data, event=event).body
    except ClarionError:
        return
    [message] = Parser().feed(event_frame("k3v9", 1, body))
    assert (message.topic, message.type) == (topic, event)


@pytest.mark.parametrize("event", [None, "message"])
def test_a_message_has_no_event_line(event: str | None) -> None:
    assert make(event=event).body == b"topic: t\ndata: null\n\n"


@pytest.mark.parametrize("event", sorted(RESERVED_TYPES))
def test_the_stream_s_own_types_are_refused(event: str) -> None:
    with pytest.raises(InvalidEvent):
        make(event=event)


@pytest.mark.parametrize("event", ["", "a\nb", "a\rb", "a\0", "\u0085", "\u2028", "x" * 256, "\ud800", 7])
def test_a_type_that_cannot_be_is_refused(event: Any) -> None:
    with pytest.raises(InvalidEvent):
        make(event=event)


@pytest.mark.parametrize("key", ["", "k" * 256, "\ud800", 7, b"k"])
def test_a_key_that_cannot_be_is_refused(key: Any) -> None:
    with pytest.raises(InvalidEvent):
        make(key=key)


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), "5", True, 1e13])
def test_a_ttl_that_cannot_be_is_refused(ttl: Any) -> None:
    with pytest.raises(InvalidEvent):
        make(ttl_seconds=ttl)


@pytest.mark.parametrize(("ttl", "ms"), [(1, 1_000), (0.5, 500), (1e-9, 1), (timedelta(minutes=1), 60_000)])
def test_a_ttl_is_a_moment(ttl: Any, ms: int) -> None:
    assert make(ttl_seconds=ttl).expires_ms == NOW_MS + ms


@pytest.mark.parametrize("data", [object(), {1, object()}, {"a": complex(1)}, "\ud800"])
def test_what_json_cannot_say_is_refused(data: Any) -> None:
    with pytest.raises(InvalidEvent):
        make(data=data)


def test_text_is_text_and_stands_alone() -> None:
    with pytest.raises(InvalidEvent):
        make(text=b"bytes")
    with pytest.raises(InvalidEvent):
        make(data=1, text="both")
    with pytest.raises(InvalidEvent):
        make(text="\ud800")


def test_size_is_that_of_the_frame() -> None:
    assert len(make(data="x" * 100, max_event_bytes=200).body) < 200
    with pytest.raises(EventTooLarge) as caught:
        make(data="x" * 200, max_event_bytes=200)
    assert caught.value.limit_bytes == 200
    assert caught.value.size_bytes > 200
    with pytest.raises(EventTooLarge):
        make(text="\n" * MAX_EVENT_BYTES)  # a byte of text is a line of the frame


def test_a_topic_is_checked() -> None:
    with pytest.raises(InvalidTopic):
        make("a\nb")
    with pytest.raises(InvalidTopic):
        make("orders/*")


def test_errors_are_value_errors_with_a_status() -> None:
    with pytest.raises(ValueError, match="connected") as caught:
        make(event="connected")
    assert isinstance(caught.value, ClarionError)
    assert caught.value.status == 422
    assert EventTooLarge(2, 1).status == 413

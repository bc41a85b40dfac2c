"""What `Parser` promises beside the vectors: its interface, its bounds, and that it takes linear time."""

from __future__ import annotations

import dataclasses
import re
import tracemalloc

import pytest

from clarion import parser as parser_module
from clarion.errors import ClarionError, EventTooLarge
from clarion.parser import MAX_RETRY_MILLISECONDS, Message, MessageTooLarge, Parser

FRAME = b'id: k3v9-1042\nevent: progress\ntopic: task/42\ndata: {"progress":40}\n\n'
MESSAGE = Message("progress", '{"progress":40}', "k3v9-1042", "task/42")


def test_a_message_is_a_value() -> None:
    assert Message() == Message(type="message", data="", last_event_id="", topic=None)
    assert hash(MESSAGE) == hash(dataclasses.replace(MESSAGE))
    assert not hasattr(MESSAGE, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        MESSAGE.data = ""  # type: ignore[misc]


def test_a_new_parser_knows_nothing() -> None:
    parser = Parser()
    assert parser.last_event_id == ""
    assert parser.retry_milliseconds is None
    assert parser.feed(b"") == []


def test_feed_returns_what_the_chunk_completes() -> None:
    parser = Parser()
    assert parser.feed(FRAME[:30]) == []
    assert parser.feed(FRAME[30:] + FRAME + FRAME[:-1]) == [MESSAGE, MESSAGE]
    assert parser.feed(b"\n") == [MESSAGE]


def test_the_id_is_committed_at_the_blank_line_and_not_before() -> None:
    parser = Parser(last_event_id="k3v9-1")
    assert parser.last_event_id == "k3v9-1"
    parser.feed(b"id: k3v9-2\n")
    assert parser.last_event_id == "k3v9-1"
    parser.feed(b"\n")
    assert parser.last_event_id == "k3v9-2"
    parser.feed(b"id: k3v9-3\ndata: x\n")
    parser.close()
    assert parser.last_event_id == "k3v9-2"


def test_a_cr_ends_its_line_at_once() -> None:
    parser = Parser()
    assert parser.feed(b"data: x\r") == []
    assert parser.feed(b"\r") == [Message(data="x")]
    assert parser.feed(b"\ndata: y\r\r") == [Message(data="y")]


def test_retry_is_known_when_its_line_has_ended() -> None:
    parser = Parser()
    known = []
    for chunk in (b"retry: 25", b"00", b"\n", b"retry: " + b"9" * 10_000 + b"\n"):
        parser.feed(chunk)
        known.append(parser.retry_milliseconds)
    assert known == [None, None, 2500, MAX_RETRY_MILLISECONDS]


def test_close_drops_what_is_incomplete_and_is_final() -> None:
    parser = Parser()
    parser.feed(FRAME + FRAME[:-1])
    parser.close()
    parser.close()
    with pytest.raises(ValueError, match="closed"):
        parser.feed(b"\n")
    assert parser.last_event_id == "k3v9-1042"


@pytest.mark.parametrize("bound", [0, -1])
def test_a_bound_below_one_byte_is_refused(bound: int) -> None:
    with pytest.raises(ValueError, match="max_event_bytes"):
        Parser(max_event_bytes=bound)


def test_an_event_that_is_too_large_is_an_error_with_facts() -> None:
    parser = Parser(max_event_bytes=20)
    with pytest.raises(MessageTooLarge) as caught:
        parser.feed(b"id: 1\ndata: a\n\nid: 2\ndata: " + b"x" * 50 + b"\n\nid: 3\ndata: b\n\n")
    error = caught.value
    assert isinstance(error, EventTooLarge)
    assert isinstance(error, ClarionError)
    assert error.limit_bytes == 20
    assert error.size_bytes > 20
    assert error.event_id == "2"
    assert error.messages == [Message(data="a", last_event_id="1")]
    assert parser.last_event_id == "1"


def test_an_event_that_is_too_large_says_which_value_it_would_have_changed() -> None:
    parser = Parser(max_event_bytes=40)
    with pytest.raises(MessageTooLarge) as caught:
        parser.feed(b"topic: t\nchange: set\ndata: 1\ndata: " + b"x" * 50 + b"\ntopic: no\n\n")
    assert (caught.value.topic, caught.value.change) == ("t", "set")
    with pytest.raises(MessageTooLarge) as caught:
        parser.feed(b"data: " + b"x" * 50 + b"\n\n")
    assert (caught.value.topic, caught.value.change) == (None, None)


def test_after_an_event_that_is_too_large_the_rest_is_read_on() -> None:
    parser = Parser(max_event_bytes=20)
    with pytest.raises(MessageTooLarge):
        parser.feed(b"data: " + b"x" * 50 + b"\r\n\r\nid: 3\r\ndata: b\r\n\r\ndata: c\r")
    assert parser.feed(b"\n\r\n") == [
        Message(data="b", last_event_id="3"),
        Message(data="c", last_event_id="3"),
    ]


def test_the_rest_can_be_read_without_more_bytes() -> None:
    parser = Parser(max_event_bytes=20)
    with pytest.raises(MessageTooLarge) as caught:
        parser.feed(b"data: " + b"x" * 50 + b"\n\ndata: b\n\n")
    assert caught.value.event_id is None
    assert parser.feed(b"") == [Message(data="b")]
    assert parser.feed(b"") == []


def test_the_error_comes_when_the_bound_is_passed_and_once() -> None:
    parser = Parser(max_event_bytes=20)
    assert parser.feed(b"data: " + b"x" * 14) == []
    with pytest.raises(MessageTooLarge):
        parser.feed(b"x")
    assert parser.feed(b"x" * 100 + b"\ndata: " + b"x" * 100) == []
    assert parser.feed(b"\n\ndata: next\n\n") == [Message(data="next")]


def test_the_fast_path_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [
        *(FRAME, b"data:x\n\n", b"id\ndata\n\n", b"id:\ndata: \n\n", b"id: \0\ndata: x\n\n", b"\n"),
        *(b"topic: t\ndata: x\n\n", b"topic:\nevent:\ndata: y\n\n", b"event:  e\ndata:  z\n\n"),
        *(
            b": c\n",
            b"id: 4\n\n",
            b"data: \xff\n\n",
            b"retry: 5\ndata: r\n\n",
            b"data: 1\ndata: 2\n\n",
            FRAME,
        ),
    ]
    stream = b"".join(blocks)
    fast = Parser()
    fast_messages = fast.feed(stream)
    monkeypatch.setattr(parser_module, "_PLAIN_BLOCK", re.compile(rb"(?!)"))
    slow = Parser()
    assert slow.feed(stream) == fast_messages
    assert slow.last_event_id == fast.last_event_id
    assert len(fast_messages) == 12


@pytest.mark.timeout(20)
def test_byte_by_byte_takes_linear_time() -> None:
    # To copy what came before at each byte would move 500 GB here.
    start, single = "x" * 12_000_000, "y" * 40_000
    parser = Parser()
    parser.feed(b"data: " + start.encode())
    for byte in single.encode():
        assert parser.feed(bytes([byte])) == []
    assert parser.feed(b"\n\n") == [Message(data=start + single)]


@pytest.mark.timeout(20)
def test_many_lines_take_linear_time() -> None:
    parser = Parser()
    parser.feed(b"data: " + b"x" * 12_000_000 + b"\n")
    for _ in range(40_000):
        assert parser.feed(b"data: y\n") == []
    (message,) = parser.feed(b"\n")
    assert message.data == "x" * 12_000_000 + "\ny" * 40_000


def feed_for_ever(parser: Parser, chunk: bytes) -> None:
    while True:
        parser.feed(chunk)


def peak_bytes(parser: Parser, chunk: bytes, times: int) -> int:
    tracemalloc.start()
    try:
        for _ in range(times):
            assert parser.feed(chunk) == []
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_comment_takes_no_memory() -> None:
    parser = Parser()
    parser.feed(b"data: a\n:")
    assert peak_bytes(parser, b"x" * 10_000, 2_000) < 50_000
    assert parser.feed(b"\ndata: b\n\n") == [Message(data="a\nb")]


def test_a_skipped_block_takes_no_memory() -> None:
    parser = Parser(max_event_bytes=1_000)
    with pytest.raises(MessageTooLarge):
        parser.feed(b"data: " + b"x" * 1_000)
    assert peak_bytes(parser, b"x" * 9_000 + b"\ndata: " + b"y" * 900, 2_000) < 50_000
    assert parser.feed(b"\n\ndata: b\n\n") == [Message(data="b")]


def test_an_event_takes_no_more_memory_than_a_few_times_its_bound() -> None:
    parser = Parser(max_event_bytes=100_000)
    tracemalloc.start()
    try:
        with pytest.raises(MessageTooLarge):
            feed_for_ever(parser, b"data:x\n")
        assert tracemalloc.get_traced_memory()[1] < 400_000
    finally:
        tracemalloc.stop()

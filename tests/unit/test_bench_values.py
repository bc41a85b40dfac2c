"""The bookkeeping of the benchmarks of values: a viewer that shows something else than the hub has must be noticed."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.outcome import BRIEF_CHARS, Outcome
from benchmarks.updates import LINES, mark, token, update
from benchmarks.viewing import CONNECTED, SET, Body, Transcript, View
from clarion.bench.payload import event_text
from clarion.changes import NAMES, change_body
from clarion.values import MISSING, applied

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
CLEAN = {"closed": 0, "behind": 0, "astray": 0, "gaps": 0, "unfit": 0}
HELLO = b'id: k-1\nevent: connected\ndata: {"clientId":"c","mode":"live","values":"all"}\n\n'


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def frame(word: str, data: object, topic: str = "t") -> bytes:
    return b"id: k-2\n" + change_body(NAMES[word], "value", topic, json.dumps(data).encode())


def told(*frames: bytes) -> View:
    view = View()
    view.feed(HELLO + b"".join(frames))
    return view


# What is changed.


@pytest.mark.parametrize("kind", ["set", "merge", "append", "grow", "token"])
def test_updates_of_a_kind_follow_one_another(kind: str) -> None:
    value = MISSING
    for number in range(3 * LINES):
        word, data = update(kind, number)
        value = applied(value, NAMES[word], data)
    assert (
        value
        == {
            "set": value,
            "merge": {"n": 59, **{f"m{number % 8}": number for number in range(52, 60)}},
            "append": {"text": "".join(f"line {number}\n" for number in range(40, 60))},
            "grow": value,
            "token": {"text": "".join(token(number) for number in range(60))},
        }[kind]
    )


@pytest.mark.parametrize("number", [1, 99_999])
@pytest.mark.parametrize("kind", ["set", "grow"])
def test_an_update_has_the_size_that_was_asked_for(kind: str, number: int) -> None:
    _, data = update(kind, number, 120)
    assert len(json.dumps(data, separators=(",", ":"))) == 120


def test_another_kind_of_update_is_refused() -> None:
    with pytest.raises(ValueError, match="'shrink'"):
        update("shrink", 1)


def test_the_mark_of_a_piece_is_in_no_other_piece() -> None:
    assert mark(12) in update("grow", 12)[1]["text"]
    assert not any(mark(12) in update("grow", number)[1]["text"] for number in (1, 2, 112, 121, 122, 1_200))


def test_tokens_are_about_as_long_as_those_of_a_model() -> None:
    text = "".join(token(number) for number in range(2_000))
    assert 3.5 < len(text.encode()) / 2_000 < 4.5
    assert len({token(number) for number in range(2_000)}) > 30


# A response, and what it says.


@given(data=st.data())
def test_a_body_is_the_same_wherever_it_is_cut(data: st.DataObject) -> None:
    whole = HEAD + chunk(HELLO) + chunk(frame("set", 1)) + chunk(frame("set", 2))
    places = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=12)) | {0, len(whole)})
    body = Body()
    given_out = b"".join(body.feed(whole[start:end]) for start, end in pairwise(places))
    assert given_out == bytes(body.text) == HELLO + frame("set", 1) + frame("set", 2)
    assert body.received_bytes == len(whole) - len(HEAD)
    assert body.has(SET)


@pytest.mark.parametrize("missing", range(1, len(chunk(frame("set", 1)))))
def test_a_value_has_not_come_while_a_byte_of_it_is_missing(missing: int) -> None:
    body = Body()
    body.feed(HEAD + chunk(HELLO))
    assert body.has(CONNECTED)
    assert not body.has(SET)
    body.feed(chunk(frame("set", 1))[:-missing])
    assert not body.has(SET)


@pytest.mark.parametrize("head", [HEAD.replace(b"200 OK", b"503 No"), b"HTTP/1.1 200 OK\r\n\r\n"])
def test_another_answer_is_no_stream(head: bytes) -> None:
    with pytest.raises(ValueError, match="no chunked stream"):
        Body().feed(head)


def test_a_view_carries_out_changes_and_leaves_events_alone() -> None:
    view = told(frame("set", {"a": "x"}), b"event: value\ntopic: t\ndata: 1\n\n", frame("append", {"a": "y"}))
    assert view.values == {"t": {"a": "xy"}}
    assert view.feed(frame("merge", {"a": None, "b": 1}))
    assert view.values == {"t": {"b": 1}}
    assert not view.feed(b'event: heartbeat\ndata: {"timestamp":1}\n\n')
    assert view.feed(frame("append", ["new"], "u"))
    assert view.feed(frame("delete", None))
    assert view.values == {"u": ["new"]}
    assert view.changes == 5
    assert view.faults == {"gaps": 0, "unfit": 0}


def test_a_change_of_what_was_not_told_is_a_fault_of_a_stream_that_resumed() -> None:
    view = View()
    view.feed(HELLO.replace(b'"all"', b'"changed"') + frame("append", "x"))
    assert view.values == {}
    assert view.faults == {"gaps": 0, "unfit": 1}


@pytest.mark.parametrize("data", [7, ["list"]])
def test_a_change_that_does_not_fit_is_a_fault(data: object) -> None:
    view = told(frame("set", "text"), frame("append", data))
    assert view.values == {"t": "text"}
    assert view.faults["unfit"] == 1


@pytest.mark.parametrize("name", [b"gap", b"bye"])
def test_a_stream_of_values_that_tells_a_gap_or_an_end_is_a_fault(name: bytes) -> None:
    assert told(b"event: %s\ndata: {}\n\n" % name).faults["gaps"] == 1


# The same bytes to all.


@given(data=st.data(), text=st.binary(max_size=60), readers=st.integers(1, 4))
def test_readers_of_the_same_bytes_agree_however_they_are_cut(data: st.DataObject, text: bytes, readers: int) -> None:
    transcript, places = Transcript(), [0] * readers
    while any(place < len(text) for place in places):
        reader = data.draw(st.sampled_from([at for at, place in enumerate(places) if place < len(text)]))
        size = data.draw(st.integers(1, len(text) - places[reader]))
        run = text[places[reader] : places[reader] + size]
        places[reader] = transcript.take(places[reader], run)
        assert places[reader] >= 0
    assert bytes(transcript.text) == text


@given(data=st.data(), text=st.binary(min_size=1, max_size=60))
def test_one_byte_that_is_different_is_seen(data: st.DataObject, text: bytes) -> None:
    at = data.draw(st.integers(0, len(text) - 1))
    other = text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]
    transcript = Transcript()
    assert transcript.take(0, text) == len(text)
    start = data.draw(st.integers(0, at))
    assert transcript.take(start, other[start:] + b"more") == -1
    assert bytes(transcript.text) == text


def test_a_frame_is_found_by_its_mark_once_it_is_whole() -> None:
    transcript = Transcript()
    first, second = chunk(b"data: #1 x\n\n"), chunk(b"data: #2 x\n\n")
    transcript.take(0, first + second[:-3])
    assert transcript.end_of(b"#1 ", 0) == len(first) - 2
    assert transcript.end_of(b"#1 ", len(first)) == -1
    assert transcript.end_of(b"#2 ", 0) == -1
    transcript.take(len(first) + len(second) - 3, second[-3:])
    assert transcript.end_of(b"#2 ", 0) == len(first) + len(second) - 2
    assert transcript.frames(0, len(transcript.text)) == 2
    assert transcript.frames(len(first), len(transcript.text)) == 1
    assert transcript.body() == b"data: #1 x\n\ndata: #2 x\n\n"


def test_plain_events_are_numbered() -> None:
    transcript = Transcript()
    transcript.take(0, b"".join(chunk(f"id: k-{n}\ndata: {event_text(n)}\n\n".encode()) for n in (1, 2, 4)))
    assert transcript.numbers() == (1, 2, 4)


# What a run says of it.


def test_a_reader_that_shows_something_else_fails_the_run() -> None:
    outcome = Outcome("Values")
    outcome.agree("viewer", {"n": 1}, {"n": 1})
    assert outcome.faults == []
    outcome.agree("viewer", {"n": 1}, {"n": 2})
    outcome.agree("late joiner", None, "x" * 1_000)
    assert outcome.faults == [
        "viewer: shows {'n': 1}, and the hub has {'n': 2}",
        f"late joiner: shows None, and the hub has '{'x' * (BRIEF_CHARS - 1)}... (1,002 characters)",
    ]

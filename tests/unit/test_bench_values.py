"""The bookkeeping of the benchmarks of values: a viewer that shows something else than the hub has must be noticed."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.audience import Audience
from benchmarks.outcome import BRIEF_CHARS, Outcome
from benchmarks.scenarios import generated, viewers
from benchmarks.updates import LINES, mark, token, update
from benchmarks.viewer import SLOW_PIECE_BYTES, Viewer, join
from benchmarks.viewing import CONNECTED, SET, Body, Transcript, View
from clarion.bench.fanout import WARM_UP_EVENTS
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


# The readers themselves.


@contextmanager
def serving(script: Callable[[socket.socket, int], None]) -> Iterator[int]:
    """Run `script(connection, number of it)` for each connection; yield the port."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                held.append(connection)
                connection.recv(4096)
                script(connection, len(held) - 1)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in held:
                connection.close()


@pytest.fixture
def audience() -> Iterator[Audience]:
    made = Audience()
    yield made
    for connection in made.sockets.values():
        connection.close()
    made.poll.close()


def collected(audience: Audience, *streams: bytes, mark: str = "#2 ", timeout: float = 0.3) -> dict[str, object]:
    """What an audience of as many readers says, each of which was told `#0 `, and then its own of the streams."""
    rest = threading.Event()

    def script(connection: socket.socket, number: int) -> None:
        connection.sendall(HEAD + chunk(HELLO) + chunk(frame("set", "#0 ")))
        if number + 1 == len(streams):
            rest.wait(5)
            for reader, stream in zip(connections, streams, strict=True):
                reader.sendall(stream) if stream else reader.shutdown(socket.SHUT_RDWR)

    connections: list[socket.socket] = []

    def keep(connection: socket.socket, number: int) -> None:
        connections.append(connection)
        script(connection, number)

    with serving(keep) as port:
        order = {"port": port, "path": "/events?topic=t", "count": len(streams), "awaits": "\nchange: set\n"}
        assert audience.open(order) == {"readers": len(streams)}
        rest.set()
        return audience.collect({"mark": mark, "timeout": timeout})


PIECES = chunk(frame("append", "#1 ")) + chunk(frame("append", "#2 "))


def test_an_audience_that_got_the_same_is_complete(audience: Audience) -> None:
    found = collected(audience, PIECES, PIECES, PIECES, timeout=5)
    assert found["faults"] == CLEAN
    assert found["finished_ns"]
    assert found["others"] == 0
    assert found["frames"] == 2
    assert found["values"] == {"t": "#0 #1 #2 "}


def test_a_viewer_that_was_told_the_same_folded_is_counted_and_shows_the_same(audience: Audience) -> None:
    found = collected(audience, PIECES, chunk(frame("append", "#1 #2 ")), PIECES, timeout=5)
    assert found["faults"] == CLEAN
    assert found["finished_ns"]
    assert found["others"] == 1


@pytest.mark.parametrize(
    ("stream", "faults"),
    [
        (chunk(frame("append", "#2 ")), {"astray": 1}),
        (PIECES + chunk(frame("append", "#3 ")), {"astray": 2}),
        (PIECES.replace(b"#2 ", b"#3 "), {"astray": 1, "behind": 1}),
        (chunk(frame("append", "#1 ")), {"behind": 1}),
        (b"", {"closed": 1}),
    ],
)
def test_one_viewer_that_did_not_get_what_the_others_did_is_noticed(
    audience: Audience, stream: bytes, faults: dict[str, int]
) -> None:
    found = collected(audience, PIECES, PIECES, stream)
    assert found["faults"] == CLEAN | faults


def test_who_was_told_another_value_at_the_beginning_is_noticed(audience: Audience) -> None:
    def script(connection: socket.socket, number: int) -> None:
        connection.sendall(HEAD + chunk(HELLO) + chunk(frame("set", f"#{number} ")))

    with serving(script) as port:
        audience.open({"port": port, "path": "/events", "count": 3, "awaits": "\nchange: set\n"})
        assert audience.collect({"mark": "#2 ", "timeout": 0})["faults"]["astray"] == 2


def test_a_late_joiner_counts_what_it_received_until_it_has_the_whole_value() -> None:
    answer = chunk(HELLO) + chunk(frame("set", {"text": "so far"}))
    with serving(lambda connection, _: connection.sendall(HEAD + answer)) as port:
        joined = join(port, "t")
    assert joined.value == {"text": "so far"}
    assert joined.received_bytes == len(answer)
    assert joined.seconds > 0
    assert joined.faults == {"gaps": 0, "unfit": 0}


def test_a_late_joiner_who_was_told_an_older_value_waits_for_the_rest() -> None:
    answer = chunk(HELLO) + chunk(frame("set", "so f")) + chunk(frame("append", "ar"))
    with serving(lambda connection, _: connection.sendall(HEAD + answer)) as port:
        joined = join(port, "t", "so far")
    assert (joined.value, joined.received_bytes) == ("so far", len(answer))


def test_a_viewer_shows_the_last_state_and_says_when() -> None:
    answer = chunk(HELLO) + chunk(frame("set", "a")) + chunk(frame("append", "b"))
    with (
        serving(lambda connection, _: connection.sendall(HEAD + answer)) as port,
        Viewer(port, "t") as viewer,
    ):
        shown_ns = viewer.shown_ns("ab", 5)
        assert viewer.value == "ab"
        assert viewer.shown_ns("abc", 0) is None
        assert viewer.faults == {"gaps": 0, "unfit": 0, "closed": 0}
    assert shown_ns


def test_a_viewer_whose_stream_is_closed_says_so() -> None:
    def script(connection: socket.socket, number: int) -> None:
        connection.sendall(HEAD + chunk(HELLO))
        connection.shutdown(socket.SHUT_RDWR)

    with serving(script) as port, Viewer(port, "t") as viewer:
        assert viewer.shown_ns("x", 5) is None
        assert viewer.is_connected(0)
        assert not viewer.is_shown(0)
        assert viewer.faults["closed"] == 1


def test_a_slow_viewer_reads_no_faster_than_its_link() -> None:
    slept: list[float] = []
    answer = HEAD + chunk(HELLO) + chunk(frame("set", "x" * 500))
    with (
        serving(lambda connection, _: connection.sendall(answer)) as port,
        Viewer(port, "t", bytes_per_second=1_000, sleep=slept.append) as viewer,
    ):
        assert viewer.shown_ns("x" * 500, 5)
    assert len(answer) / 1_000 - max(slept) <= sum(slept) <= len(answer) / 1_000 + 1e-9
    assert max(slept) <= SLOW_PIECE_BYTES / 1_000


@pytest.mark.parametrize("name", [viewers.PLAIN, viewers.VALUE])
def test_real_viewers_are_measured_and_reconciled(name: str) -> None:
    outcome = Outcome("Viewers")
    found, others = viewers.measure(name, viewers.SIDES[name], 5, 0.05, outcome)
    assert outcome.faults == []
    assert found.events >= WARM_UP_EVENTS
    assert found.per_second > 0
    assert 0 <= others <= 5


def test_a_real_text_is_generated_and_read() -> None:
    outcome = Outcome("Text")
    found = generated.generate("memory://", 20, "memory", outcome)
    assert outcome.faults == []
    assert found["text bytes"] < found["late joiner's bytes"] < 1_000
    assert 2 <= found["entries"] <= 24


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

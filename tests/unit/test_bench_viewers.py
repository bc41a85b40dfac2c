"""The readers of the benchmarks of values, against scripted servers, and in small runs of the real processes."""

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from benchmarks.audience import Audience
from benchmarks.outcome import Outcome
from benchmarks.scenarios import generated, viewers
from benchmarks.viewer import SLOW_PIECE_BYTES, Viewer, join
from clarion.bench.fanout import WARM_UP_EVENTS
from clarion.changes import NAMES, change_body
from tests.unit.test_bench_client import HEAD, chunk, serving

CLEAN = {"closed": 0, "behind": 0, "astray": 0, "gaps": 0, "unfit": 0}
HELLO = b'id: k-1\nevent: connected\ndata: {"clientId":"c","mode":"live","values":"all"}\n\n'


def frame(word: str, data: object, topic: str = "t") -> bytes:
    return b"id: k-2\n" + change_body(NAMES[word], "value", topic, json.dumps(data).encode())


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

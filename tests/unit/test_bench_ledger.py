"""The benchmarks' own bookkeeping: a loss that it does not see would be a lie in every table."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.bench.ledger import RAW, Faults, Ledger, State, end_of_frames, unchunk
from clarion.bench.payload import event_text


def frame(number: int, end: str = "\n") -> bytes:
    return f"id: {number}{end}data: {event_text(number)}{end}{end}".encode()


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def numbers_of(ledger: Ledger, state: State, runs: list[bytes]) -> list[int]:
    found: list[int] = []
    for run in runs:
        step = ledger.step(state, run)
        if step.first:
            found += step.broken or range(step.first, step.last + 1)
        state = step.after
    return found


@st.composite
def cuts(draw: st.DrawFn, body: bytes) -> list[bytes]:
    places = sorted(draw(st.sets(st.integers(0, len(body)), max_size=12)) | {0, len(body)})
    return [body[start:end] for start, end in pairwise(places)]


@given(data=st.data(), end=st.sampled_from(["\n", "\r\n"]), per_chunk=st.integers(1, 4))
def test_every_event_is_counted_once_wherever_the_stream_is_cut(data: st.DataObject, end: str, per_chunk: int) -> None:
    frames = [frame(number, end) for number in range(1, 8)]
    body = b"".join(chunk(b"".join(frames[at : at + per_chunk])) for at in range(0, 7, per_chunk))
    ledger = Ledger()
    assert numbers_of(ledger, ledger.chunked, data.draw(cuts(body))) == list(range(1, 8))


@given(data=st.data())
def test_a_frame_may_be_cut_by_chunks_and_a_body_may_have_none(data: st.DataObject) -> None:
    body = b"".join(frame(number) for number in range(1, 5))
    ledger = Ledger()
    assert numbers_of(ledger, ledger.raw, data.draw(cuts(body))) == [1, 2, 3, 4]
    framed = b"".join(chunk(part) for part in data.draw(cuts(body)))
    assert numbers_of(ledger, ledger.chunked, [framed]) == [1, 2, 3, 4]


def test_readers_at_the_same_place_share_one_parsing() -> None:
    ledger = Ledger()
    run = chunk(frame(1) + frame(2))
    assert ledger.step(ledger.chunked, run) is ledger.step(ledger.chunked, bytes(bytearray(run)))
    half = ledger.step(ledger.chunked, run[:50]).after
    assert half is ledger.step(ledger.chunked, run[:50]).after
    assert ledger.step(half, run[50:]).after is ledger.chunked


def test_what_is_remembered_is_bounded_and_forgetting_changes_nothing() -> None:
    ledger = Ledger(cache_bytes=400)
    body = b"".join(chunk(frame(number)) for number in range(1, 50))
    assert numbers_of(ledger, ledger.chunked, [body[at : at + 70] for at in range(0, len(body), 70)]) == list(
        range(1, 50)
    )
    assert sum(map(len, ledger.chunked.steps)) <= 400


def test_comments_heartbeats_and_the_connected_event_are_no_events() -> None:
    ledger = Ledger()
    noise = (
        b": ping\n\n"
        b'id: k3v9-7\nevent: heartbeat\ndata: {"timestamp":1}\n\n'
        b'retry: 2317\nid: k3v9-7\nevent: connected\ndata: {"clientId":"n","mode":"live"}\n\n'
    )
    step = ledger.step(ledger.raw, noise)
    assert (step.first, step.last, step.gaps) == (0, 0, 0)


@pytest.mark.parametrize("name", ["gap", "bye"])
def test_a_gap_or_a_bye_is_a_fault(name: str) -> None:
    ledger = Ledger()
    assert ledger.step(ledger.raw, f"event: {name}\ndata: {{}}\n\n".encode()).gaps == 1


def test_a_damaged_event_is_not_counted() -> None:
    ledger = Ledger()
    assert numbers_of(ledger, ledger.raw, [frame(1) + frame(2).replace(b"xx", b"x?", 1) + frame(3)]) == [1, 3]


def test_stamps_belong_to_the_events() -> None:
    ledger = Ledger()
    step = ledger.step(ledger.raw, frame(1) + frame(2))
    assert len(step.stamps) == 2
    assert step.stamps[0] <= step.stamps[1]


@pytest.mark.parametrize(
    ("numbers", "wanted", "faults"),
    [
        ([1, 2, 3], 4, Faults()),
        ([2, 3], 4, Faults(lost=1)),
        ([1, 3], 4, Faults(lost=1)),
        ([1, 1, 2], 3, Faults(duplicated=1)),
        ([1, 3, 2, 4], 5, Faults(lost=1, duplicated=1)),
        ([5], 6, Faults(lost=4)),
    ],
)
def test_faults_are_counted(numbers: list[int], wanted: int, faults: Faults) -> None:
    found = Faults()
    assert found.check(1, numbers) == wanted
    assert found == faults
    assert bool(found) is (faults != Faults())


def test_unchunking_takes_extensions_and_size_lines_that_are_cut() -> None:
    assert unchunk(0, b"", b"5;a=b\r\nhello\r\n3\r") == (b"hello", 0, b"3\r")
    assert unchunk(0, b"3\r", b"\nab") == (b"ab", 3, b"")
    assert unchunk(3, b"", b"c\r\n") == (b"c", 0, b"")
    assert unchunk(RAW, b"", b"as it is") == (b"as it is", RAW, b"")


def test_the_end_of_frames_is_an_empty_line() -> None:
    assert end_of_frames(b"data: 1\n\ndata: 2\n") == 9
    assert end_of_frames(b"data: 1\r\n\r\ndata: 2\r\n") == 11
    assert end_of_frames(b"data: 1\n") == 0

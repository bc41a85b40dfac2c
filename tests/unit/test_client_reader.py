"""From bytes to items: what is new, where a reader stands after each frame, and what a stream says of itself."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.client.errors import IdUnusable
from clarion.client.places import Place, is_sendable, place_of, without_values
from clarion.client.reader import Reader
from clarion.client.received import Gap, Item
from clarion.errors import EventTooLarge
from tests.unit.client_script import bye, change, connected, event, gap, heartbeat


def read(reader: Reader, *frames: bytes) -> list[Item]:
    return [item for frame in frames for item in reader.feed(frame)]


def data(items: Iterable[Item]) -> list[str]:
    return [item.message.data for item in items if item.message is not None]


# Positions.


def test_positions_are_read_and_compared() -> None:
    assert place_of("k3v9-1042") == Place("k3v9", 1042, 1042)
    assert place_of("k3v9-1042~1030") == Place("k3v9", 1042, 1030)
    assert place_of("k3v9-7.done") == Place("k3v9", 7, 7, done=True)
    order = [place_of(text) for text in ("k3v9-9", "k3v9-10~0", "k3v9-10~7", "k3v9-10", "k3v9-11~2")]
    for index, place in enumerate(order):
        assert place is not None
        for other in order[:index]:
            assert other is not None
            assert place.is_after(other)
            assert not other.is_after(place)
        assert not place.is_after(place)


def test_without_values() -> None:
    assert without_values("k3v9-1042") == without_values("k3v9-1042~1030") == "k3v9-1042~0"
    for text in ("", "of-another", "k3v9-7.done", "1526919030474-55x"):
        assert without_values(text) == text


@pytest.mark.parametrize("text", ["a\nb", "a\x00b", "\x7f", " a", "a ", "\t", "x" * 1025, "\u00e9" * 600, "\ud800"])
def test_what_cannot_be_sent(text: str) -> None:
    assert not is_sendable(text)


@pytest.mark.parametrize("text", ["", "k3v9-4", "a b", "a\tb", "\u00e9\u4e16", "x" * 1024])
def test_what_can_be_sent(text: str) -> None:
    assert is_sendable(text)


# Standing.


def test_each_frame_moves_the_reader() -> None:
    reader = Reader()
    steps = [
        (connected("k3v9-4"), "k3v9-4"),
        (event(5), "k3v9-5"),
        (heartbeat("k3v9-90"), "k3v9-90"),
        (gap("k3v9-99"), "k3v9-99"),
        (bye("done", id="k3v9-99.done"), "k3v9-99.done"),
    ]
    for frame, last_event_id in steps:
        items = reader.feed(frame)
        assert (reader.last_event_id, items[-1].last_event_id) == (last_event_id, last_event_id)


def test_a_frame_that_is_not_complete_moves_nothing() -> None:
    reader = Reader()
    read(reader, connected("k3v9-4"), event(5)[:-1])
    assert reader.last_event_id == "k3v9-4"
    reader.begin()
    assert data(read(reader, connected("k3v9-4", mode="resumed"), event(5))) == ["5"]


def test_events_that_were_read_before_are_dropped() -> None:
    reader = Reader()
    assert data(read(reader, connected("k3v9-4"), event(5), event(7), event(5), event(7), event(6), event(8))) == list(
        "578"
    )
    reader.begin()
    assert data(read(reader, connected("k3v9-2", mode="resumed"), event(3), event(8), event(9))) == ["9"]
    assert reader.last_event_id == "k3v9-9"


def test_a_stream_that_begins_before_does_not_take_the_reader_back() -> None:
    """The header was lost on its way, and the hub begins where `since` says."""
    reader = Reader("k3v9-8")
    read(reader, connected("k3v9-2"), event(3))
    assert reader.last_event_id == "k3v9-8"


def test_another_epoch_is_another_numbering() -> None:
    reader = Reader("k3v9-8")
    other = event(3).replace(b"k3v9", b"w1w2w3")
    assert data(read(reader, connected("w1w2w3-2", mode="live"), other)) == [
        '{"reason":"unasked","requested":"k3v9-8","oldest":"w1w2w3-2","missed":null}',
        "3",
    ]
    assert reader.last_event_id == "w1w2w3-3"


def test_after_a_gap_ids_may_fall() -> None:
    reader = Reader("k3v9-800")
    items = read(reader, connected("k3v9-4", mode="gap"), gap("k3v9-4", "unknown", "null"), event(5))
    assert data(items)[1:] == ["5"]
    assert [item.gap for item in items if item.gap] == [Gap("unknown", "k3v9-1", "k3v9-9", None)]
    assert reader.last_event_id == "k3v9-5"


def test_a_gap_that_was_not_told_is_asked_for_again() -> None:
    """The connection breaks between `connected` and the gap that it announces."""
    reader = Reader("k3v9-1")
    read(reader, connected("k3v9-400", mode="gap"))
    assert reader.last_event_id == "k3v9-1"
    reader.begin()
    items = read(reader, connected("k3v9-400", mode="gap"), gap("k3v9-400"))
    assert reader.last_event_id == "k3v9-400"
    assert items[-1].gap == Gap("expired", "k3v9-1", "k3v9-9", 4)


def test_a_position_that_did_not_reach_the_hub_is_a_gap() -> None:
    reader = Reader("k3v9-8")
    items = read(reader, connected("k3v9-60", mode="live"))
    assert [item.gap for item in items] == [None, Gap("unasked", "k3v9-8", "k3v9-60", None)]
    assert reader.last_event_id == "k3v9-60"


def test_the_place_is_not_kept_before_that_gap_was_dealt_with() -> None:
    reader = Reader("k3v9-4")
    begun, told, event_item = read(reader, connected("k3v9-9", mode="live"), event(10))
    assert (begun.last_event_id, told.last_event_id, event_item.last_event_id) == ("k3v9-4", "k3v9-9", "k3v9-10")
    assert told.gap is not None


def test_where_nothing_is_new_but_all_values_are_told_they_are_taken() -> None:
    """The position did not reach the hub, and no event was missed by that."""
    reader = Reader()
    read(reader, connected("k3v9-7"), change("k3v9-7", "set", "1"))
    reader.begin()
    items = read(reader, connected("k3v9-7~0", mode="live"), change("k3v9-7~3", "set", "2"))
    assert data(items) == ["2"]
    assert not any(item.gap for item in items)
    assert reader.last_event_id == "k3v9-7~3"


def test_who_did_not_ask_is_told_no_gap() -> None:
    items = read(Reader(), connected("k3v9-60", mode="live"))
    assert [item.gap for item in items] == [None]


def test_ids_of_other_servers_are_kept_as_they_are() -> None:
    reader = Reader()
    items = read(reader, b"id: abc\ndata: 1\n\n", b"data: 2\n\n", b"data: 3\n\n", b"id: ab\ndata: 4\n\n", b"id\n\n")
    assert data(items) == ["1", "2", "3", "4"]  # without an id of its own, each is new
    assert [item.last_event_id for item in items] == ["abc", "abc", "abc", "ab", ""]


def test_other_servers_may_use_what_looks_like_a_position() -> None:
    reader = Reader()
    items = read(reader, b"id: 1526919030474-55\ndata: 1\n\n", b"data: 2\n\n", b"id: 1526919030474-55\ndata: 3\n\n")
    assert data(items) == ["1", "2", "3"]


def test_ids_that_only_look_like_positions_may_fall() -> None:
    reader = Reader("2024-15")
    items = read(reader, b"id: 2024-3\ndata: a\n\n", b"id: 2024-3\ntopic: t\ndata: b\n\n")
    assert data(items) == ["a", "b"]
    assert reader.last_event_id == "2024-3"


def test_who_is_no_hub_has_no_types_of_its_own() -> None:
    """The stream of a hub begins with `connected`."""
    reader = Reader()
    items = read(reader, heartbeat("1"), gap("2"), bye("done", id="3"), b"data: more\n\n")
    assert [item.message.type for item in items if item.message is not None] == ["heartbeat", "gap", "bye", "message"]
    assert not any(item.gap for item in items)
    assert reader.bye is None
    assert reader.last_event_id == "3"


def test_an_id_alone_moves_the_reader() -> None:
    reader = Reader()
    items = read(reader, b"id: abc\n\n")
    assert [item.last_event_id for item in items] == ["abc"]
    assert reader.last_event_id == "abc"


@pytest.mark.parametrize("unusable", ["a\x01b", "x" * 2000, "\u00e9" * 600])
def test_an_id_that_cannot_be_sent_back_is_reported_once_and_the_one_before_stays(unusable: str) -> None:
    reader = Reader()
    items = read(reader, b"id: abc\ndata: 1\n\n", f"id: {unusable}\ndata: 2\n\n".encode(), b"data: 3\n\n")
    assert data(items) == ["1", "2", "3"]
    assert [type(item.error) for item in items if item.error] == [IdUnusable]
    assert reader.last_event_id == "abc"


def test_an_event_that_is_too_large_is_passed_over_and_not_asked_for_again() -> None:
    reader = Reader(max_event_bytes=100)
    huge = b"id: k3v9-6\ntopic: news\ndata: " + b"x" * 200 + b"\n\n"
    items = read(reader, event(5) + huge + event(7))
    assert data(items) == ["5", "7"]
    assert isinstance(items[1].error, EventTooLarge)
    assert [item.last_event_id for item in items] == ["k3v9-5", "k3v9-6", "k3v9-7"]


# What a stream says of itself.


def test_silence_is_learned_from_connected() -> None:
    reader = Reader()
    assert reader.silence_ms is None
    read(reader, connected(heartbeat=15_000))
    assert reader.silence_ms == 30_000
    reader.begin()
    assert reader.silence_ms == 30_000  # until the new stream says another
    read(reader, connected(heartbeat=0))
    assert reader.silence_ms is None


@pytest.mark.parametrize("heartbeat_ms", ["-5", "1.5", "true", '"15"', "null"])
def test_an_interval_that_is_none_is_none(heartbeat_ms: str) -> None:
    reader = Reader()
    frame = connected(heartbeat=99).replace(b":99", b":" + heartbeat_ms.encode())
    items = read(reader, frame)
    assert items[0].connected is not None
    assert reader.silence_ms is None


def test_retry_is_kept_over_connections() -> None:
    reader = Reader()
    read(reader, connected(retry=2317))
    reader.begin()
    read(reader, b": nothing\n")
    assert reader.retry_ms == 2317


def test_nothing_is_read_after_bye() -> None:
    reader = Reader()
    items = reader.feed(connected() + event(5) + bye("limit", 700, detail="enough") + event(6))
    assert data(items) == ["5"]
    assert reader.bye == ("limit", 700, "enough")
    assert reader.last_event_id == "k3v9-5"
    reader.begin()
    assert reader.bye is None


def test_events_of_others_may_have_those_names() -> None:
    frames = [
        b"event: bye\ndata: see you\n\n",
        b"event: connected\ndata: 1\n\n",
        b'event: gap\ndata: {"between":"teeth"}\n\n',
        b'event: bye\ntopic: films\nid: k3v9-9\ndata: {"reason":"done"}\n\n',
        b"event: heartbeat\ndata: {{{\n\n",
    ]
    reader = Reader()
    assert len(data(read(reader, *frames))) == len(frames)
    assert reader.bye is None


# Values.


def test_a_catching_up_that_breaks_off_goes_on_where_it_was() -> None:
    reader = Reader()
    read(reader, connected("k3v9-40~0"), change("k3v9-40~12", "set", "1"))
    assert reader.last_event_id == "k3v9-40~12"
    reader.begin()
    frames = [change("k3v9-40~12", "set", "1"), change("k3v9-40~30", "set", "2"), change("k3v9-40", "set", "3")]
    assert data(read(reader, connected("k3v9-40~12", mode="resumed"), *frames)) == ["2", "3"]
    assert reader.last_event_id == "k3v9-40"


def test_who_forgets_the_values_is_told_them_anew_and_no_event_twice() -> None:
    reader = Reader()
    read(reader, connected("k3v9-4"), event(5), change("k3v9-6", "set", "1"))
    assert reader.forget_values()
    assert reader.last_event_id == "k3v9-6~0"
    reader.begin()
    frames = [event(5), event(6), change("k3v9-6", "set", "1"), event(7)]
    assert data(read(reader, connected("k3v9-6~0", mode="resumed"), *frames)) == ["1", "7"]


@pytest.mark.parametrize("last_event_id", ["", "abc", "k3v9-7.done"])
def test_who_has_no_position_cannot_ask_for_values(last_event_id: str) -> None:
    reader = Reader(last_event_id)
    assert not reader.forget_values()
    assert reader.last_event_id == last_event_id


# However the bytes are cut.


@given(st.integers())
def test_chunks_do_not_matter(seed: int) -> None:
    chance = random.Random(seed)
    frames = [connected("k3v9-4", mode="resumed"), event(5), heartbeat("k3v9-6"), gap("k3v9-9"), event(10), event(10)]
    stream = b"".join([*frames, change("k3v9-12~9", "set", "1"), bye("drain")])
    whole = Reader()
    items = whole.feed(stream)
    cut = Reader()
    found: list[Item] = []
    while stream:
        length = chance.randrange(0, 40)
        found += cut.feed(stream[:length])
        stream = stream[length:]
    assert found == items
    assert (cut.last_event_id, cut.bye) == (whole.last_event_id, whole.bye)


@given(st.lists(st.binary(max_size=40) | st.sampled_from([connected(), event(5), gap("k3v9-9"), b"\n\n"]), max_size=12))
def test_no_bytes_whatever_raise(chunks: list[bytes]) -> None:
    reader = Reader(max_event_bytes=60)
    for chunk in chunks:
        reader.feed(chunk)
    assert is_sendable(reader.last_event_id)

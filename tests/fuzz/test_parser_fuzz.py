"""The parser against a slow transcription of WHATWG HTML 9.2.6, on whatever Hypothesis can think of."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from clarion.parser import MAX_RETRY_MILLISECONDS, Message, Parser
from tests.parsing import read_all

UNBOUNDED = 10**9
Outcome = tuple[list[Message], str, int | None, int]


def reference(stream: bytes, max_event_bytes: int) -> Outcome:
    """Read a whole stream by the words of the standard. Returns what `parse` returns."""
    if b"\xef\xbb\xbf".startswith(stream):
        return [], "", None, 0  # perhaps a BOM: too early to count it
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    *lines, unfinished = re.split("\r\n|\r|\n", text)
    sizes = [len(line) for line in re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf"))]
    messages: list[Message] = []
    last_event_id = id_buffer = type_buffer = data_buffer = topic_buffer = ""
    retry: int | None = None
    size = too_large = 0
    skipping = False
    for line, line_size in zip(lines, sizes, strict=False):
        if line == "":
            if skipping:
                id_buffer = last_event_id
            last_event_id = id_buffer
            if data_buffer and not skipping:
                messages.append(
                    Message(type_buffer or "message", data_buffer[:-1], last_event_id, topic_buffer or None)
                )
            data_buffer = type_buffer = topic_buffer = ""
            size = 0
            skipping = False
            continue
        if line.startswith(":") or skipping:
            continue
        size += line_size
        if size > max_event_bytes:
            skipping = True
            too_large += 1
            continue
        name, colon, value = line.partition(":")
        if colon and value.startswith(" "):
            value = value[1:]
        if name == "event":
            type_buffer = value
        elif name == "data":
            data_buffer += value + "\n"
        elif name == "id" and "\0" not in value:
            id_buffer = value
        elif name == "topic":
            topic_buffer = value
        elif name == "retry" and re.fullmatch("[0-9]{1,4000}", value):
            retry = min(int(value), MAX_RETRY_MILLISECONDS)
    if not skipping and not unfinished.startswith(":") and size + sizes[-1] > max_event_bytes:
        too_large += 1
    return messages, last_event_id, retry, too_large


def parse(chunks: list[bytes], max_event_bytes: int) -> Outcome:
    """Messages, last event id, retry, and how many blocks were too large. Any other error is a failure."""
    parser = Parser(max_event_bytes=max_event_bytes)
    messages, too_large = read_all(parser, chunks)
    return messages, parser.last_event_id, parser.retry_milliseconds, too_large


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in pairwise(edges)]


LINE_ENDS = [b"\n", b"\n", b"\n", b"\r", b"\r\n"]
NAMES = [b"data", b"data", b"id", b"event", b"topic", b"retry", b"", b"Data", b"data ", b"x"]
COLONS = [b": ", b":", b":  ", b"", b":\t", b"::"]
VALUES = [
    *(b"", b"x", b"1", b"007", b"99999999999999999999", b"\0", b"a\0b", b" ", b"a:b", b"\xff", b"\xe2\x82"),
    *("\u20ac\U0001f600".encode(), "a\u2028b\u2029c\u0085d".encode(), b"\x0b\x0c\x1c", b"\xef\xbb\xbf"),
]

lines = st.builds(
    lambda *parts: b"".join(parts),
    st.sampled_from(NAMES),
    st.sampled_from(COLONS),
    st.sampled_from(VALUES) | st.binary(max_size=6),
    st.sampled_from(LINE_ENDS),
)
plain_blocks = st.sampled_from(
    [
        b'id: k3v9-7\nevent: e\ntopic: t\ndata: {"n":1}\n\n',
        b"id: k3v9-8\ntopic: t\ndata: x\n\n",
        b"event: e\ndata: x\n\n",
        b"data: x\n\n",
        b"id: \xff\ndata: \xff\n\n",
        b"id: 1\0\ndata: x\n\n",
    ]
)
pieces = st.one_of(lines, lines, lines, st.sampled_from(LINE_ENDS), plain_blocks, st.binary(max_size=4))
structured = st.builds(
    lambda start, parts: start + b"".join(parts),
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf", b"\xef\xbb"]),
    st.lists(pieces, max_size=40),
)
streams = st.one_of(structured, st.binary(max_size=200))
bounds = st.one_of(st.just(UNBOUNDED), st.integers(1, 40))


@given(stream=streams, max_event_bytes=bounds)
@example(stream=b"\xef\xbb\xbfid: 1\ndata: x\n\n", max_event_bytes=12)
@example(stream=b"\xef\xbb", max_event_bytes=1)
@example(stream=b"id: 1\ndata: 678\n\ndata: y\n\n", max_event_bytes=13)
def test_the_parser_agrees_with_the_standard(stream: bytes, max_event_bytes: int) -> None:
    assert parse([stream], max_event_bytes) == reference(stream, max_event_bytes)


@given(stream=streams, places=st.lists(st.integers(0, 2_000), max_size=30), max_event_bytes=bounds)
def test_how_the_stream_is_cut_changes_nothing(stream: bytes, places: list[int], max_event_bytes: int) -> None:
    assert parse(cut(stream, places), max_event_bytes) == reference(stream, max_event_bytes)


@given(stream=streams, max_event_bytes=bounds)
def test_byte_by_byte_changes_nothing(stream: bytes, max_event_bytes: int) -> None:
    chunks = [stream[at : at + 1] for at in range(len(stream))]
    assert parse(chunks, max_event_bytes) == reference(stream, max_event_bytes)

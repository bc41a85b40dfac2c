"""Blocks: the bytes of one write, and where a reader may stop in them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.event import Entry
from clarion.sinks.base import Block
from clarion.sinks.chunks import CHUNK_BYTES, chunk, chunked_block, plain_block
from tests.model.ledger import ChunkDecoder
from tests.unit.core import entry

sizes = st.lists(st.integers(0, 9_000), max_size=8)
prefixes = st.sampled_from((b"", b"<gap>"))


def entries_of(sizes: list[int]) -> list[Entry]:
    return [entry(3 * n, "t", size=size) for n, size in enumerate(sizes, 1)]


def decoded(data: bytes) -> bytes:
    return ChunkDecoder().feed(data)


@given(sizes, prefixes)
def test_plain_is_the_frames_one_after_the_other(sizes: list[int], prefix: bytes) -> None:
    entries = entries_of(sizes)
    block = plain_block(entries, 1, 100, prefix)
    assert block.data == prefix + b"".join(one.frame for one in entries)
    assert [offset for _, offset, _ in block.marks] == [one.offset for one in entries]
    _marks_are_right(block, entries, prefix, lambda data: data)


@given(sizes, prefixes)
def test_chunked_says_the_same_in_chunks(sizes: list[int], prefix: bytes) -> None:
    entries = entries_of(sizes)
    block = chunked_block(entries, 1, 100, prefix)
    assert decoded(block.data) == prefix + b"".join(one.frame for one in entries)
    _marks_are_right(block, entries, prefix, decoded)
    ends = [0, *(end for end, _, _ in block.marks)]
    largest = max([len(one.frame) for one in entries], default=0)
    for begin, end in itertools.pairwise(ends):
        assert end - begin < CHUNK_BYTES + largest + len(prefix) + 10, "one chunk is what a frozen reader costs"


def _marks_are_right(block: Block, entries: list[Entry], prefix: bytes, decode: Callable[[bytes], bytes]) -> None:
    assert (block.after, block.through, block.events) == (1, 100, len(entries))
    assert (block.told_before, block.told) == (1, 100)
    for end, offset, told in block.marks:
        assert told == offset
        reached = [one.frame for one in entries if one.offset <= offset]
        assert decode(block.data[:end]) == prefix + b"".join(reached)
    assert [end for end, _, _ in block.marks] == sorted({end for end, _, _ in block.marks})
    if entries:
        assert block.marks[-1][:2] == (len(block.data), entries[-1].offset)


@pytest.mark.parametrize("make", [plain_block, chunked_block])
def test_nothing_is_no_bytes(make: Callable[..., Block]) -> None:
    assert make((), 3, 9) == Block(b"", 3, 3, (), 9, 9, 0)


def test_a_prefix_stands_alone_where_there_are_no_entries() -> None:
    assert chunked_block((), 3, 3, b"<heartbeat>").data == b"b\r\n<heartbeat>\r\n"


def test_a_chunk() -> None:
    assert chunk(b"x" * 300) == b"12c\r\n" + b"x" * 300 + b"\r\n"

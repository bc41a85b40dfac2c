"""Blocks: entries made into the bytes of one write, with the places where a reader may stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from clarion.event import Entry
from clarion.sinks.base import Block, Telling

# A reader that stalls keeps the rest of the chunk it is in, so this is what a frozen reader costs at most (unless one
# event is larger). Small enough for that, large enough that chunk framing (7 bytes) is nothing.
CHUNK_BYTES: Final = 4 * 1024


def plain_block(
    entries: Sequence[Entry], after: int, through: int, prefix: bytes = b"", telling: Telling = None
) -> Block:
    """Frames one after the other, for a server that frames them itself, or a body that ends with the connection."""
    frames = [entry.frame for entry in entries]
    told = _told(entries, after, through, telling)
    marks: list[tuple[int, int, int]] = []
    end = len(prefix)
    for index, entry in enumerate(entries, 1):
        end += len(entry.frame)
        marks.append((end, entry.offset, told[index]))
    return Block(prefix + b"".join(frames), after, told[0], tuple(marks), through, told[-1], len(entries))


def chunked_block(
    entries: Sequence[Entry], after: int, through: int, prefix: bytes = b"", telling: Telling = None
) -> Block:
    """Frames in chunks of HTTP/1.1 `transfer-encoding: chunked` (RFC 9112 section 7.1), several frames in each."""
    told = _told(entries, after, through, telling)
    parts: list[bytes] = []
    marks: list[tuple[int, int, int]] = []
    group: list[bytes] = [prefix] if prefix else []
    size = len(prefix)
    end = 0
    last = len(entries)
    for index, entry in enumerate(entries, 1):
        group.append(entry.frame)
        size += len(entry.frame)
        if size >= CHUNK_BYTES or index == last:
            framed = chunk(b"".join(group))
            parts.append(framed)
            end += len(framed)
            marks.append((end, entry.offset, told[index]))
            group.clear()
            size = 0
    if group:  # a prefix alone
        parts.append(chunk(prefix))
    return Block(b"".join(parts), after, told[0], tuple(marks), through, told[-1], len(entries))


def chunk(data: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _told(entries: Sequence[Entry], after: int, through: int, telling: Telling) -> Sequence[int]:
    """Up to where values are told before the block, after each of its entries, and after all of it."""
    if telling is None:
        return [after, *[entry.offset for entry in entries], through]
    if isinstance(telling, int):
        return [telling] * (len(entries) + 2)
    return telling

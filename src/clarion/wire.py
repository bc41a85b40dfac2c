"""Frames: the exact bytes of everything a stream says (spec/stream.md, "Frames").

An event's body is encoded where it is published (`clarion.event`); here it gets its `id:` line, and the stream's own
frames are made. All are whole SSE blocks: they end in an empty line.
"""

from __future__ import annotations

from typing import Any, Final

from clarion import json
from clarion.position import Position, text_of

MAX_ECHO_CHARS: Final = 100  # of a stranger's Last-Event-ID, told back in a gap


def event_frame(epoch: str, offset: int, body: bytes) -> bytes:
    """The frame of a journal entry."""
    return b"id: %b-%d\n%b" % (epoch.encode(), offset, body)


def marked_frame(epoch: str, frame: bytes, offset: int, told: int) -> bytes:
    """An entry's frame for a reader that was told values only up to `told`."""
    return b"id: %b\n%b" % (text_of(epoch, offset, told).encode(), frame[frame.index(b"\n") + 1 :])


def connected(
    position: str,
    *,
    client_id: str,
    mode: str,
    to: Position,
    heartbeat_ms: int,
    retry_ms: int,
    values: str,
) -> bytes:
    """The first frame of every stream. Its `id:`, `position`, is where this stream starts from.

    values: "all" if each value is told anew, "changed" if only those that have changed.
    """
    data = {
        "clientId": client_id,
        "mode": mode,
        "from": position,
        "to": str(to),
        "heartbeat": heartbeat_ms,
        "values": values,
    }
    return b"retry: %d\nid: %b\nevent: connected\ndata: %b\n\n" % (retry_ms, position.encode(), json.encode(data))


def heartbeat(position: str, timestamp_ms: int) -> bytes:
    """Said to streams that were silent; carries the cursor, so a quiet stream's id does not grow stale."""
    return b'id: %b\nevent: heartbeat\ndata: {"timestamp":%d}\n\n' % (position.encode(), timestamp_ms)


def gap(position: str, *, reason: str, requested: str | None, oldest: Position, missed: int | None) -> bytes:
    """Says what cannot be replayed. Its `id:` is where the stream goes on from.

    reason: "expired", "unknown", "epoch" or "limit". missed: how many events, None if that cannot be known.
    """
    data = {
        "reason": reason,
        "requested": None if requested is None else requested[:MAX_ECHO_CHARS],
        "oldest": str(oldest),
        "missed": missed,
    }
    return b"id: %b\nevent: gap\ndata: %b\n\n" % (position.encode(), json.encode(data))


def bye(reason: str, *, retry_ms: int, detail: str | None = None, position: Position | None = None) -> bytes:
    """The last frame of a stream that ends on purpose.

    reason: "drain", "expired", "kicked", "done" or "limit". position: given with `done`; the id then says that a
    reconnect is to be answered with 204.
    """
    data: dict[str, Any] = {"reason": reason, "retry": retry_ms}
    if detail is not None:
        data["detail"] = detail
    done = b"id: %b.done\n" % str(position).encode() if position is not None and reason == "done" else b""
    return b"retry: %d\n%bevent: bye\ndata: %b\n\n" % (retry_ms, done, json.encode(data))

"""Events: what publishers say, valid by construction, encoded once.

Nothing that is refused here can reach the wire, so nothing is cleaned up on the way out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple

from clarion import json
from clarion.errors import EventTooLarge, InvalidEvent
from clarion.topics import check_name
from clarion.values import Change

MAX_EVENT_BYTES: Final = 1024 * 1024  # one event, framed: several times what a browser renders in a frame's time
MAX_TYPE_BYTES: Final = 255
MAX_KEY_BYTES: Final = 255

RESERVED_TYPES: Final = frozenset({"connected", "heartbeat", "gap", "bye"})  # what the stream says of itself
RESERVED_ENDINGS: Final = (".append", ".merge", ".delete")  # how values change (spec/stream.md, section 10)

_LINE_END = re.compile("\r\n|\r|\n")
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Event:
    """What a publisher says, for `publish_many`. The fields are the arguments of `Hub.publish`; ttl is in seconds."""

    topic: str
    data: Any = None
    event: str | None = None
    text: str | None = None
    key: str | None = None
    ttl: float | None = None
    ephemeral: bool = False


class Draft(NamedTuple):
    """An event ready to be appended: encoded, but without a position yet.

    body: the frame without its `id:` line, ending in an empty line.
    created_ms, expires_ms: Unix time in milliseconds; `expires_ms` is None for an event without a ttl.
    key: idempotency key, unique per topic within the journal's window; None for none.
    ephemeral: for readers who are connected now; never replayed.
    change: what it does to the topic's value (`clarion.changes` makes those drafts); `expires_ms` is the value's then.
    max_value_bytes: how large the value may be after it, as JSON.
    """

    topic: str
    body: bytes
    created_ms: int
    expires_ms: int | None = None
    key: str | None = None
    ephemeral: bool = False
    change: Change = Change.NONE
    max_value_bytes: int = 0


class Entry:
    """An event in the journal. Immutable; the same object serves every reader of a process.

    offset: its place in the journal's order. Offsets rise; they need not be without holes.
    frame: its final bytes, `id:` line included.
    change: what it does to a value. value_bytes: how large the value is at most after it; 0 for a plain event.
    """

    __slots__ = ("change", "created_ms", "ephemeral", "expires_ms", "frame", "offset", "topic", "value_bytes")

    def __init__(
        self,
        offset: int,
        topic: str,
        frame: bytes,
        created_ms: int,
        expires_ms: int | None = None,
        ephemeral: bool = False,
        change: Change = Change.NONE,
        value_bytes: int = 0,
    ) -> None:
        self.offset = offset
        self.topic = topic
        self.frame = frame
        self.created_ms = created_ms
        self.expires_ms = expires_ms
        self.ephemeral = ephemeral
        self.change = change
        self.value_bytes = value_bytes

    def __repr__(self) -> str:
        return f"Entry(offset={self.offset}, topic={self.topic!r}, bytes={len(self.frame)})"


def draft(
    topic: str,
    data: Any = None,
    *,
    created_ms: int,
    event: str | None = None,
    text: str | None = None,
    key: str | None = None,
    ttl_seconds: float | None = None,
    ephemeral: bool = False,
    max_event_bytes: int = MAX_EVENT_BYTES,
) -> Draft:
    """Make the event that is to be appended, or refuse it.

    topic: where to (the hub's own `@` names included; the callers decide who may use those).
    data, text: what to say, as JSON or, if `text` is given, as raw text in as many `data:` lines as it has lines.
    event: the SSE event type; None for `message`, what `EventSource.onmessage` gets.

    Raises `InvalidTopic`, `InvalidEvent`, or `EventTooLarge`.
    """
    topic = check_name(topic)
    if text is None:
        payload = b"data: " + json.encode(data) + b"\n\n"
    else:
        payload = _text_lines(text, data)
    if event is None or event == "message":
        body = f"topic: {topic}\n".encode() + payload
    else:
        event = check_type(event)
        body = f"event: {event}\ntopic: {topic}\n".encode() + payload
    if len(body) > max_event_bytes:
        raise EventTooLarge(len(body), max_event_bytes)
    if key is not None:
        key = check_key(key)
    expires_ms = None if ttl_seconds is None else created_ms + ttl_milliseconds(ttl_seconds)
    return Draft(topic, body, created_ms, expires_ms, key, ephemeral)


def _text_lines(text: object, data: object) -> bytes:
    if not isinstance(text, str):
        raise InvalidEvent(f"text must be text, not {type(text).__name__}; data= takes what JSON can say")
    if data is not None:
        raise InvalidEvent("give data or text, not both")
    try:
        return b"".join([b"data: %b\n" % line.encode() for line in _LINE_END.split(text)]) + b"\n"
    except UnicodeEncodeError:
        raise InvalidEvent("text is not valid Unicode (it holds a lone surrogate)") from None


def check_type(event: object) -> str:
    """Return `event` if a publisher may use it as an SSE event type; else raise `InvalidEvent`."""
    if not isinstance(event, str):
        raise InvalidEvent(f"an event type must be text, not {type(event).__name__}")
    if not event or _FORBIDDEN.search(event):
        raise InvalidEvent(f"event type {event[:80]!r} is empty or holds control characters or line ends")
    try:
        size = len(event.encode())
    except UnicodeEncodeError:
        raise InvalidEvent("the event type is not valid Unicode (it holds a lone surrogate)") from None
    if size > MAX_TYPE_BYTES:
        raise InvalidEvent(f"event type {event[:40]!r}... has {size} bytes, at most {MAX_TYPE_BYTES} are allowed")
    if type(event) is not str:  # an enum of texts: what it is, not how it shows itself
        event = str.__str__(event)
    if event in RESERVED_TYPES:
        raise InvalidEvent(f"event type {event!r} is what the stream says of itself; choose another")
    if event.endswith(RESERVED_ENDINGS):
        raise InvalidEvent(f"event type {event!r} ends as those of values do; choose another, or use append or merge")
    return event


def check_key(key: object) -> str:
    """Return `key` if it can be an idempotency key; else raise `InvalidEvent`."""
    if not isinstance(key, str) or not key:
        raise InvalidEvent("an idempotency key must be non-empty text")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidEvent("the idempotency key is not valid Unicode (it holds a lone surrogate)") from None
    if size > MAX_KEY_BYTES:
        raise InvalidEvent(f"the idempotency key has {size} bytes, at most {MAX_KEY_BYTES} are allowed")
    return str.__str__(key)


def ttl_milliseconds(ttl_seconds: float | timedelta) -> int:
    """A time to live in milliseconds. Raises `InvalidEvent` for what is none."""
    if isinstance(ttl_seconds, timedelta):
        ttl_seconds = ttl_seconds.total_seconds()
    if isinstance(ttl_seconds, bool) or not isinstance(ttl_seconds, int | float) or not 0 < ttl_seconds < 1e12:
        raise InvalidEvent(f"ttl must be a number of seconds above 0, not {ttl_seconds!r}")
    return max(1, round(ttl_seconds * 1000))

"""Changes of values on the wire: how they are said, and what a frame says (spec/stream.md, section 10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from clarion import json
from clarion.errors import EventTooLarge, InvalidEvent
from clarion.event import MAX_EVENT_BYTES, MAX_TYPE_BYTES, Draft, check_key, check_type, ttl_milliseconds
from clarion.topics import check_name
from clarion.values import Change, Folded

DEFAULT_NAME: Final = "value"  # the event type of a value whose publisher names none
MAX_NAME_BYTES: Final = MAX_TYPE_BYTES - len(".append")  # so that the type of each of its changes is one, too
# Levels of objects and lists in each other. JSON itself has no bound, but those who fold values go through them level
# by level, and what one process can say another could not, depending on how much of its stack is in use.
MAX_VALUE_DEPTH: Final = 128

_WORDS: Final = {Change.SET: "set", Change.APPEND: "append", Change.MERGE: "merge", Change.DELETE: "delete"}
_CHANGES: Final = {word.encode(): change for change, word in _WORDS.items()}
NAMES: Final = {word: change for change, word in _WORDS.items()}

_AS_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_MARKS = bytes(code for code in range(256) if code not in b'[]{}"')
_KEY_END: Final = "\n"  # between a subject, which cannot hold it, and a key


@dataclass(frozen=True, slots=True)
class ValueChange:
    """A change of a value, for `change_many`. The fields are the arguments of `Hub.set` and the others.

    change: "set", "append", "merge" or "delete". ttl: in seconds.
    """

    topic: str
    change: str
    data: Any = None
    event: str | None = None
    ttl: float | None = None
    key: str | None = None
    user: str | None = None


class Said(NamedTuple):
    """What a frame of a change says.

    name: the event type, without what stands behind it for the change. subject: the topic that it is told under.
    data: one line of JSON.
    """

    change: Change
    name: str
    subject: str
    data: bytes


def change_draft(
    topic: str,
    change: Change,
    data: Any,
    *,
    created_ms: int,
    subject: str | None = None,
    event: str | None = None,
    key: str | None = None,
    ttl_seconds: float | None = None,
    max_event_bytes: int = MAX_EVENT_BYTES,
) -> Draft:
    """Make a change that is to be appended, or refuse it.

    topic: whose readers are told. subject: what the value is called there, and what it is found by together with
    `topic`; the topic itself if None. ttl_seconds: how long the value lives after its last change.

    Raises `InvalidTopic`, `InvalidEvent`, or `EventTooLarge`.
    """
    topic = check_name(topic)
    subject = topic if subject is None else check_name(subject)
    name = DEFAULT_NAME if event is None else _check_name(event)
    if change is Change.DELETE:
        data = None
    elif change is Change.MERGE and not isinstance(data, dict):
        data = json.decode(json.encode(data))  # a dataclass or a model, which JSON says as an object
        if not isinstance(data, dict):
            raise InvalidEvent("a merge patch must be an object; `set` replaces a value by anything")
    encoded = json.encode(data)
    body = change_body(Change(change), name, subject, encoded)
    if len(body) > max_event_bytes:
        raise EventTooLarge(len(body), max_event_bytes)
    if _is_too_deep(encoded):
        raise InvalidEvent(f"a value may hold objects and lists in each other to {MAX_VALUE_DEPTH} levels, not deeper")
    if key is not None:
        key = check_key(key) if subject == topic else f"{subject}{_KEY_END}{check_key(key)}"
    expires_ms = None if ttl_seconds is None else created_ms + ttl_milliseconds(ttl_seconds)
    max_value_bytes = max_event_bytes - (len(body) - len(encoded))  # so that the value itself fits into an event
    return Draft(topic, body, created_ms, expires_ms, key, change=change, max_value_bytes=max_value_bytes)


def change_body(change: Change, name: str, subject: str, data: bytes) -> bytes:
    """The frame of a change without its `id:` line."""
    word = _WORDS[change]
    kind = name if change is Change.SET else f"{name}.{word}"
    return b"event: %b\ntopic: %b\nchange: %b\ndata: %b\n\n" % (kind.encode(), subject.encode(), word.encode(), data)


def folded_body(folded: Folded, name: str, subject: str) -> bytes:
    """The frame, without its `id:` line, that says several changes as one."""
    return change_body(folded.change, name, subject, json.encode(folded.delta))


def said(frame: bytes) -> Said:
    """What the frame (or the body) of a change says. Only for those that were made here."""
    start = frame.index(b"event: ")
    kind, topic, word, data = frame[start:-2].split(b"\n", 3)
    change = _CHANGES[word[8:]]
    name = kind[7:] if change is Change.SET else kind[7 : -len(word) + 7]
    return Said(change, name.decode(), topic[7:].decode(), data[6:])


def _check_name(event: str) -> str:
    name = check_type(event)
    if len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidEvent(f"event type {name[:40]!r}... of a value may have {MAX_NAME_BYTES} bytes at most")
    return name


def _is_too_deep(line: bytes) -> bool:
    """Whether a line of JSON is nested deeper than values may be. Costs about what it costs to encode it.

    Most have not even so many brackets.
    """
    if line.count(b"[") + line.count(b"{") <= MAX_VALUE_DEPTH:
        return False
    marks = line.replace(rb"\\", b"").replace(rb"\"", b"").translate(_AS_SQUARE, _NO_MARKS).replace(b'""', b"")
    brackets = b"".join(marks.split(b'"')[::2])  # the others are in strings
    for _ in range(MAX_VALUE_DEPTH):
        brackets = brackets.replace(b"[]", b"")  # the innermost level
        if not brackets:
            return False
    return True

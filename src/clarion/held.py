"""A value as a journal holds it, and what a change makes of it. Pure: the journals keep these, each in its own way."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from clarion import json
from clarion.changes import Said, change_body
from clarion.errors import NoValue, ValueTooLarge
from clarion.event import Draft
from clarion.values import MISSING, Change, applied

TOMBSTONE_SECONDS: Final = 24 * 3600  # how long a deletion is remembered; who comes back later gets all values anew
COUNT_ANEW_BYTES: Final = 1024  # of changes, and as many as it has, before a value's size is counted and not summed up


class Held(NamedTuple):
    """A value after its change at `offset`. Immutable: a change makes another one.

    value: `MISSING` after a deletion; it is a tombstone then, and `expires_ms` is when that is forgotten.
    size_bytes: what it has at most as JSON. counted_bytes: what it had when it was last counted.
    ttl_ms: how long it lives after each change, None for ever. expires_ms: until when it lives now, Unix time.
    """

    name: str
    value: Any
    offset: int
    size_bytes: int
    counted_bytes: int
    ttl_ms: int | None
    expires_ms: int | None

    def lives(self, now_ms: int) -> bool:
        """Whether there is a value now."""
        return self.value is not MISSING and (self.expires_ms is None or self.expires_ms > now_ms)


def revised(held: Held | None, draft: Draft, told: Said, offset: int) -> Held:
    """What the draft of a change makes of the value. told: what its body says (`clarion.changes.said`).

    Raises `ValueMismatch`, `ValueTooLarge` or `NoValue`.
    """
    if held is not None and not held.lives(draft.created_ms):
        held = None
    ttl_ms = None if draft.expires_ms is None else draft.expires_ms - draft.created_ms
    if told.change is Change.DELETE:
        if held is None:
            raise NoValue(told.subject)
        return Held(told.name, MISSING, offset, 0, 0, None, draft.created_ms + TOMBSTONE_SECONDS * 1000)
    value = applied(MISSING if held is None else held.value, told.change, json.decode(told.data))
    size_bytes = counted_bytes = len(told.data)
    if held is not None and told.change is not Change.SET:
        size_bytes, counted_bytes = size_bytes + held.size_bytes, held.counted_bytes
        ttl_ms = held.ttl_ms if ttl_ms is None else ttl_ms
        if size_bytes > min(draft.max_value_bytes, 2 * counted_bytes + COUNT_ANEW_BYTES):
            size_bytes = counted_bytes = len(json.encode(value))
    if size_bytes > draft.max_value_bytes:
        raise ValueTooLarge(told.subject, size_bytes, draft.max_value_bytes)
    expires_ms = None if ttl_ms is None else draft.created_ms + ttl_ms
    return Held(told.name, value, offset, size_bytes, counted_bytes, ttl_ms, expires_ms)


def as_told(before: Held | None, draft: Draft, told: Said, after: Held) -> Draft:
    """The draft of a change as it is appended and told: one that begins a value is a `set` of it.

    A reader may still show an earlier value whose time was over, and would put what begins anew onto that.
    """
    if told.change in (Change.SET, Change.DELETE) or (before is not None and before.lives(draft.created_ms)):
        return draft
    body = change_body(Change.SET, told.name, told.subject, json.encode(after.value))
    return draft._replace(body=body, change=Change.SET)

"""The values in an SQLite journal, changed: in the transaction that appends, so that value and entries never disagree.

A `set` is its own base. Other changes are kept after the base, and rolled up into a new one from time to time, so that
a value costs its size to read and not its history. Measured with 32-byte deltas: 30 us of CPU a change, whatever the
value's size.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from enum import Enum
from typing import Final, NamedTuple

from clarion import json
from clarion.changes import said
from clarion.event import Draft
from clarion.held import Held, as_told, revised
from clarion.journals.sqlite_values import Facts, find, load
from clarion.values import MISSING, Change

ROLL_UP_DELTAS: Final = 512  # after a base: about 1 ms to apply for who reads the value
ROLL_UP_BYTES: Final = 16 * 1024  # ... or as many bytes as the base has, if that is more: it costs its size to write
CACHE_BYTES: Final = 16 * 1024**2  # of values that were changed lately, to be changed again without being read
CACHED_OVERHEAD_BYTES: Final = 1024  # counted for holding one at all, however small it is

Key = tuple[str, str]  # topic and subject

_INSERT = (
    "INSERT INTO topic_values (topic, subject, name, changed, based, cleaned, size_bytes, delta_count, delta_bytes, "
    "deleted, ttl_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE = (
    "UPDATE topic_values SET name = ?, changed = ?, based = ?, size_bytes = ?, delta_count = ?, delta_bytes = ?, "
    "deleted = ?, ttl_ms = ?, expires_ms = ? WHERE id = ?"
)


class Base(Enum):
    """What becomes of a value's base at the end of a transaction."""

    STAYS = "it is as it was"
    ENTRY = "an entry of this transaction is the base"
    ROLLED_UP = "the value itself becomes the base"


class Kept(NamedTuple):
    """A value as it will be stored. id: its row, None if it has none yet. The others: see `sqlite_schema`."""

    id: int | None
    held: Held
    base: Base
    based: int
    delta_count: int
    delta_bytes: int


class ValueCache:
    """The values that one `Store` has changed lately. Belongs to its thread."""

    def __init__(self) -> None:
        self._cache: OrderedDict[Key, Held] = OrderedDict()
        self._cache_bytes = 0

    def get(self, key: Key, offset: int) -> Held | None:
        """The value as of its change at `offset`, if it is known."""
        held = self._cache.get(key)
        return held if held is not None and held.offset == offset else None

    def put(self, key: Key, held: Held) -> None:
        """Remember a value that was committed; of a deletion there is nothing to remember."""
        before = self._cache.pop(key, None)
        if before is not None:
            self._cache_bytes -= before.size_bytes + CACHED_OVERHEAD_BYTES
        if held.value is MISSING:
            return
        self._cache[key] = held
        self._cache_bytes += held.size_bytes + CACHED_OVERHEAD_BYTES
        while self._cache_bytes > CACHE_BYTES:
            _, oldest = self._cache.popitem(last=False)
            self._cache_bytes -= oldest.size_bytes + CACHED_OVERHEAD_BYTES


class Changing:
    """The values that one transaction changes. `mark` and `back_to`: a batch that is refused leaves nothing behind."""

    def __init__(self, connection: sqlite3.Connection, values: ValueCache) -> None:
        self._connection = connection
        self._values = values
        self._kept: dict[Key, Kept] = {}
        self._undo: list[tuple[Key, Kept | None]] = []
        self._ids: dict[Key, int] = {}

    def mark(self) -> None:
        """From here on, `back_to_mark` undoes."""
        self._undo.clear()

    def back_to_mark(self) -> None:
        for key, kept in reversed(self._undo):
            if kept is None:
                self._kept.pop(key, None)
            else:
                self._kept[key] = kept
        self._undo.clear()

    def change(self, draft: Draft, offset: int) -> tuple[Key, int, Draft]:
        """Apply a draft's change. Returns which value it is, how large that is at most, and the draft to append.

        Raises what `clarion.held.revised` raises.
        """
        told = said(draft.body)
        key = (draft.topic, told.subject)
        before = self._kept.get(key)
        if before is None:
            before = self._stored(key, draft.created_ms)
        held_before = None if before is None else before.held
        held = revised(held_before, draft, told, offset)
        draft = as_told(held_before, draft, told, held)
        self._undo.append((key, self._kept.get(key)))
        self._kept[key] = _next(before, held, draft.change, len(told.data))
        return key, held.size_bytes, draft

    def write(self) -> None:
        """Store what was changed, within the transaction."""
        for key, kept in self._kept.items():
            held, row = kept.held, kept.id
            base = None
            if kept.base is Base.ROLLED_UP:  # as of the last change, whichever it was that made it due
                base = json.encode(held.value)
                held = held._replace(size_bytes=len(base), counted_bytes=len(base))
                kept = self._kept[key] = kept._replace(held=held, based=held.offset, delta_count=0, delta_bytes=0)
            facts = (held.name, held.offset, kept.based)
            more = (
                held.size_bytes,
                kept.delta_count,
                kept.delta_bytes,
                held.value is MISSING,
                held.ttl_ms,
                held.expires_ms,
            )
            if row is None:
                found = self._connection.execute(_INSERT, (*key, *facts, 0, *more)).lastrowid
                assert found is not None
                row = found
            else:
                self._connection.execute(_UPDATE, (*facts, *more, row))
            self._ids[key] = row
            if base is not None:
                self._connection.execute("INSERT OR REPLACE INTO value_bases (id, data) VALUES (?, ?)", (row, base))
            elif kept.base is Base.ENTRY:
                self._connection.execute("DELETE FROM value_bases WHERE id = ?", (row,))
        if self._kept:
            self._connection.execute(
                "UPDATE meta SET last_change = ?", (max(k.held.offset for k in self._kept.values()),)
            )

    def row_of(self, key: Key) -> int:
        """The row of a value, after `write`."""
        return self._ids[key]

    def committed(self) -> None:
        """Remember what is stored now."""
        for key, kept in self._kept.items():
            self._values.put(key, kept.held)

    def _stored(self, key: Key, now_ms: int) -> Kept | None:
        facts = find(self._connection, *key)
        if facts is None:
            return None
        if facts.is_over(now_ms):
            return _kept(facts, facts.held(MISSING))  # retention may have taken away some of it by now
        held = self._values.get(key, facts.changed)
        if held is None:
            held = facts.held(load(self._connection, facts))
        return _kept(facts, held)


def _kept(facts: Facts, held: Held) -> Kept:
    return Kept(facts.id, held, Base.STAYS, facts.based, facts.delta_count, facts.delta_bytes)


def _next(before: Kept | None, held: Held, change: Change, size: int) -> Kept:
    row = None if before is None else before.id
    if before is None or change in (Change.SET, Change.DELETE):
        return Kept(row, held, Base.ENTRY, held.offset, 0, 0)
    count, total = before.delta_count + 1, before.delta_bytes + size
    base_bytes = held.size_bytes - total  # about: sizes are counted up, change by change
    is_due = count >= ROLL_UP_DELTAS or total >= max(ROLL_UP_BYTES, base_bytes)
    return Kept(row, held, Base.ROLLED_UP if is_due else before.base, before.based, count, total)

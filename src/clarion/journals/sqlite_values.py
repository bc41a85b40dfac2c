"""The values in an SQLite journal, read: a base and the changes after it, folded when they are asked for."""

# ruff: noqa: S608 (queries are put together from constants of this package; values are always bound)

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from clarion import json
from clarion.changes import said
from clarion.held import Held
from clarion.journals.base import CHANGED_OVERHEAD_BYTES, Changed, Values
from clarion.journals.sqlite_topics import terms_of
from clarion.topics import TopicSet
from clarion.values import MISSING, Change, Folding, applied

_TOPICS_AT_ONCE: Final = 200  # names in one statement: any SQLite takes 999
_ROWS_AT_ONCE: Final = 512  # of `topic_values`: more than most pages of values hold

_COLUMNS = (
    "id, topic, subject, name, changed, based, cleaned, size_bytes, delta_count, delta_bytes, deleted, ttl_ms, "
    "expires_ms"
)
_BY_NAME = f"SELECT {_COLUMNS} FROM topic_values WHERE topic = ? AND subject = ?"
_BASE = "SELECT data FROM value_bases WHERE id = ?"
_BASE_ENTRY = "SELECT frame FROM entries WHERE offset = ?"
_DELTAS = "SELECT frame FROM entries WHERE value = ? AND offset > ? ORDER BY offset"


class Facts(NamedTuple):
    """A row of `topic_values`; see `clarion.journals.sqlite_schema`."""

    id: int
    topic: str
    subject: str
    name: str
    changed: int
    based: int
    cleaned: int
    size_bytes: int
    delta_count: int
    delta_bytes: int
    deleted: int
    ttl_ms: int | None
    expires_ms: int | None

    def is_over(self, now_ms: int) -> bool:
        """Whether its time is over: of a value that it is no more, of a deletion that it need not be known."""
        return self.expires_ms is not None and self.expires_ms <= now_ms

    def held(self, value: Any) -> Held:
        """The value itself, with what is known of it."""
        counted = max(0, self.size_bytes - self.delta_bytes)
        return Held(self.name, value, self.changed, self.size_bytes, counted, self.ttl_ms, self.expires_ms)


def find(connection: sqlite3.Connection, topic: str, subject: str) -> Facts | None:
    """What is known of a value."""
    row = connection.execute(_BY_NAME, (topic, subject)).fetchone()
    return None if row is None else Facts(*row)


def load(connection: sqlite3.Connection, facts: Facts) -> Any:
    """The value. Costs its size, and a bounded number of changes since its base."""
    if facts.deleted:
        return MISSING
    base = connection.execute(_BASE, (facts.id,)).fetchone()
    if base is not None:
        value = json.decode(base[0])
    else:
        (frame,) = connection.execute(_BASE_ENTRY, (facts.based,)).fetchone()
        value = json.decode(said(frame).data)
    if facts.changed == facts.based:
        return value
    for (frame,) in connection.execute(_DELTAS, (facts.id, facts.based)):
        change = said(frame)
        value = applied(value, change.change, json.decode(change.data))
    return value


def read_values(
    connection: sqlite3.Connection, topics: TopicSet | None, after: int, exact: bool, max_bytes: int, now_ms: int
) -> Values:
    """See `Journal.values`."""
    connection.execute("BEGIN")  # all that is read is as of one moment
    try:
        newest, forgotten = connection.execute("SELECT newest, forgotten FROM meta").fetchone()
        changed: list[Changed] = []
        size = 0
        for facts in _changed_after(connection, topics, after):
            if not after if facts.deleted else facts.is_over(now_ms):
                continue
            if size >= max_bytes:
                return Values(changed, newest, False, forgotten)
            one = _since(connection, facts, after) if exact else None
            if one is None:
                one = _whole(connection, facts)
            changed.append(one)
            size += len(one.data) + CHANGED_OVERHEAD_BYTES
        return Values(changed, newest, True, forgotten)
    finally:
        connection.execute("ROLLBACK")


def _whole(connection: sqlite3.Connection, facts: Facts) -> Changed:
    if facts.deleted:
        return Changed(facts.topic, facts.subject, facts.name, facts.changed, Change.DELETE, b"null")
    data = json.encode(load(connection, facts))
    return Changed(facts.topic, facts.subject, facts.name, facts.changed, Change.SET, data)


def _since(connection: sqlite3.Connection, facts: Facts, after: int) -> Changed | None:
    """What was done to a value after an offset, if that is known, is one change, and is smaller than the value."""
    if after < facts.based or facts.deleted:
        return None
    folding = Folding()
    size = 0
    for (frame,) in connection.execute(_DELTAS, (facts.id, after)):
        change = said(frame)
        size += len(change.data)
        if size >= facts.size_bytes or not folding.add(change.change, json.decode(change.data)):
            return None
    if folding.folded is None:
        return None
    kind, delta = folding.folded
    return Changed(facts.topic, facts.subject, facts.name, facts.changed, kind, json.encode(delta))


def _changed_after(connection: sqlite3.Connection, topics: TopicSet | None, after: int) -> Iterator[Facts]:
    """The values of `topics` that were changed after an offset, in the order of their last changes."""
    if topics is not None and not topics.patterns:
        found: list[Facts] = []
        for start in range(0, len(topics.exact), _TOPICS_AT_ONCE):
            names = topics.exact[start : start + _TOPICS_AT_ONCE]
            marks = ",".join("?" * len(names))
            query = f"SELECT {_COLUMNS} FROM topic_values WHERE topic IN ({marks}) AND changed > ?"
            found += [Facts(*row) for row in connection.execute(query, (*names, after))]
        found.sort(key=lambda facts: facts.changed)
        yield from found
        return
    terms, values = (None if topics is None else terms_of(topics, _TOPICS_AT_ONCE)) or ("TRUE", [])
    query = f"SELECT {_COLUMNS} FROM topic_values WHERE changed > ? AND {terms} ORDER BY changed LIMIT {_ROWS_AT_ONCE}"
    while True:
        rows = [Facts(*row) for row in connection.execute(query, (after, *values)).fetchall()]
        for facts in rows:
            if topics is None or topics.matches(facts.topic):
                yield facts
        if len(rows) < _ROWS_AT_ONCE:
            return
        after = rows[-1].changed

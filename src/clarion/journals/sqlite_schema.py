"""The format of a journal's SQLite file, and how older ones become it."""

from __future__ import annotations

import os
import sqlite3
from typing import Final

from clarion.position import epoch_from

APPLICATION_ID: Final = int.from_bytes(b"Clrn", "big")  # what `file(1)` and we know our files by
SCHEMA_VERSION: Final = 2

# offset: a plain rowid, numbered by `meta.newest`, so no number is ever used twice, whatever is taken away.
# kind: of an entry: 0 an event, 1 an ephemeral one, 2 and up a change of a value (1 + `clarion.values.Change`); then
#     `value` is the row of `topic_values`, and `value_bytes` how large the value is after it.
# entries_by_topic: ends in the rowid, so each topic's entries are found in order from any offset on. (`kind` is
#     in it so that SQLite sees that it need not look into the table.)
# topic_values: changed: its last change. based: its value is the base (`value_bases`, or else what the entry at `based`
#     sets) and the changes after that. cleaned: its changes before this are gone. size_bytes: of the value, at most.
# trimmed: what is left of an entry that retention took away, to tell exactly how many a reader missed.
_VALUES = """
CREATE INDEX entries_by_value ON entries (value) WHERE value IS NOT NULL;
CREATE TABLE topic_values (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    subject TEXT NOT NULL,
    name TEXT NOT NULL,
    changed INTEGER NOT NULL,
    based INTEGER NOT NULL,
    cleaned INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    delta_count INTEGER NOT NULL,
    delta_bytes INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    ttl_ms INTEGER,
    expires_ms INTEGER
);
CREATE UNIQUE INDEX values_by_topic ON topic_values (topic, subject);
CREATE INDEX values_by_change ON topic_values (changed);
CREATE INDEX values_by_expiry ON topic_values (expires_ms) WHERE expires_ms IS NOT NULL;
CREATE INDEX values_to_clean ON topic_values (cleaned) WHERE cleaned < based;
CREATE TABLE value_bases (
    id INTEGER PRIMARY KEY,
    data BLOB NOT NULL
);
"""

_EVENTS = """
CREATE TABLE meta (
    epoch TEXT NOT NULL,
    newest INTEGER NOT NULL,
    kept_entries INTEGER NOT NULL,
    kept_bytes INTEGER NOT NULL,
    trimmed_entries INTEGER NOT NULL,
    trimmed_through INTEGER NOT NULL,
    trimmed_floor INTEGER NOT NULL,
    last_change INTEGER NOT NULL,
    forgotten INTEGER NOT NULL
);
CREATE TABLE entries (
    offset INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    kind INTEGER NOT NULL,
    frame BLOB NOT NULL,
    value INTEGER,
    value_bytes INTEGER
);
CREATE INDEX entries_by_topic ON entries (topic, kind) WHERE kind = 0;
CREATE INDEX entries_by_expiry ON entries (expires_ms) WHERE expires_ms IS NOT NULL;
CREATE INDEX ephemeral_entries ON entries (kind) WHERE kind = 1;
CREATE TABLE trimmed (
    topic TEXT NOT NULL,
    offset INTEGER NOT NULL,
    expires_ms INTEGER,
    PRIMARY KEY (topic, offset)
) WITHOUT ROWID;
CREATE INDEX trimmed_by_offset ON trimmed (offset);
CREATE TABLE keys (
    topic TEXT NOT NULL,
    key TEXT NOT NULL,
    offset INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (topic, key)
) WITHOUT ROWID;
CREATE INDEX keys_by_age ON keys (created_ms);
"""

# From version 1, which had no values.
_UPGRADE = """
ALTER TABLE entries RENAME COLUMN ephemeral TO kind;
ALTER TABLE entries ADD COLUMN value INTEGER;
ALTER TABLE entries ADD COLUMN value_bytes INTEGER;
ALTER TABLE meta ADD COLUMN last_change INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
"""


def create(connection: sqlite3.Connection) -> None:
    """Make an empty database a journal, within a transaction."""
    _run(connection, _EVENTS + _VALUES)
    connection.execute("INSERT INTO meta VALUES (?, 0, 0, 0, 0, 0, 0, 0, 0)", (epoch_from(os.urandom(8)),))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def upgrade(connection: sqlite3.Connection) -> None:
    """Make a journal of version 1 one of this version, within a transaction. Nothing in it changes its meaning."""
    _run(connection, _UPGRADE + _VALUES)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _run(connection: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";"):
        connection.execute(statement)

"""What of the values in an SQLite journal nobody needs any more: changes before a base, and values whose time is over.

Steps of retention (`clarion.journals.sqlite_retention`), each a bounded transaction. None of it counts as missed: who
comes back from before is told the value.
"""

from __future__ import annotations

from typing import Final

from clarion.journals.sqlite_store import Store

VALUES_AT_ONCE: Final = 128  # in one step: some milliseconds
CHANGES_AT_ONCE: Final = 2_048

# Both from the front of an index: what is found is what there is to do.
_TO_CLEAN = (
    "SELECT id, min(based, ?1) FROM topic_values WHERE cleaned < based AND cleaned < ?1 ORDER BY cleaned LIMIT ?2"
)
_OVER = (
    "SELECT id, changed, deleted FROM topic_values WHERE expires_ms <= ? AND changed <= ? ORDER BY expires_ms LIMIT ?"
)
_CHANGES = "SELECT offset FROM entries WHERE value = ? AND offset < ? ORDER BY offset LIMIT ?"
_CHANGES_NEWEST_FIRST = "SELECT offset FROM entries WHERE value = ? ORDER BY offset DESC LIMIT ?"


def clean(store: Store, until: int) -> bool:
    """Delete changes that a base has replaced, up to offset `until`. Whether there may be more."""
    connection = store.connection
    if connection.execute(_TO_CLEAN, (until, 1)).fetchone() is None:
        return False
    with store.transaction(durable=False):
        left = CHANGES_AT_ONCE
        for value, before in connection.execute(_TO_CLEAN, (until, VALUES_AT_ONCE)).fetchall():
            offsets = connection.execute(_CHANGES, (value, before, left)).fetchall()
            connection.executemany("DELETE FROM entries WHERE offset = ?", offsets)
            left -= len(offsets)
            if left <= 0:
                return True
            connection.execute("UPDATE topic_values SET cleaned = ? WHERE id = ?", (before, value))
    return True


def let_go(store: Store, until: int, now_ms: int) -> bool:
    """Delete values that are over and were not changed after offset `until`. Whether there may be more."""
    connection = store.connection
    if connection.execute(_OVER, (now_ms, until, 1)).fetchone() is None:
        return False
    with store.transaction(durable=False):
        for value, changed, deleted in connection.execute(_OVER, (now_ms, until, VALUES_AT_ONCE)).fetchall():
            # The base goes last, so that what is left of a value can be read at any time.
            offsets = connection.execute(_CHANGES_NEWEST_FIRST, (value, CHANGES_AT_ONCE)).fetchall()
            connection.executemany("DELETE FROM entries WHERE offset = ?", offsets)
            if len(offsets) == CHANGES_AT_ONCE:
                return True
            connection.execute("DELETE FROM value_bases WHERE id = ?", (value,))
            connection.execute("DELETE FROM topic_values WHERE id = ?", (value,))
            if deleted:
                connection.execute("UPDATE meta SET forgotten = max(forgotten, ?)", (changed,))
    return True

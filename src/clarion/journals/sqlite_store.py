"""The writing side of an SQLite journal: one connection, synchronous. `append` is what makes an event durable."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from clarion import json
from clarion.errors import ClarionError, JournalError
from clarion.event import Draft, Entry
from clarion.journals.base import KEY_WINDOW_SECONDS, Appended
from clarion.journals.sqlite_changing import Changing, Key, ValueCache
from clarion.journals.sqlite_file import JournalFile
from clarion.journals.sqlite_values import find, load
from clarion.values import Change
from clarion.wire import event_frame

Row = tuple[int, str, int, int | None, int, bytes, int | None]  # columns of `entries`, in their order

EVENT: Final = 0  # kinds of entries; those of changes are the numbers of `Change`, and this more:
EPHEMERAL: Final = 1

_INSERT = (
    "INSERT INTO entries (offset, topic, created_ms, expires_ms, kind, frame, value_bytes, value) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_REMEMBER_KEY = "INSERT OR REPLACE INTO keys (topic, key, offset, created_ms) VALUES (?, ?, ?, ?)"
_FIND_KEY = "SELECT offset FROM keys WHERE topic = ? AND key = ? AND created_ms > ?"
_HELD = "SELECT newest, kept_entries, kept_bytes FROM meta"
_GROWN = "UPDATE meta SET newest = ?, kept_entries = kept_entries + ?, kept_bytes = kept_bytes + ?"

# What SQLite's binding says of values that no valid draft holds: the fault of one batch, not of the file.
_DRAFT_FAULTS = (
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    sqlite3.DataError,
    AttributeError,
    OverflowError,
    TypeError,
    ValueError,
)


class Group(NamedTuple):
    """What became of batches that were appended together.

    outcomes: for each batch what became of its drafts, or why it was refused.
    commits: what is new, in order, for each transaction by itself: those of other processes may lie in between.
    """

    outcomes: list[list[Appended] | ClarionError]
    commits: list[list[Entry]]


def refused(batches: int, error: JournalError) -> Group:
    """What became of so many batches if none was appended. An error for each: tracebacks grow on what is raised."""
    return Group([type(error)(str(error)) for _ in range(batches)], [])


class Store:
    """The writer of an open `JournalFile`. Not for use by two threads at once; other processes may write as well.

    newest: the newest offset given. kept_entries, kept_bytes: what the file holds, ephemeral entries left out. All
    three as of the last `append` or `refresh`.
    """

    def __init__(self, file: JournalFile) -> None:
        self._file = file
        self._values = ValueCache()
        self.connection = file.connect()
        self.newest = 0
        self.kept_entries = 0
        self.kept_bytes = 0

    def close(self) -> None:
        """Close the connection; the last one of all processes also copies the write-ahead log into the file."""
        self.connection.close()

    def append(self, batches: Sequence[Sequence[Draft]]) -> Group:
        """Append all batches, durable when this returns. A batch stands whole or not at all.

        All in one transaction, or in a few if one of the batches is at fault: the others do not suffer by it.
        Raises `JournalError` if nothing could be appended.
        """
        self._file.check()
        try:
            return self._append(batches)
        except _DRAFT_FAULTS as error:
            if len(batches) == 1:
                return refused(1, JournalError(f"the journal cannot hold this batch: {error}"))
            return self._append_halves(batches)
        except sqlite3.Error as error:
            raise self._file.told(error, "append to") from error

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """One writing transaction. `durable=False`: a power cut may undo it; it costs no wait for the disk.

        Each sets its own level (2 us), and begins only at that: whatever went wrong before, `durable` is kept.
        """
        self._roll_back()  # what could not be when it failed
        self.connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield
            self.connection.execute("COMMIT")
        finally:
            self._roll_back()

    def value(self, topic: str, subject: str, now_ms: int) -> Any:
        """A value as of now; None where there is none. Raises `JournalError`."""
        self._file.check()
        try:
            self._roll_back()  # what could not be when it failed
            self.connection.execute("BEGIN")
            try:
                facts = find(self.connection, topic, subject)
                if facts is None:
                    return None
                held = self._values.get((topic, subject), facts.changed)
                if held is None:
                    held = facts.held(load(self.connection, facts))
            finally:
                self._roll_back()
        except sqlite3.Error as error:
            raise self._file.told(error, "read") from error
        return json.decode(json.encode(held.value)) if held.lives(now_ms) else None  # not what the cache has

    def refresh(self) -> None:
        """Look up what the file holds now; within a transaction, or as of any moment."""
        self.newest, self.kept_entries, self.kept_bytes = self.connection.execute(_HELD).fetchone()

    def _roll_back(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def _append_halves(self, batches: Sequence[Sequence[Draft]]) -> Group:
        """Never raises: what the one half could not do says nothing of the other, which may be on the disk."""
        middle = len(batches) // 2
        both = Group([], [])
        for half in (batches[:middle], batches[middle:]):
            try:
                group = self.append(half)
            except JournalError as error:
                group = refused(len(half), error)
            both.outcomes.extend(group.outcomes)
            both.commits.extend(group.commits)
        return both

    def _append(self, batches: Sequence[Sequence[Draft]]) -> Group:
        with self.transaction():
            work = _Numbering(self.connection, self._file.epoch, Changing(self.connection, self._values))
            outcomes = [work.add(batch) for batch in batches]
            if work.rows:
                work.changing.write()
                self.connection.executemany(_INSERT, work.stored_rows())
                self.connection.execute(_GROWN, (work.newest, work.kept_entries, work.kept_bytes))
            if work.keys:
                self.connection.executemany(_REMEMBER_KEY, work.keys)
        work.changing.committed()
        self.newest = work.newest
        self.kept_entries = work.kept_entries_before + work.kept_entries
        self.kept_bytes = work.kept_bytes_before + work.kept_bytes
        return Group(outcomes, [[entry_of(row) for row in work.rows]] if work.rows else [])


class _Numbering:
    """Gives the drafts of one transaction their offsets, and applies their changes."""

    def __init__(self, connection: sqlite3.Connection, epoch: str, changing: Changing) -> None:
        self._connection = connection
        self._epoch = epoch
        self._fresh: dict[tuple[str, str], int] = {}
        self._changed: dict[int, Key] = {}  # the values of the rows that change one
        self.changing = changing
        self.newest, self.kept_entries_before, self.kept_bytes_before = connection.execute(_HELD).fetchone()
        self.rows: list[Row] = []
        self.keys: list[tuple[str, str, int, int]] = []
        self.kept_entries = 0
        self.kept_bytes = 0

    def add(self, batch: Sequence[Draft]) -> list[Appended] | ClarionError:
        """Add a batch, or say why a change in it is refused; then nothing of the batch is added."""
        before = (self.newest, self.kept_entries, self.kept_bytes, len(self.rows), len(self.keys))
        self.changing.mark()
        try:
            return [self._add(draft) for draft in batch]
        except ClarionError as error:
            self.newest, self.kept_entries, self.kept_bytes, rows, keys = before
            del self.rows[rows:]
            for topic, key, _, _ in self.keys[keys:]:
                del self._fresh[topic, key]
            del self.keys[keys:]
            self.changing.back_to_mark()
            return error.with_traceback(None)

    def _add(self, draft: Draft) -> Appended:
        if draft.key is not None and (first := self._first_of(draft, draft.key)) is not None:
            return Appended(first, True)
        offset = self.newest + 1
        row: Row
        if draft.change:
            self._changed[offset], size, draft = self.changing.change(draft, offset)
            frame = event_frame(self._epoch, offset, draft.body)
            row = (offset, draft.topic, draft.created_ms, None, EPHEMERAL + draft.change, frame, size)
        else:
            frame = event_frame(self._epoch, offset, draft.body)
            kind = EPHEMERAL if draft.ephemeral else EVENT
            row = (offset, draft.topic, draft.created_ms, draft.expires_ms, kind, frame, None)
            if not draft.ephemeral:
                self.kept_entries += 1
                self.kept_bytes += len(frame)
        self.newest = offset
        self.rows.append(row)
        if draft.key is not None:
            self._fresh[draft.topic, draft.key] = offset
            self.keys.append((draft.topic, draft.key, offset, draft.created_ms))
        return Appended(offset, False)

    def stored_rows(self) -> Iterator[tuple[object, ...]]:
        """The rows as they are stored, after `changing.write`: each change with the row of its value."""
        for row in self.rows:
            yield (*row, None if row[6] is None else self.changing.row_of(self._changed[row[0]]))

    def _first_of(self, draft: Draft, key: str) -> int | None:
        """The offset of the first entry with this key, if it was within the window."""
        fresh = self._fresh.get((draft.topic, key))
        if fresh is not None:
            return fresh
        row = self._connection.execute(
            _FIND_KEY, (draft.topic, key, draft.created_ms - KEY_WINDOW_SECONDS * 1000)
        ).fetchone()
        return None if row is None else int(row[0])


def entry_of(row: Row) -> Entry:
    """The entry that a row of `entries` holds."""
    offset, topic, created_ms, expires_ms, kind, frame, value_bytes = row
    if kind <= EPHEMERAL:
        return Entry(offset, topic, frame, created_ms, expires_ms, kind == EPHEMERAL)
    return Entry(offset, topic, frame, created_ms, change=Change(kind - EPHEMERAL), value_bytes=value_bytes or 0)

"""A journal's SQLite file: how it is found, made, recognised and opened, and what its errors mean.

One file with a write-ahead log beside it (`-wal`, `-shm`), in the format of `sqlite_schema`. Every connection to it is
made here, and every error of SQLite is told here in the words of `clarion.errors`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final
from urllib.parse import quote

from clarion.errors import JournalDamaged, JournalError, JournalForeign, JournalFull, JournalUnavailable
from clarion.journals.sqlite_schema import APPLICATION_ID, SCHEMA_VERSION, create, upgrade

BUSY_TIMEOUT_MS: Final = 5_000  # other writers hold the lock for milliseconds; who holds it longer is not one of us
OLDEST_SQLITE: Final = (3, 28, 0)  # window functions, and their early mistakes mended
WAL_BYTES_KEPT: Final = 64 * 1024**2  # what a burst made of the log is given back to the disk above this

# Which process opened which files, as (process id, device, inode). SQLite's table of file locks is one per process and
# is copied by fork without the locks themselves, so what was open at the fork must not be opened again in the child.
_opened: dict[tuple[int, int, int], int] = {}


class JournalFile:
    """One process's hold on a journal's file. `open` first; then `connect` as often as needed, from any thread.

    path: absolute. epoch: the numbering's name, valid after `open`.
    """

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> None:
        self.path = str(Path(path).absolute())
        self.epoch = ""
        self._busy_timeout_ms = busy_timeout_ms
        self._identity = (0, 0, 0)

    def open(self) -> None:
        """Make the file if it is not there, and make sure it is a journal. Several processes may do so at once."""
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise JournalUnavailable(f"Python's SQLite is {sqlite3.sqlite_version}; 3.28 or newer is needed")
        self._check_place()
        try:
            connection = self._connect("rwc")
            try:
                self._identity = (os.getpid(), *self._present())
                self._check_fork()
                self.epoch = self._prepare(connection)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise self.told(error, "open") from error
        _opened[self._identity] = _opened.get(self._identity, 0) + 1

    def close(self) -> None:
        """Let go, after all connections are closed."""
        users = _opened.pop(self._identity, 0)
        if users > 1:
            _opened[self._identity] = users - 1

    def connect(self, *, reading: bool = False) -> sqlite3.Connection:
        """A connection to the file, durable at each commit. It may be handed from one thread to another."""
        try:
            connection = self._connect("rw")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
            connection.execute("PRAGMA secure_delete = FAST")  # some builds overwrite all that is deleted
            if reading:
                connection.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            raise self.told(error, "open") from error
        return connection

    def check(self) -> None:
        """Raise `JournalUnavailable` if the file was deleted or replaced, or if this is a forked child. Costs 2 us."""
        self.check_process()
        if self._present() != self._identity[1:]:
            raise JournalUnavailable(
                f"the journal {self.path} was deleted or replaced while it was open; "
                "what was published to it is only in the old file. Restart to go on with what is there now"
            )

    def check_process(self) -> None:
        """Raise `JournalUnavailable` if this is a forked child: connections to SQLite must not be carried over."""
        if self.is_carried:
            raise JournalUnavailable(
                f"the journal {self.path} was opened by process {self._identity[0]}, before the fork of this one; "
                "open it after the fork"
            )

    @property
    def is_carried(self) -> bool:
        """Whether the process that opened this is another one."""
        return self._identity[0] != os.getpid()

    def told(self, error: Exception, doing: str) -> JournalError:
        """What `error` means, in the words of `clarion.errors`."""
        where = f"cannot {doing} the journal {self.path}"
        kind, why = _meaning(getattr(error, "sqlite_errorcode", 0), doing, self._busy_timeout_ms)
        return kind(f"{where}: {why} ({error})")

    def _connect(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{quote(self.path)}?mode={mode}",
            uri=True,
            timeout=self._busy_timeout_ms / 1000,
            isolation_level=None,
            check_same_thread=False,
        )

    def _present(self) -> tuple[int, int]:
        try:
            found = os.stat(self.path)  # noqa: PTH116 (three times as fast as Path.stat, and done at every commit)
        except OSError:
            return (0, 0)
        return (found.st_dev, found.st_ino)

    def _check_fork(self) -> None:
        pid, *file = self._identity
        for other_pid, *other_file in _opened:
            if other_pid != pid and other_file == file:
                raise JournalUnavailable(
                    f"the journal {self.path} was open in process {other_pid} when this process was forked from it; "
                    "SQLite cannot lock it safely here. Fork before it is opened, or start this process by spawn"
                )

    def _check_place(self) -> None:
        """The mistakes that SQLite tells only as "unable to open database file"."""
        path = Path(self.path)
        if path.is_dir():
            raise JournalUnavailable(f"the journal {path} is a directory; name a file in it")
        if not path.parent.is_dir():
            raise JournalUnavailable(f"the directory of the journal {path} does not exist; create it")
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            raise JournalUnavailable(f"the journal {path} is not writable for this user; change its owner or its mode")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise JournalUnavailable(
                f"the directory of the journal {path} is not writable for this user, "
                "and the journal keeps its write-ahead log beside itself; change its owner or its mode"
            )

    def _prepare(self, connection: sqlite3.Connection) -> str:
        """Recognise the file, or make it if it is empty. Returns the epoch."""
        with _transaction(connection, "BEGIN"):  # of one moment: another process may be making the file
            version = self._recognise(connection)
        if version != SCHEMA_VERSION:
            with _transaction(connection, "BEGIN IMMEDIATE"):
                version = self._recognise(connection)
                if not version:
                    create(connection)
                elif version < SCHEMA_VERSION:
                    upgrade(connection)
        self._use_write_ahead_log(connection)
        row = connection.execute("SELECT epoch FROM meta").fetchone()
        if row is None:
            raise JournalDamaged(f"the journal {self.path} has lost its first page of facts (table meta is empty)")
        return str(row[0])

    def _recognise(self, connection: sqlite3.Connection) -> int:
        """The version of the format, if the file is a journal of ours; 0 if it is empty. Anything else raises."""
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application == APPLICATION_ID:
            if version > SCHEMA_VERSION:
                raise JournalForeign(
                    f"the journal {self.path} has format {version}, this Clarion reads up to {SCHEMA_VERSION}; "
                    "upgrade Clarion or use another file"
                )
            return int(version)
        if application or version or tables:
            raise JournalForeign(f"{self.path} is a database of another program; name another file for the journal")
        return 0

    def _use_write_ahead_log(self, connection: sqlite3.Connection) -> None:
        """Done once in a file's life. SQLite does not wait for others here by itself, so this does."""
        deadline = monotonic() + self._busy_timeout_ms / 1000
        while True:
            try:
                mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
                break
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > deadline:
                    raise
                sleep(0.005)
        if mode != "wal":
            raise JournalUnavailable(
                f"the file system of the journal {self.path} cannot share memory between processes, "
                f"which a write-ahead log needs (SQLite chose {mode!r}); use a local disk"
            )


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _meaning(code: int, doing: str, busy_timeout_ms: int) -> tuple[type[JournalError], str]:
    """The kind of an SQLite result code (https://sqlite.org/rescode.html), and what to do about it."""
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return JournalFull, "there is no space left; free some, or keep less by retention"
    if code in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE):
        # Only "no space" has a code of its own; a quota, a limit on file sizes and a failing disk all come as these.
        return JournalFull, "the system refused a write; look for a full disk, a quota or a limit on file sizes"
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return (
            JournalUnavailable,
            f"another program has held its lock for more than {busy_timeout_ms} ms; find and end it",
        )
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return JournalUnavailable, "it is read-only for this user; change its owner or its mode, or the mount's"
    if primary == sqlite3.SQLITE_CANTOPEN:
        return JournalUnavailable, "it cannot be opened; look at the modes of the file and its directory"
    if primary == sqlite3.SQLITE_NOTADB and doing == "open":
        return JournalForeign, "it is not an SQLite database; name another file for the journal"
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
        return JournalDamaged, "the file is damaged; put it aside, save what `sqlite3 FILE .recover` finds, start anew"
    if primary == sqlite3.SQLITE_IOERR:
        return JournalUnavailable, "the disk or the file system failed; look at the system's log"
    return JournalUnavailable, "SQLite refused"

"""Where a cursor is kept over the end of the program."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Protocol

from clarion.client.errors import CursorUnreadable
from clarion.client.places import MAX_ID_BYTES, is_sendable

NEW_SUFFIX: Final = ".new"  # of the file that is written before it takes the other's place


class CursorStore(Protocol):
    """Keeps one text: how far one reader of one stream has got. One source uses it, one call at a time.

    `blocking`: whether the calls may wait for a disk or a network; an `AsyncSource` then makes them in a thread.
    """

    blocking: bool

    def load(self) -> str:
        """The text kept last; empty if there is none. What it raises, opening the source raises."""
        ...

    def save(self, last_event_id: str) -> None:
        """Keep a text in place of the one before. What it raises is reported, and the stream goes on."""
        ...


class MemoryCursor:
    """Keeps a cursor as long as the program runs: for a source that is made anew."""

    blocking = False

    def __init__(self, last_event_id: str = "") -> None:
        self._last_event_id = last_event_id

    def load(self) -> str:
        """See `CursorStore.load`."""
        return self._last_event_id

    def save(self, last_event_id: str) -> None:
        """See `CursorStore.save`."""
        self._last_event_id = last_event_id


class FileCursor:
    """Keeps a cursor in a file of its own, which holds either the old or the new one, whenever the power goes.

    Each save waits for the disk (`fsync`): some milliseconds on most. See `SourceOptions.commit_interval_seconds`. The
    file is readable by its owner alone. Two sources must not share it.
    """

    blocking = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._new = self._path.with_name(self._path.name + NEW_SUFFIX)

    def load(self) -> str:
        """Read it. Raises `CursorUnreadable` if the file cannot be read or holds something else."""
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_ID_BYTES + 2)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise CursorUnreadable(f"the cursor file {self._path} cannot be read: {error.strerror}") from error
        try:
            last_event_id = content.removesuffix(b"\n").decode()
        except UnicodeDecodeError:
            last_event_id = "\n"  # which none can have
        if not is_sendable(last_event_id):
            raise CursorUnreadable(f"the file {self._path} holds no cursor; remove it to start anew, or name another")
        return last_event_id

    def save(self, last_event_id: str) -> None:
        """Write it beside the old one, wait for the disk, and put it in its place. Raises `OSError`."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
        with open(os.open(self._new, flags, 0o600), "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(last_event_id.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._new.replace(self._path)
        self._sync_folder()

    def _sync_folder(self) -> None:
        """The new name is in the folder, which has to reach the disk as well; Windows has no call for it."""
        if os.name != "posix":
            return
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

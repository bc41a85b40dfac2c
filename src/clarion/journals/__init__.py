"""Journals: pick one by its URL. `clarion.journals.base` says what they all promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from clarion.journals.base import Journal

MEMORY: Final = "memory://"
SQLITE: Final = "sqlite:///"
KNOWN: Final = "memory://, sqlite:///relative/path.db, sqlite:////absolute/path.db"


def open_journal(url: str, *, now_ms: Callable[[], int] | None = None) -> Journal:
    """Make the journal that `url` names; `await journal.open(rules)` then opens it.

    now_ms: Unix time in milliseconds; the machine's by default.

    Raises `ValueError` for a URL that names none.
    """
    if url == MEMORY:
        from clarion.journals.memory import MemoryJournal

        return MemoryJournal() if now_ms is None else MemoryJournal(now_ms=now_ms)
    path = sqlite_path(url)
    if path is not None:
        from clarion.journals.sqlite import SqliteJournal

        return SqliteJournal(path) if now_ms is None else SqliteJournal(path, now_ms=now_ms)
    raise ValueError(f"no journal is known for {url!r}; known are: {KNOWN}")


def sqlite_path(url: str) -> Path | None:
    """The file that an SQLite journal's URL names; None if it is the URL of another kind of journal.

    Raises `ValueError` for one that names no file.
    """
    if not url.startswith("sqlite:"):
        return None
    name = url.removeprefix(SQLITE)
    if name == url or not name or name.startswith((":memory:", "?")):
        raise ValueError(f"{url!r} names no file; write one of: {KNOWN}")
    if "?" in name or "#" in name:
        raise ValueError(f"{url!r} has options or a fragment; the URL of an SQLite journal takes none")
    return Path(name)

"""Both journals keep the contract."""

from collections.abc import Callable
from pathlib import Path

from clarion.journals.base import Journal
from clarion.journals.memory import MemoryJournal
from clarion.journals.sqlite import SqliteJournal
from clarion.testing.journal_contract import JournalContract


class TestMemoryJournal(JournalContract):
    def make(self, place: Path, now_ms: Callable[[], int]) -> Journal:
        return MemoryJournal(now_ms=now_ms)


class TestSqliteJournal(JournalContract):
    def make(self, place: Path, now_ms: Callable[[], int]) -> Journal:
        return SqliteJournal(place / "events.db", now_ms=now_ms, follow_grace_ms=0)

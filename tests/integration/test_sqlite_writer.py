"""The thread that appends: no fault of anything ends it, and what it acknowledges is stored, passed on and durable."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from clarion.errors import JournalFull, JournalUnavailable
from clarion.event import Draft, draft
from clarion.journals.sqlite import SqliteJournal
from clarion.journals.sqlite_file import JournalFile
from clarion.journals.sqlite_store import Group, Store
from clarion.retention import Retention, RetentionRules

FULL, NORMAL = 2, 1  # what `PRAGMA synchronous` says
GOOD = draft("news", created_ms=1)
BAD = GOOD._replace(created_ms=2**70)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "events.db")
    await journal.open(RetentionRules(Retention()))
    yield journal
    await journal.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    file = JournalFile(tmp_path / "events.db")
    file.open()
    store = Store(file)
    yield store
    store.close()
    file.close()


def failing(*_: object, **__: object) -> None:
    raise ValueError("a bug")


async def append(journal: SqliteJournal, *drafts: Draft) -> list[int]:
    async with asyncio.timeout(5):
        return [one.offset for one in await journal.append(drafts)]


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110 - nothing tells when a thread has done it
            await asyncio.sleep(0.01)


async def test_a_fault_of_retention_stops_no_append(journal: SqliteJournal, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "clarion.journal")
    retaining = journal._writer._retaining
    works = retaining.step
    retaining.step = failing  # type: ignore[assignment]
    await until(lambda: bool(caplog.records))
    for n in range(1, 4):
        assert await append(journal, GOOD) == [n]
    await until(journal._writer._inbox.empty)
    assert [record.name for record in caplog.records] == ["clarion.journal"]  # once, not each time
    assert "retention" in caplog.text
    retaining.step = works  # type: ignore[method-assign]
    await until(lambda: not journal._writer._tidying_fails)


@pytest.mark.parametrize("part", ["_on_commit", "note"])
async def test_a_fault_after_the_commit_stops_nothing(
    part: str, journal: SqliteJournal, caplog: pytest.LogCaptureFixture
) -> None:
    writer = journal._writer
    setattr(writer if part == "_on_commit" else writer._retaining, part, failing)
    batches = journal.follow(0)
    followed: list[int] = []
    for n in range(1, 4):
        assert await append(journal, GOOD) == [n]
        async with asyncio.timeout(5):
            followed += [entry.offset for entry in await anext(batches)]
    assert followed == [1, 2, 3]
    await until(lambda: len(caplog.records) == 3)
    assert {record.name for record in caplog.records} == {"clarion.journal"}
    await batches.aclose()


async def test_a_draft_that_is_none_is_its_caller_s_fault(journal: SqliteJournal) -> None:
    with pytest.raises(AttributeError):
        await append(journal, "not a draft")  # type: ignore[arg-type]
    assert await append(journal, GOOD) == [1]


async def test_other_processes_commits_between_those_of_a_group_are_followed(
    journal: SqliteJournal, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clarion.journals.sqlite_follow.POLL_IDLE_SECONDS", 60)  # what is told counts, not the poll
    monkeypatch.setattr("clarion.journals.sqlite_follow.POLL_BUSY_SECONDS", 60)
    batches = journal.follow(0)
    waiting = asyncio.ensure_future(anext(batches))
    await append(journal, GOOD)
    followed = [entry.offset for entry in await waiting]
    waiting = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0.1)  # the watcher now waits
    own = journal._writer._store
    works = own._append

    def interrupted(drafts: Sequence[Sequence[Draft]]) -> Group:
        group = works(drafts)
        store.append([[GOOD]])
        return group

    monkeypatch.setattr(own, "_append", interrupted)
    first, fault, second = await asyncio.gather(
        append(journal, GOOD), append(journal, BAD), append(journal, GOOD), return_exceptions=True
    )
    assert isinstance(fault, Exception)
    assert (first, second) != ([2], [3])  # there is one of the other process between them
    async with asyncio.timeout(5):
        followed += [entry.offset for entry in await waiting]
        while followed[-1] < own.newest:
            followed += [entry.offset for entry in await anext(batches)]
    assert followed == list(range(1, followed[-1] + 1))
    await batches.aclose()


def test_a_half_that_fails_does_not_deny_what_the_other_has_stored(store: Store) -> None:
    pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
    store.connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    huge = draft("news", text="x" * 100_000, created_ms=1)
    stored, bad, full = store.append([[GOOD], [BAD], [huge]]).outcomes
    assert isinstance(stored, list)
    assert "cannot hold" in str(bad)
    assert isinstance(full, JournalFull)


def refuse_to_roll_back(connection: sqlite3.Connection) -> None:
    def authorizer(action: int, argument: str | None, *_: str | None) -> int:
        refused = action == sqlite3.SQLITE_TRANSACTION and argument == "ROLLBACK"
        return sqlite3.SQLITE_DENY if refused else sqlite3.SQLITE_OK

    connection.set_authorizer(authorizer)


def fail_without_waiting_for_the_disk(store: Store) -> None:
    with store.transaction(durable=False):
        store.connection.execute("DELETE FROM entries")
        raise ValueError("a bug")


def test_appends_are_durable_even_after_a_rollback_failed(store: Store) -> None:
    store.append([[GOOD]])
    refuse_to_roll_back(store.connection)
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        fail_without_waiting_for_the_disk(store)
    with pytest.raises(JournalUnavailable):
        store.append([[GOOD]])  # rather than with less than was promised
    store.connection.set_authorizer(None)
    (outcome,) = store.append([[GOOD]]).outcomes
    assert isinstance(outcome, list)
    assert outcome[0].offset == 2
    assert store.connection.execute("PRAGMA synchronous").fetchone()[0] == FULL  # cannot change in a transaction
    assert store.connection.execute("SELECT count(*) FROM entries").fetchone()[0] == 2  # nothing was deleted


def test_each_transaction_has_its_own_durability(store: Store) -> None:
    for _ in range(3):
        for durable, level in ((False, NORMAL), (True, FULL)):
            with store.transaction(durable=durable):
                assert store.connection.execute("PRAGMA synchronous").fetchone()[0] == level

"""What can be wrong with a journal's file: each is told as what it is, and nothing acknowledged is lost."""

import asyncio
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest

from clarion.errors import (
    JournalDamaged,
    JournalError,
    JournalForeign,
    JournalFull,
    JournalUnavailable,
)
from clarion.event import Draft, draft
from clarion.journals.sqlite import SqliteJournal
from clarion.journals.sqlite_file import APPLICATION_ID, SCHEMA_VERSION, JournalFile
from clarion.journals.sqlite_store import Store
from clarion.retention import Retention, RetentionRules

KEEP_ALL = RetentionRules(Retention())
NOW_MS = 1_790_000_000_000


def event(text: str = "hello", topic: str = "news") -> Draft:
    return draft(topic, text=text, created_ms=NOW_MS)


async def all_offsets(journal: SqliteJournal) -> list[int]:
    page = await journal.read(0, None, max_entries=10**6, max_bytes=10**9, now_ms=NOW_MS)
    return [entry.offset for entry in page.entries]


async def open_fails(path: Path, kind: type[JournalError], *words: str, busy_timeout_ms: int = 100) -> None:
    journal = SqliteJournal(path, busy_timeout_ms=busy_timeout_ms)
    with pytest.raises(kind) as raised:
        await journal.open(KEEP_ALL)
    for word in (str(path), *words):
        assert word in str(raised.value)
    await journal.close()


async def test_a_missing_directory(tmp_path: Path) -> None:
    await open_fails(tmp_path / "missing" / "events.db", JournalUnavailable, "directory", "create it")


async def test_a_directory(tmp_path: Path) -> None:
    await open_fails(tmp_path, JournalUnavailable, "is a directory")


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database\n" * 100)
    await open_fails(tmp_path / "notes.txt", JournalForeign, "not an SQLite database")
    assert (tmp_path / "notes.txt").read_text() == "not a database\n" * 100


async def test_a_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE theirs (x)")
    theirs.close()
    before = path.read_bytes()
    await open_fails(path, JournalForeign, "another program")
    assert path.read_bytes() == before


async def test_a_newer_format(tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    newer.close()
    await open_fails(path, JournalForeign, f"format {SCHEMA_VERSION + 1}", "upgrade")


async def test_an_empty_file_is_made_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    journal = SqliteJournal(path)
    await journal.open(KEEP_ALL)
    assert [one.offset for one in await journal.append([event()])] == [1]
    await journal.close()


async def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    journal = SqliteJournal(path)
    await journal.open(KEEP_ALL)
    await journal.append([event("x" * 1000) for _ in range(500)])
    await journal.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 8192))
    journal = SqliteJournal(path)

    async def use() -> None:
        await journal.open(KEEP_ALL)
        await all_offsets(journal)

    with pytest.raises(JournalDamaged, match="damaged"):
        await use()
    await journal.close()


async def test_a_lost_table(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    journal = SqliteJournal(path)
    await journal.open(KEEP_ALL)
    await journal.close()
    other = sqlite3.connect(path)
    other.execute("DROP TABLE meta")
    other.close()
    await open_fails(path, JournalDamaged)


async def test_held_by_another_program(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    journal = SqliteJournal(path, busy_timeout_ms=50)
    await journal.open(KEEP_ALL)
    await journal.append([event()])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalUnavailable, match="lock"):
        await journal.append([event()])
    assert await all_offsets(journal) == [1]  # readers are not held up
    other.execute("ROLLBACK")
    other.close()
    assert (await journal.append([event()]))[0].offset == 2
    await journal.close()


def as_nobody(work: Callable[[], None]) -> None:
    """Run `work` without root's power to write everywhere. It says what went wrong by raising."""
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            work()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A directory that every user may enter (pytest's own are private)."""
    place = Path("/tmp") / f"clarion-test-{os.getpid()}"
    place.mkdir()
    yield place
    place.chmod(0o700)
    shutil.rmtree(place)


@pytest.mark.parametrize("file_is_there", [True, False])
def test_what_may_not_be_written(file_is_there: bool, public_path: Path) -> None:
    path = public_path / "events.db"
    if file_is_there:
        file = JournalFile(path)
        file.open()
        file.close()
        path.chmod(0o444)
    public_path.chmod(0o555)

    def work() -> None:
        with pytest.raises(JournalUnavailable, match=r"not writable.*owner"):
            JournalFile(path).open()

    as_nobody(work)


async def test_bad_batches_do_not_fail_their_neighbours(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "events.db")
    await journal.open(KEEP_ALL)
    bad = event()._replace(created_ms=2**70)
    outcomes = await asyncio.gather(
        *(journal.append([event(), bad, event()] if n % 9 == 4 else [event()]) for n in range(30)),
        return_exceptions=True,
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, JournalError)]
    answered = [one.offset for outcome in outcomes if isinstance(outcome, list) for one in outcome]
    assert len(refused) == 3
    assert await all_offsets(journal) == answered == list(range(1, 28))
    await journal.close()


async def test_a_full_disk_by_page_count(tmp_path: Path) -> None:
    """SQLite says SQLITE_FULL for both; here each caller of the group is told, and later appends work."""
    path = tmp_path / "events.db"
    journal = SqliteJournal(path)
    await journal.open(KEEP_ALL)
    (first,) = await journal.append([event()])
    connection = journal._writer._store.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    outcomes = await asyncio.gather(
        *(journal.append([event("x" * 100_000)]) for _ in range(10)), return_exceptions=True
    )
    assert all(isinstance(outcome, JournalFull) for outcome in outcomes)
    assert "no space left" in str(outcomes[0])
    assert await all_offsets(journal) == [first.offset]
    connection.execute("PRAGMA max_page_count = 1000000")
    assert [one.offset for one in await journal.append([event("x" * 100_000)])] == [2]
    await journal.close()


def _fill_under_a_limit(path: str) -> None:
    """In a process of its own: files may not grow over 1 MiB, then they may again."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024**2, resource.RLIM_INFINITY))

    async def run() -> None:
        journal = SqliteJournal(path)
        await journal.open(KEEP_ALL)
        acknowledged: list[int] = []
        for _ in range(100):
            try:
                acknowledged += [one.offset for one in await journal.append([event("x" * 50_000)])]
            except JournalFull:
                break
        else:
            raise AssertionError("never full")
        assert acknowledged
        with pytest.raises(JournalFull):
            await journal.append([event("x" * 50_000)])
        assert await all_offsets(journal) == acknowledged
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        acknowledged += [one.offset for one in await journal.append([event("x" * 50_000)])]
        await journal.close()
        again = SqliteJournal(path)
        await again.open(KEEP_ALL)
        assert await all_offsets(again) == acknowledged
        await again.close()

    asyncio.run(run())


def test_a_limit_of_the_system(tmp_path: Path) -> None:
    process = get_context("spawn").Process(target=_fill_under_a_limit, args=(str(tmp_path / "events.db"),))
    process.start()
    process.join(30)
    assert process.exitcode == 0


async def eventually_raises(journal: SqliteJournal, kind: type[JournalError], match: str) -> None:
    """The watcher looks once a second."""

    async def use() -> None:
        while True:
            await asyncio.sleep(0.05)
            await journal.bounds()

    with pytest.raises(kind, match=match):
        await use()


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_that_vanishes_is_noticed(replaced: bool, tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    journal = SqliteJournal(path)
    await journal.open(KEEP_ALL)
    await journal.append([event()])
    waiting = asyncio.ensure_future(anext(journal.follow(1)))
    if replaced:
        (tmp_path / "other.db").touch()
        (tmp_path / "other.db").replace(path)
    else:
        path.unlink()
    with pytest.raises(JournalUnavailable, match="deleted or replaced"):
        await journal.append([event()])  # at once
    with pytest.raises(JournalUnavailable, match="deleted or replaced"):
        await waiting
    await eventually_raises(journal, JournalUnavailable, "deleted or replaced")
    await journal.close()


def is_told_of_the_fork(call: Callable[[], None]) -> bool:
    try:
        call()
    except JournalUnavailable as error:
        return "fork" in str(error)
    return False


def told_in_a_child(*calls: Callable[[], None]) -> bool:
    """Whether each call, made in a forked child, says that it cannot be made there."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if all(is_told_of_the_fork(call) for call in calls) else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


async def test_a_forked_child_is_told(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    journal = SqliteJournal(path)
    await journal.open(KEEP_ALL)
    await journal.append([event()])
    assert told_in_a_child(journal._check_open, JournalFile(path).open)
    await journal.append([event()])
    await journal.close()


def test_offsets_are_never_given_twice(tmp_path: Path) -> None:
    file = JournalFile(tmp_path / "events.db")
    file.open()
    store = Store(file)
    store.append([[event(), event()]])
    store.connection.execute("DELETE FROM entries")
    store.close()
    file.close()
    file.open()
    store = Store(file)
    (outcome,) = store.append([[event()]]).outcomes
    assert isinstance(outcome, list)
    assert outcome[0].offset == 3
    store.close()
    file.close()


def test_every_commit_waits_for_the_disk(tmp_path: Path) -> None:
    """What makes an acknowledged append survive a power cut; a step of retention does not need to."""
    file = JournalFile(tmp_path / "events.db")
    file.open()
    store = Store(file)
    assert store.connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert store.connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    with store.transaction(durable=False):
        assert store.connection.execute("PRAGMA synchronous").fetchone()[0] == 1  # NORMAL
    with store.transaction():
        assert store.connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    store.close()
    file.close()


def test_sqlite_is_imported_only_for_sqlite() -> None:
    code = (
        "import sys; import clarion.journals, clarion.publisher; clarion.journals.open_journal('memory://');"
        "assert 'sqlite3' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""Values in an SQLite file: shared by processes, rolled up, cleaned, upgraded, and right after whatever goes wrong."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from clarion import Hub, Publisher, ValueMismatch, ValueTooLarge, json
from clarion.changes import ValueChange, change_draft
from clarion.errors import JournalError, JournalFull, JournalUnavailable
from clarion.event import Draft, draft
from clarion.held import TOMBSTONE_SECONDS
from clarion.journals import sqlite_changing, sqlite_letting_go, sqlite_values
from clarion.journals.sqlite import SqliteJournal
from clarion.journals.sqlite_changing import ROLL_UP_DELTAS
from clarion.journals.sqlite_file import JournalFile
from clarion.journals.sqlite_retention import EXPIRED_GRACE_MS
from clarion.journals.sqlite_schema import APPLICATION_ID, SCHEMA_VERSION
from clarion.journals.sqlite_store import Store
from clarion.retention import Retention, RetentionRules
from clarion.topics import TopicSet
from clarion.values import Change
from tests.integration import values_kill9

KEEP_ALL = RetentionRules(Retention())
NOW_MS = 1_790_000_000_000
SPAWN = get_context("spawn")


def change(kind: Change, data: Any = None, topic: str = "t", *, at_ms: int = NOW_MS, **options: Any) -> Draft:
    return change_draft(topic, kind, data, created_ms=at_ms, **options)


async def opened(path: Path, **options: Any) -> SqliteJournal:
    journal = SqliteJournal(path, **{"now_ms": lambda: NOW_MS, "follow_grace_ms": 0, **options})
    await journal.open(KEEP_ALL)
    return journal


async def values_of(journal: SqliteJournal, *topics: str, now_ms: int = NOW_MS) -> dict[str, Any]:
    asked = TopicSet(topics) if topics else None
    given = await journal.values(asked, after=0, exact=False, max_bytes=10**9, now_ms=now_ms)
    return {one.subject: json.decode(one.data) for one in given.changed}


@contextmanager
def looking(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as it is, beside everybody else."""
    connection = sqlite3.connect(path, timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def count(path: Path, query: str, *values: Any) -> int:
    with looking(path) as connection:
        return int(connection.execute(query, values).fetchone()[0])


def on_disk(path: Path) -> int:
    """Bytes of the file and of its write-ahead log."""
    return sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))


async def until_in_file(path: Path, query: str, condition: Callable[[int], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition(count(path, query)):  # noqa: ASYNC110 - nothing tells when retention has worked
            await asyncio.sleep(0.05)


# Several processes.


def _change(path: str, name: str, times: int) -> None:
    with Publisher(f"sqlite:///{path}") as publisher:
        for n in range(times):
            publisher.append("text", f"<{name}.{n}>")
            publisher.merge("counts", {name: n})
            if n % 10 == 0:
                publisher.change_many([ValueChange("list", "append", [name]), ValueChange("pair", "set", [name, n])])
        assert publisher.get("counts")[name] == times - 1


async def test_processes_that_change_one_value(tmp_path: Path) -> None:
    """Each has what it changed last at hand; that must not hide what the others did since."""
    path, names, times = tmp_path / "events.db", ("a", "b", "c"), 100
    async with Hub(f"sqlite:///{path}") as hub:
        received = ""
        async with hub.subscribe("text") as events:
            processes = [SPAWN.Process(target=_change, args=(str(path), name, times)) for name in names]
            for process in processes:
                process.start()
            async with asyncio.timeout(50):
                while received.count("<") < times * len(names):
                    event = await anext(events)
                    received = event.data if event.change == "set" else received + event.data
            for process in processes:
                await asyncio.to_thread(process.join, 20)
                assert process.exitcode == 0
        assert received == await hub.get("text")
        for name in names:
            assert re.findall(rf"<{name}\.([0-9]+)>", received) == [str(n) for n in range(times)]
        assert await hub.get("counts") == dict.fromkeys(names, times - 1)
        assert sorted(await hub.get("list")) == sorted([*names] * (times // 10))


def test_publishers_that_take_turns(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/events.db"
    with Publisher(url) as one, Publisher(url) as other:
        for n in range(20):
            writer, reader = (one, other) if n % 2 else (other, one)
            writer.append("t", [n])
            assert reader.get("t") == list(range(n + 1))
            if n == 10:
                writer.delete("t")
                assert (reader.get("t"), writer.get("t")) == (None, None)
                reader.set("t", list(range(11)))


def test_what_a_publisher_gives_is_the_caller_s(tmp_path: Path) -> None:
    with Publisher(f"sqlite:///{tmp_path}/events.db") as publisher:
        publisher.set("t", {"list": [1]})
        publisher.get("t")["list"].append(99)
        publisher.append("t", {"list": [2]})
        publisher.get("t")["list"].append(99)
        assert publisher.get("t") == {"list": [1, 2]}


def test_a_publisher_that_is_forked(tmp_path: Path) -> None:
    """The child must not go on with what the parent had at hand."""
    with Publisher(f"sqlite:///{tmp_path}/events.db") as publisher:
        publisher.append("t", ["parent"])
        child = os.fork()
        if child == 0:
            try:
                publisher.append("t", ["child"])
                assert publisher.get("t") == ["parent", "child"]
                os._exit(0)
            except BaseException as error:
                os.write(2, f"{error!r}\n".encode())
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        publisher.append("t", ["parent again"])
        assert publisher.get("t") == ["parent", "child", "parent again"]


def _append_in_pool(url: str, n: int) -> int:
    with Publisher(url) as publisher:
        return publisher.append("t", [n]).position.offset


def test_workers_of_a_pool(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/events.db"
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        offsets = pool.starmap(_append_in_pool, [(url, n) for n in range(20)])
    with Publisher(url) as publisher:
        by_offset = dict(zip(offsets, range(20), strict=True))
        assert publisher.get("t") == [by_offset[offset] for offset in sorted(by_offset)]


# What is kept.


async def test_changes_are_rolled_up(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    journal = await opened(path)
    for n in range(3 * ROLL_UP_DELTAS // 64):
        await journal.append([change(Change.APPEND, f"{n}.{m} ") for m in range(64)])
        since = count(path, "SELECT count(*) FROM entries, topic_values WHERE value = id AND offset > based")
        assert since == count(path, "SELECT delta_count FROM topic_values")
        assert since < ROLL_UP_DELTAS
    assert count(path, "SELECT count(*) FROM value_bases") == 1
    text = "".join(f"{n}.{m} " for n in range(3 * ROLL_UP_DELTAS // 64) for m in range(64))
    assert await values_of(journal) == {"t": text}
    await journal.append([change(Change.SET, "anew")])
    assert count(path, "SELECT count(*) FROM value_bases") == 0
    assert await values_of(journal) == {"t": "anew"}
    await journal.close()


async def test_large_changes_are_rolled_up_sooner(tmp_path: Path) -> None:
    """To read a value costs about what it has, so what stands after its base is no more than the base, or 16 KiB."""
    path = tmp_path / "events.db"
    journal = await opened(path)
    await journal.append([change(Change.SET, {"list": []})])
    for n in range(200):
        await journal.append([change(Change.APPEND, {"list": ["x" * 1_000]}), change(Change.MERGE, {"n": n})])
        bytes_since = count(path, "SELECT delta_bytes FROM topic_values")
        assert bytes_since <= max(sqlite_changing.ROLL_UP_BYTES, 1_100 * n) + 2_000
    assert count(path, "SELECT based FROM topic_values") > 100
    assert await values_of(journal) == {"t": {"list": ["x" * 1_000] * 200, "n": 199}}
    await journal.close()


async def test_what_patches_replace_does_not_count_for_ever(tmp_path: Path) -> None:
    """A small value that is changed often is not taken for a large one: not in the cache, nor beside its changes."""
    path = tmp_path / "events.db"
    journal = await opened(path)
    await journal.append([change(Change.SET, {"progress": 0})])
    for n in range(40):
        await journal.append([change(Change.MERGE, {"progress": m, "text": "x" * 50}) for m in range(n, n + 50)])
        assert count(path, "SELECT size_bytes FROM topic_values") < 4_000
    store = journal._writer._store
    assert store._values._cache_bytes < 4_000 + sqlite_changing.CACHED_OVERHEAD_BYTES
    await journal.close()


async def test_what_a_set_replaced_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    clock = [NOW_MS]
    journal = await opened(path, now_ms=lambda: clock[0])

    async def settled() -> int:
        clock[0] += 1_000
        await until_in_file(path, "SELECT count(*) FROM entries", lambda entries: entries <= 1)
        with looking(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return on_disk(path)

    async def set_many(times: int) -> None:
        for n in range(times // 100):
            await journal.append([change(Change.SET, {"n": n, "m": m, "pad": "x" * 150}) for m in range(100)])
            clock[0] += 100

    await set_many(2_000)
    before = await settled()
    await set_many(20_000)
    after = await settled()
    print(f"20,000 sets: {before} bytes before, {after} after")
    assert after <= before + 500_000  # and not 5 MB
    assert count(path, "SELECT newest FROM meta") == 22_000
    assert await values_of(journal) == {"t": {"n": 199, "m": 99, "pad": "x" * 150}}
    await journal.close()
    again = await opened(path)
    assert await values_of(again) == {"t": {"n": 199, "m": 99, "pad": "x" * 150}}
    await again.close()


async def test_changes_that_were_rolled_up_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    clock = [NOW_MS]
    journal = await opened(path, now_ms=lambda: clock[0])
    for n in range(60):
        await journal.append([change(Change.APPEND, [n * 50 + m]) for m in range(50)])
        await journal.append([draft("plain", created_ms=NOW_MS)])
        clock[0] += 300
    await until_in_file(path, "SELECT count(*) FROM entries WHERE kind > 1", lambda left: left < ROLL_UP_DELTAS + 50)
    assert await values_of(journal) == {"t": list(range(3_000))}
    page = await journal.read(0, None, max_entries=1_000, max_bytes=10**6, now_ms=NOW_MS)
    assert (len(page.entries), page.missed) == (60, 0)
    since = await journal.values(TopicSet(["t"]), after=page.entries[-2].offset, exact=True, max_bytes=1, now_ms=NOW_MS)
    assert json.decode(since.changed[0].data)[-50:] == list(range(2_950, 3_000))
    await journal.close()


async def test_values_whose_time_is_over_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    clock = [NOW_MS]
    journal = await opened(path, now_ms=lambda: clock[0])
    await journal.append([change(Change.SET, "kept", "kept")])
    for n in range(500):
        await journal.append(
            [change(Change.SET, "x" * 100, f"t/{n}", ttl_seconds=60), change(Change.DELETE, topic=f"t/{n}")][
                : 1 + n % 2
            ]
        )
    assert count(path, "SELECT count(*) FROM topic_values") == 501
    clock[0] += 60_000 + EXPIRED_GRACE_MS
    await until_in_file(path, "SELECT count(*) FROM topic_values", lambda left: left == 251)
    clock[0] += TOMBSTONE_SECONDS * 1000
    await until_in_file(path, "SELECT count(*) FROM topic_values", lambda left: left == 1)
    assert count(path, "SELECT count(*) FROM entries") == 1
    assert await values_of(journal, now_ms=clock[0]) == {"kept": "kept"}
    given = await journal.values(None, after=1, exact=True, max_bytes=1, now_ms=clock[0])
    assert (given.changed, given.forgotten) == ([], count(path, "SELECT newest FROM meta"))
    await journal.close()


def test_a_value_that_is_let_go_of_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is left of it between two steps, it can be begun anew."""
    monkeypatch.setattr(sqlite_letting_go, "CHANGES_AT_ONCE", 3)
    for steps in range(1, 8):
        path = tmp_path / f"{steps}.db"
        file = JournalFile(path)
        file.open()
        store = Store(file)
        store.append([[change(Change.APPEND, [n], ttl_seconds=60) for n in range(10)]])
        store.append([[change(Change.SET, "other", "other")]])
        for _ in range(steps):
            sqlite_letting_go.let_go(store, 100, NOW_MS + 60_000)
        late = Store(file)  # which has nothing at hand
        assert late.value("t", "t", NOW_MS + 60_000) is None
        (outcome,) = late.append([[change(Change.APPEND, "anew", at_ms=NOW_MS + 60_000)]]).outcomes
        assert not isinstance(outcome, Exception), outcome
        assert late.value("t", "t", NOW_MS + 60_000) == "anew"
        assert late.value("other", "other", NOW_MS + 60_000) == "other"
        while sqlite_letting_go.let_go(store, 100, NOW_MS + 60_000) or sqlite_letting_go.clean(store, 100):
            pass
        fresh = Store(file)
        assert fresh.value("t", "t", NOW_MS + 60_000) == "anew"
        for each in (store, late, fresh):
            each.close()


def test_a_row_that_is_used_again_is_another_value(tmp_path: Path) -> None:
    file = JournalFile(tmp_path / "events.db")
    file.open()
    store = Store(file)
    store.append([[change(Change.SET, "a", "a"), *[change(Change.APPEND, "b", "b", ttl_seconds=1) for _ in range(5)]]])
    while sqlite_letting_go.let_go(store, 100, NOW_MS + 1_000):
        pass
    store.append([[change(Change.APPEND, "c", "c"), change(Change.APPEND, "c", "c")]])
    assert count(tmp_path / "events.db", "SELECT count(*) FROM topic_values") == 2
    fresh = Store(file)
    assert [fresh.value(name, name, NOW_MS) for name in "abc"] == ["a", None, "cc"]
    assert [store.value(name, name, NOW_MS) for name in "abc"] == ["a", None, "cc"]
    store.close()
    fresh.close()


async def test_a_deletion_is_told_also_when_nobody_was_there_to_forget_it(tmp_path: Path) -> None:
    """All was shut down over the weekend; browsers that still show the value come back at once."""
    path = tmp_path / "events.db"
    journal = await opened(path)
    await journal.append([change(Change.SET, 1), change(Change.DELETE)])
    await journal.close()
    later_ms = NOW_MS + 3 * TOMBSTONE_SECONDS * 1000
    again = SqliteJournal(path, now_ms=lambda: later_ms)
    await again.open(KEEP_ALL)
    given = await again.values(TopicSet(["t"]), after=1, exact=True, max_bytes=1, now_ms=later_ms)
    assert given.forgotten == 2 or [(one.offset, one.change) for one in given.changed] == [(2, Change.DELETE)]
    await again.close()


def test_what_is_at_hand_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_changing, "CACHE_BYTES", 50 * sqlite_changing.CACHED_OVERHEAD_BYTES)
    file = JournalFile(tmp_path / "events.db")
    file.open()
    store = Store(file)
    cache = store._values
    for n in range(500):  # however small they are
        store.append([[change(Change.SET, n, f"t/{n}")]])
        assert len(cache._cache) <= 50
    store.append([[change(Change.DELETE, topic=f"t/{n}") for n in range(500)]])
    assert (len(cache._cache), cache._cache_bytes) == (0, 0)
    store.append([[change(Change.SET, "x" * 100_000)]])  # larger than all of it
    assert (len(cache._cache), cache._cache_bytes) == (0, 0)
    store.append([[change(Change.APPEND, "y")]])
    assert store.value("t", "t", NOW_MS) == "x" * 100_000 + "y"
    store.close()


async def test_pages_of_many_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_values, "_ROWS_AT_ONCE", 7)
    journal = await opened(tmp_path / "events.db")
    await journal.append([change(Change.SET, n, f"{'ab'[n % 2]}/{n}") for n in range(100)])
    monkeypatch.undo()
    for topics in (None, TopicSet(["a/*"]), TopicSet(["**"])):
        given = await journal.values(topics, after=0, exact=False, max_bytes=10**6, now_ms=NOW_MS)
        assert [one.offset for one in given.changed] == [
            n for n in range(1, 101) if n % 2 or topics != TopicSet(["a/*"])
        ]
    await journal.close()


# What goes wrong.


def interrupt(store: Store, budget: list[int], times: int = 1) -> None:
    """Have SQLite give up what it does, after so many of its own steps (times 20); and what it does next, so often."""

    def give_up() -> bool:
        budget[0] -= 1
        return -times <= budget[0] < 0

    store.connection.set_progress_handler(give_up, 20)


def test_reading_after_a_rollback_that_failed(tmp_path: Path) -> None:
    file = JournalFile(tmp_path / "events.db")
    file.open()
    store = Store(file)
    store.append([[change(Change.SET, ["a"])]])
    for steps in range(0, 100, 3):
        interrupt(store, [steps], times=1_000)
        try:
            store.append([[change(Change.SET, ["b"]), change(Change.SET, "x" * 10_000, "u")]])
        except JournalError:
            store.connection.set_progress_handler(None, 0)
            assert (store.value("t", "t", NOW_MS), store.value("u", "u", NOW_MS)) == (["a"], None)
        else:
            break  # it took less than that
    assert steps > 10
    store.connection.set_progress_handler(None, 0)
    store.append([[change(Change.APPEND, ["c"])]])
    assert store.value("t", "t", NOW_MS)[-1] == "c"
    store.close()


def test_a_refused_write_leaves_no_value_behind(tmp_path: Path) -> None:
    """Whatever statement of a transaction fails, the next change goes onto what is stored, not onto what was not."""
    path = tmp_path / "events.db"
    file = JournalFile(path)
    file.open()
    store = Store(file)
    store.append([[change(Change.SET, {"list": []})]])
    expected: list[int] = []
    failures = 0
    for n in range(200):
        interrupt(store, [n])
        changes = [change(Change.APPEND, {"list": [n]}), change(Change.SET, n, f"new/{n}")]
        try:
            (outcome,) = store.append([changes]).outcomes
        except JournalError:
            failures += 1
        else:
            assert isinstance(outcome, list)
            expected.append(n)
        store.connection.set_progress_handler(None, 0)
        assert store.value("t", "t", NOW_MS) == {"list": expected}
        assert store.value(f"new/{n}", f"new/{n}", NOW_MS) == (n if n in expected else None)
    assert failures > 10
    assert expected
    store.append([[change(Change.APPEND, {"list": ["last"]})]])
    fresh = Store(file)
    assert fresh.value("t", "t", NOW_MS) == {"list": [*expected, "last"]}
    fresh.close()
    store.close()


async def test_a_full_disk(tmp_path: Path) -> None:
    journal = await opened(tmp_path / "events.db")
    await journal.append([change(Change.SET, {"text": "a"})])
    connection = journal._writer._store.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    outcomes = await asyncio.gather(
        *(journal.append([change(Change.APPEND, {"text": "x" * 100_000})]) for _ in range(5)), return_exceptions=True
    )
    assert all(isinstance(outcome, JournalFull) for outcome in outcomes)
    assert await values_of(journal) == {"t": {"text": "a"}}
    assert await journal.last_change() == 1
    connection.execute("PRAGMA max_page_count = 1000000")
    assert [one.offset for one in await journal.append([change(Change.APPEND, {"text": "b"})])] == [2]
    assert await values_of(journal) == {"t": {"text": "ab"}}
    await journal.close()


async def test_a_lock_that_another_program_holds(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    journal = await opened(path, busy_timeout_ms=50)
    await journal.append([change(Change.SET, [1])])
    with looking(path) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalUnavailable, match="lock"):
            await journal.append([change(Change.APPEND, [2])])
        assert await values_of(journal) == {"t": [1]}
        other.execute("ROLLBACK")
    await journal.append([change(Change.APPEND, [3])])
    assert await values_of(journal) == {"t": [1, 3]}
    await journal.close()


def test_batches_that_are_refused_leave_nothing_behind_in_their_transaction(tmp_path: Path) -> None:
    """They share one with others, which go on from what was before."""
    file = JournalFile(tmp_path / "events.db")
    file.open()
    store = Store(file)
    bad = change(Change.APPEND, 5)
    broken = change(Change.SET, 1)._replace(created_ms=2**70)  # what SQLite cannot hold: the fault of one batch, too
    group = store.append(
        [
            [change(Change.SET, ["a"]), change(Change.SET, 1, "u")],
            [change(Change.APPEND, ["no"]), change(Change.DELETE, topic="u"), change(Change.SET, 1, "new"), bad],
            [change(Change.APPEND, ["b"])],
            [change(Change.APPEND, ["no"]), broken],
            [change(Change.APPEND, ["c"], key="k"), draft("plain", created_ms=NOW_MS)],
            [change(Change.APPEND, ["no"], key="k2"), bad],
            [change(Change.APPEND, ["d"], key="k2")],
        ]
    )
    kinds = [type(outcome) for outcome in group.outcomes]
    assert kinds == [list, ValueMismatch, list, JournalError, list, ValueMismatch, list]
    assert [entry.offset for commit in group.commits for entry in commit] == [1, 2, 3, 4, 5, 6]
    for each in (store, Store(file)):
        assert each.value("t", "t", NOW_MS) == ["a", "b", "c", "d"]
        assert (each.value("u", "u", NOW_MS), each.value("new", "new", NOW_MS)) == (1, None)
        each.close()


def test_kill_nine_loses_no_change(tmp_path: Path) -> None:
    assert values_kill9.run(5, tmp_path / "events.db", seed=11) > 0


async def test_a_value_over_the_limit(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/events.db"
    async with Hub(url) as hub:
        part = "x" * 200_000
        for _ in range(5):
            await hub.append("t", {"text": part})
        with pytest.raises(ValueTooLarge):
            await hub.append("t", {"text": part})
        await hub.append("t", {"text": "y" * 40_000})
        with Publisher(url) as publisher:
            with pytest.raises(ValueTooLarge) as raised:
                await asyncio.to_thread(publisher.append, "t", {"text": part})
            assert raised.value.limit_bytes < 1024 * 1024 < raised.value.size_bytes
            assert await asyncio.to_thread(publisher.get, "t") == {"text": part * 5 + "y" * 40_000}
        async with hub.subscribe("t") as events:
            assert (await anext(events)).data == {"text": part * 5 + "y" * 40_000}


# Old files.

VERSION_1 = """
CREATE TABLE meta (
    epoch TEXT NOT NULL,
    newest INTEGER NOT NULL,
    kept_entries INTEGER NOT NULL,
    kept_bytes INTEGER NOT NULL,
    trimmed_entries INTEGER NOT NULL,
    trimmed_through INTEGER NOT NULL,
    trimmed_floor INTEGER NOT NULL
);
CREATE TABLE entries (
    offset INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    ephemeral INTEGER NOT NULL,
    frame BLOB NOT NULL
);
CREATE INDEX entries_by_topic ON entries (topic, ephemeral) WHERE ephemeral = 0;
CREATE INDEX entries_by_expiry ON entries (expires_ms) WHERE expires_ms IS NOT NULL;
CREATE INDEX ephemeral_entries ON entries (ephemeral) WHERE ephemeral = 1;
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


def make_version_1(path: Path) -> None:
    """A journal of format 1: four entries were taken away, then ten are kept, one of them ephemeral, one with a ttl."""
    with looking(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(VERSION_1)
        rows = []
        for offset in range(5, 15):
            body = draft(f"t/{offset % 2}", {"n": offset}, created_ms=NOW_MS).body
            frame = f"id: oldold-{offset}\n".encode() + body
            expires_ms = NOW_MS + 60_000 if offset == 7 else None
            rows.append((offset, f"t/{offset % 2}", NOW_MS, expires_ms, int(offset == 9), frame))
        connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", rows)
        size = sum(len(row[5]) for row in rows if not row[4])
        connection.execute("INSERT INTO meta VALUES ('oldold', 14, 9, ?, 4, 4, 0)", (size,))
        connection.executemany("INSERT INTO trimmed VALUES (?, ?, NULL)", [(f"t/{n % 2}", n) for n in range(1, 5)])
        connection.execute("INSERT INTO keys VALUES ('t/0', 'k', 6, ?)", (NOW_MS,))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()


async def test_a_file_of_version_1_becomes_one_of_today(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    make_version_1(path)
    journal = await opened(path)
    assert journal.epoch == "oldold"
    page = await journal.read(0, TopicSet(["t/0"]), max_entries=100, max_bytes=10**6, now_ms=NOW_MS)
    assert ([entry.offset for entry in page.entries], page.through, page.missed) == ([6, 8, 10, 12, 14], 14, 2)
    assert page.entries[0].frame == b'id: oldold-6\ntopic: t/0\ndata: {"n":6}\n\n'
    later = await journal.read(0, None, max_entries=100, max_bytes=10**6, now_ms=NOW_MS + 60_000)
    assert [entry.offset for entry in later.entries] == [5, 6, 8, 10, 11, 12, 13, 14]
    assert await journal.bounds() == (5, 14)
    assert (await values_of(journal), await journal.last_change()) == ({}, 0)
    (again,) = await journal.append([draft("t/0", created_ms=NOW_MS, key="k")])
    assert (again.offset, again.duplicate) == (6, True)
    appended = await journal.append(
        [change(Change.APPEND, "a"), change(Change.APPEND, "b"), draft("t/0", created_ms=NOW_MS)]
    )
    assert [one.offset for one in appended] == [15, 16, 17]
    assert await values_of(journal) == {"t": "ab"}
    await journal.close()
    with looking(path) as connection, looking(tmp_path / "fresh.db") as fresh:
        made = await opened(tmp_path / "fresh.db")
        await made.close()
        schemas = [
            {
                (kind, name): " ".join(sorted(re.findall(r"[\w=<>]+", sql or "")))
                for kind, name, sql in each.execute("SELECT type, name, sql FROM sqlite_master")
            }
            for each in (connection, fresh)
        ]
        assert schemas[0].keys() == schemas[1].keys()
        for name, text in schemas[1].items():
            if name not in (("table", "entries"), ("table", "meta")):  # whose columns came with a default
                assert schemas[0][name] == text
        columns = [
            [row[1] for table in ("entries", "meta") for row in each.execute(f"PRAGMA table_info({table})")]
            for each in (connection, fresh)
        ]
        assert sorted(columns[0]) == sorted(columns[1])
        assert connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    again_journal = await opened(path)
    assert await values_of(again_journal) == {"t": "ab"}
    await again_journal.close()


async def test_retention_of_an_upgraded_file(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    make_version_1(path)
    journal = SqliteJournal(path, now_ms=lambda: NOW_MS, follow_grace_ms=0)
    await journal.open(RetentionRules(Retention(max_count=3)))
    await journal.append([change(Change.SET, 1), draft("t/0", created_ms=NOW_MS)])
    await until_in_file(path, "SELECT kept_entries FROM meta", lambda kept: kept == 3)
    page = await journal.read(0, None, max_entries=100, max_bytes=10**6, now_ms=NOW_MS)
    assert ([entry.offset for entry in page.entries], page.missed) == ([13, 14, 16], 11)
    assert await values_of(journal) == {"t": 1}
    await journal.close()


def _open_and_change(path: str, name: str) -> None:
    with Publisher(f"sqlite:///{path}") as publisher:
        publisher.append("t", [name])


def test_processes_that_upgrade_at_the_same_moment(tmp_path: Path) -> None:
    for attempt in range(2):
        path = tmp_path / f"{attempt}.db"
        make_version_1(path)
        processes = [SPAWN.Process(target=_open_and_change, args=(str(path), name)) for name in "abc"]
        for process in processes:
            process.start()
        for process in processes:
            process.join(30)
            assert process.exitcode == 0
        with Publisher(f"sqlite:///{path}") as publisher:
            assert sorted(publisher.get("t")) == ["a", "b", "c"]
            assert publisher.publish("news").position == ("oldold", 18)


# Much.


async def test_a_late_join_after_a_hundred_thousand_changes(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    clock = [NOW_MS]
    journal = await opened(path, now_ms=lambda: clock[0])
    began = time.perf_counter()
    written = 0
    while written < 100_000:
        batches = []
        for _ in range(4):
            batches.append([change(Change.APPEND, {"text": f"{written + n} "}) for n in range(500)])
            written += 500
        await asyncio.gather(*(journal.append(batch) for batch in batches))
        if written % 40_000 == 0:
            await journal.append([change(Change.SET, {"text": ""}), *batches[-1][:200]])
        clock[0] += 300
    print(f"100,000 changes: {time.perf_counter() - began:.1f} s")
    times: list[float] = []
    for _ in range(10):
        began = time.perf_counter()
        given = await journal.values(TopicSet(["t"]), after=0, exact=False, max_bytes=10**9, now_ms=NOW_MS)
        times.append((time.perf_counter() - began) * 1000)
        assert len(given.changed) == 1
    print(f"late join: {statistics.median(times):.1f} ms, value of {len(given.changed[0].data)} bytes")
    assert statistics.median(times) < 200
    for after in (1, given.through - 10_000, given.through - 3):
        began = time.perf_counter()
        await journal.values(TopicSet(["t"]), after=after, exact=True, max_bytes=10**9, now_ms=NOW_MS)
        assert time.perf_counter() - began < 1
    await until_in_file(path, "SELECT count(*) FROM entries", lambda left: left <= 2 * ROLL_UP_DELTAS + 2_000)
    await journal.close()


async def test_thousands_of_values(tmp_path: Path) -> None:
    journal = await opened(tmp_path / "events.db")
    for start in range(0, 5_000, 500):
        await journal.append([change(Change.SET, {"n": n}, f"t/{n}") for n in range(start, start + 500)])
    for start in range(0, 5_000, 500):
        await journal.append([change(Change.APPEND, {"text": "x"}, f"t/{n}") for n in range(start, start + 500)])
    began = time.perf_counter()
    assert await values_of(journal, "t/*") == {f"t/{n}": {"n": n, "text": "x"} for n in range(5_000)}
    print(f"5,000 values: {(time.perf_counter() - began) * 1000:.0f} ms")
    began = time.perf_counter()
    assert await values_of(journal, "t/4321") == {"t/4321": {"n": 4_321, "text": "x"}}
    assert time.perf_counter() - began < 0.2
    await journal.close()

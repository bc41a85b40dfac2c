"""Retention of the SQLite journal, step by step: what it takes away, what it leaves, and what it counts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from clarion.event import draft
from clarion.journals import sqlite_retention
from clarion.journals.base import KEY_WINDOW_SECONDS
from clarion.journals.sqlite_file import JournalFile
from clarion.journals.sqlite_reading import read_page, read_run, read_tail
from clarion.journals.sqlite_retention import EPHEMERAL_SECONDS, ROUND_MS, STEP_ENTRIES, TIDY_MS, Retaining
from clarion.journals.sqlite_store import Store
from clarion.retention import Retention, RetentionRules
from clarion.topics import TopicSet

START_MS = 1_790_000_000_000


class Bench:
    def __init__(self, path: Path) -> None:
        self.now_ms = START_MS
        self.file = JournalFile(path)
        self.file.open()
        self.store = Store(self.file)
        self.keep()

    def keep(self, hub: Retention = Retention(), **topics: Retention) -> None:  # noqa: B008 (immutable)
        rules = RetentionRules(hub, {name.replace("_", "/"): rule for name, rule in topics.items()})
        self.retaining = Retaining(self.store, rules, lambda: self.now_ms, follow_grace_ms=0)

    def append(self, *topics: str, **options: object) -> None:
        drafts = [draft(name, text="x" * 50, created_ms=self.now_ms, **options) for name in topics]  # type: ignore[arg-type]
        for entries in self.store.append([drafts]).commits:
            self.retaining.note(entries)

    def settle(self, limit: int = 1_000) -> int:
        """Step until nothing is left to do. How many steps."""
        for count in range(limit):
            if not self.retaining.step(idle=True):
                return count
        raise AssertionError("retention does not come to an end")

    def offsets(self, *topics: str, after: int = 0) -> tuple[list[int], int | None]:
        wanted = TopicSet(topics) if topics else None
        page = read_page(self.store.connection, after, wanted, 10**6, 10**9, self.now_ms)
        return [entry.offset for entry in page.entries], page.missed

    def count(self, table: str) -> int:
        return int(self.store.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def check_totals(self) -> None:
        held = self.store.connection.execute("SELECT kept_entries, kept_bytes, trimmed_entries FROM meta").fetchone()
        counted = self.store.connection.execute(
            "SELECT count(*), coalesce(sum(length(frame)), 0) FROM entries WHERE kind = 0"
        ).fetchone()
        assert held == (*counted, self.count("trimmed"))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "events.db")
    yield bench
    bench.check_totals()
    bench.store.close()
    bench.file.close()


def test_by_count(bench: Bench) -> None:
    bench.keep(Retention(max_count=10))
    bench.append(*"ab" * 10)
    bench.settle()
    assert bench.offsets() == (list(range(11, 21)), 10)
    assert bench.offsets("a") == ([11, 13, 15, 17, 19], 5)
    assert bench.offsets("a", after=7) == ([11, 13, 15, 17, 19], 1)
    assert bench.offsets("a", after=10) == ([11, 13, 15, 17, 19], 0)


def test_by_bytes_nothing_more_than_needed(bench: Bench) -> None:
    bench.append(*"a" * 20)
    size = len(read_tail(bench.store.connection, 1, 10**6)[1][0].frame)
    bench.keep(Retention(max_bytes=5 * size))
    bench.settle()
    assert bench.offsets()[0] == list(range(16, 21))


def test_by_age(bench: Bench) -> None:
    bench.keep(Retention(max_age_seconds=60))
    for _ in range(5):
        bench.append("a")
        bench.now_ms += 10_000
    bench.now_ms += 20_001
    bench.settle()
    assert bench.offsets() == ([3, 4, 5], 2)


def test_a_topic_s_own_rule_of_each_kind(bench: Bench) -> None:
    bench.append(*["few", "room/1", "room/2", "old", "free"] * 20)
    size = len(read_tail(bench.store.connection, 1, 10**6)[1][0].frame)
    bench.now_ms += 30_000
    bench.keep(
        Retention(),
        few=Retention(max_count=3),
        room_1=Retention(max_bytes=100 * size),
        **{"room_**": Retention(max_bytes=4 * size)},
        old=Retention(max_age_seconds=20),
    )
    bench.settle()
    kept = {name: len(bench.offsets(name)[0]) for name in ("few", "room/1", "room/2", "old", "free")}
    assert kept == {"few": 3, "room/1": 20, "room/2": 3, "old": 0, "free": 20}
    assert bench.offsets("few", "old", "free")[1] == 17 + 20


def test_a_rule_holds_soon_after_appends_without_a_round(bench: Bench) -> None:
    bench.keep(Retention(), few=Retention(max_count=64))
    bench.settle()
    for _ in range(10):
        bench.append(*["few"] * 30)
        bench.settle()
        assert len(bench.offsets("few")[0]) <= 64


def test_rounds_find_topics_that_grew_old(bench: Bench) -> None:
    bench.keep(Retention(), **{"room_*": Retention(max_age_seconds=60)})
    bench.append(*[f"room/{n}" for n in range(300)])
    bench.settle()
    bench.now_ms += 61_000 + ROUND_MS
    bench.settle()
    assert bench.offsets() == ([], 300)


def test_steps_are_bounded(bench: Bench) -> None:
    bench.append(*"a" * (3 * STEP_ENTRIES))
    bench.keep(Retention(max_count=10))
    assert bench.retaining.step(idle=False)
    assert len(bench.offsets()[0]) == 2 * STEP_ENTRIES
    bench.settle()
    assert len(bench.offsets()[0]) == 10


def test_a_busy_journal_lets_a_few_be_over(bench: Bench) -> None:
    bench.keep(Retention(max_count=6_400))
    bench.settle()
    bench.append(*"a" * 6_450)
    bench.retaining.step(idle=False)
    assert len(bench.offsets()[0]) == 6_450
    bench.append(*"a" * 60)
    bench.retaining.step(idle=False)
    assert len(bench.offsets()[0]) == 6_400


def test_ephemeral_entries_go_and_do_not_count(bench: Bench) -> None:
    bench.keep(Retention(max_count=5))
    bench.append(*"aaa")
    bench.append(*"a" * 50, ephemeral=True)
    bench.settle()
    assert bench.offsets() == ([1, 2, 3], 0)
    bench.now_ms += EPHEMERAL_SECONDS * 1000 - 1
    bench.settle()
    assert bench.count("entries") == 53
    bench.now_ms += TIDY_MS
    bench.settle()
    assert bench.count("entries") == 3
    assert bench.offsets() == ([1, 2, 3], 0)


def test_ephemeral_entries_stay_as_long_whatever_their_publishers_clock_says(bench: Bench) -> None:
    bench.now_ms -= 10**9
    bench.append("a", ephemeral=True)
    bench.now_ms += 10**9
    bench.settle()
    assert bench.count("entries") == 1


def test_expired_entries_go_and_are_not_missed(bench: Bench) -> None:
    bench.keep(Retention(max_count=3))
    bench.append(*"aaaa", ttl_seconds=10)
    bench.append(*"aa")
    bench.settle()
    assert bench.offsets("a") == ([4, 5, 6], 3)
    bench.now_ms += 10_000
    assert bench.offsets("a") == ([5, 6], 0)  # those that were taken away would have expired by now
    bench.settle()
    assert bench.count("entries") == 2
    assert bench.offsets("a") == ([5, 6], 0)


def test_keys_are_forgotten_after_their_window(bench: Bench) -> None:
    bench.append("a", key="k")
    bench.now_ms += KEY_WINDOW_SECONDS * 1000 - 1
    bench.settle()
    assert bench.count("keys") == 1
    bench.now_ms += TIDY_MS
    bench.settle()
    assert bench.count("keys") == 0


def test_what_is_no_longer_remembered_is_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_retention, "MAX_TRIMMED_ENTRIES", 20)
    bench.append(*"ab" * 50)
    bench.keep(Retention(max_count=10))
    bench.settle()
    assert bench.count("trimmed") == 20
    assert bench.offsets("a", after=0)[1] is None
    assert bench.offsets("a", after=69)[1] is None
    assert bench.offsets("a", after=70)[1] == 10
    assert bench.offsets("a", "*", after=80)[1] == 10
    assert bench.offsets("a", "*", after=90)[1] == 0


def test_two_writers_share_the_totals(bench: Bench) -> None:
    other = Store(bench.file)
    bench.keep(Retention(max_count=10))
    other.append([[draft("a", text="x", created_ms=START_MS)] * 30])
    bench.settle()
    assert len(bench.offsets()[0]) == 10
    other.refresh()
    assert other.kept_entries == 10
    other.close()


def test_a_clock_that_is_set_back_stops_nothing(bench: Bench) -> None:
    bench.keep(Retention(max_age_seconds=60))
    bench.settle()
    bench.now_ms -= 10**8
    bench.append("a", ttl_seconds=1)
    bench.now_ms += 2_000
    bench.settle()
    assert bench.count("entries") == 0


def test_the_tail_ends_where_an_entry_is_gone(bench: Bench) -> None:
    bench.append(*"aa")
    bench.append("a", ttl_seconds=1)
    bench.append(*"aaa")
    bench.now_ms += 1_000
    bench.settle()
    floor, entries = read_tail(bench.store.connection, 10, 10**6)
    assert (floor, [entry.offset for entry in entries]) == (3, [4, 5, 6])


def test_a_follower_sees_what_it_cannot_have(bench: Bench) -> None:
    bench.append(*"aaaa")
    assert read_run(bench.store.connection, 1).complete
    bench.keep(Retention(max_count=1))
    bench.settle()
    assert not read_run(bench.store.connection, 2).complete
    assert read_run(bench.store.connection, 3).complete

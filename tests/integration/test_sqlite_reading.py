"""A page costs what it returns: not the history before its cursor, and not other topics' entries."""

import sqlite3
import time
from collections.abc import Callable, Iterator

import pytest

from clarion.event import draft
from clarion.journals import sqlite_missed, sqlite_reading, sqlite_topics
from clarion.journals.base import Page
from clarion.journals.sqlite_file import JournalFile
from clarion.journals.sqlite_reading import find_bounds, find_start, read_page
from clarion.journals.sqlite_store import Store
from clarion.retention import Since
from clarion.topics import TopicSet

NOW_MS = 1_790_000_000_000
ENTRIES = 40_000
READER = ["feed", "@all", "@user/7", "@client/c1"]


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """40,000 entries: each 20th of `feed`, the others of 100 orders and of thousands of rooms."""
    file = JournalFile(tmp_path_factory.mktemp("reading") / "events.db")
    file.open()
    store = Store(file)
    topics = ["feed" if n % 20 == 0 else f"orders/{n % 100}" if n % 3 else f"rooms/{n}" for n in range(ENTRIES)]
    for start in range(0, ENTRIES, 4_000):
        store.append([[draft(topic, text="x" * 100, created_ms=NOW_MS) for topic in topics[start : start + 4_000]]])
    connection = file.connect(reading=True)
    yield connection
    connection.close()
    store.close()
    file.close()


def steps(connection: sqlite3.Connection, work: Callable[[], object]) -> int:
    """How much SQLite has to do for `work`, in hundreds of steps of its virtual machine: the same on any machine."""
    count = 0

    def progress() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(progress, 100)
    try:
        work()
    finally:
        connection.set_progress_handler(None, 0)
    return count


def page(connection: sqlite3.Connection, after: int, topics: list[str] | None, entries: int = 50) -> Page:
    return read_page(connection, after, TopicSet(topics) if topics else None, entries, 10**6, NOW_MS)


@pytest.mark.parametrize(
    "topics",
    [READER, ["orders/*", *READER], [f"orders/{n}" for n in range(300)], ["rooms/*"], ["**"], None],
    ids=["a reader's", "a pattern", "300 topics", "thousands of rooms", "everything", "all"],
)
def test_history_before_the_cursor_costs_nothing(connection: sqlite3.Connection, topics: list[str] | None) -> None:
    early = steps(connection, lambda: page(connection, 100, topics))
    late = steps(connection, lambda: page(connection, ENTRIES - 2_000, topics))
    assert late <= 1.5 * early + 20


@pytest.mark.parametrize("topics", [READER, ["feed/**", "feed"], ["nothing", "no/*"]])
def test_other_topics_entries_cost_nothing(connection: sqlite3.Connection, topics: list[str]) -> None:
    """A page of 50 lies among 1,000 entries of others; going through all would be 40,000."""
    assert steps(connection, lambda: page(connection, 0, topics)) < 100
    everything = steps(connection, lambda: page(connection, 0, ["**/nothing"]))
    assert everything > 1_000  # what it would cost otherwise: the measure measures


@pytest.mark.parametrize("since", [Since(earliest=True), Since(last=20), Since(after_ms=NOW_MS), Since(after_ms=1)])
def test_finding_a_start_costs_little(connection: sqlite3.Connection, since: Since) -> None:
    assert steps(connection, lambda: find_start(connection, TopicSet(READER), since, NOW_MS)) < 60
    assert steps(connection, lambda: find_bounds(connection)) < 10


@pytest.mark.parametrize(
    ("topics", "bound"), [(["feed"], 200), (READER, 200), (["orders/*"], 350), (None, 200)], ids=str
)
def test_the_last_n_cost_no_more_than_there_are(
    connection: sqlite3.Connection, topics: list[str] | None, bound: int
) -> None:
    """A huge n is the whole history; else it costs a step in the index for each of n, and no look into the table."""
    wanted = TopicSet(topics) if topics else None
    assert steps(connection, lambda: find_start(connection, wanted, Since(last=1_000_000), NOW_MS)) < 100
    assert steps(connection, lambda: find_start(connection, wanted, Since(last=1_500), NOW_MS)) < bound


def test_pages_through_a_long_history_take_as_long_at_its_end(connection: sqlite3.Connection) -> None:
    def seconds(after: int) -> float:
        began = time.perf_counter()
        page(connection, after, READER)
        return time.perf_counter() - began

    early = min(seconds(100) for _ in range(20))
    late = min(seconds(ENTRIES - 2_000) for _ in range(20))
    assert late < 3 * early


def plan(connection: sqlite3.Connection, query: str) -> str:
    rows = connection.execute(f"EXPLAIN QUERY PLAN {query}", (1,) * max(query.count("?"), 1))
    return "; ".join(row[3] for row in rows)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (sqlite_reading._OF_TOPIC, "COVERING INDEX entries_by_topic (topic=? AND kind=? AND rowid>?)"),
        (
            sqlite_reading._OF_TOPIC_NEWEST_FIRST,
            "COVERING INDEX entries_by_topic (topic=? AND kind=? AND rowid<?)",
        ),
        (sqlite_reading._BY_OFFSETS, "SEARCH entries USING INTEGER PRIMARY KEY (rowid=?)"),
        (sqlite_reading._ALL_AFTER, "SEARCH entries USING INTEGER PRIMARY KEY (rowid>?)"),
        (sqlite_reading._EVERYTHING_AFTER, "SEARCH entries USING INTEGER PRIMARY KEY (rowid>?)"),
        (sqlite_reading._TOPICS_AFTER, "SEARCH entries USING INTEGER PRIMARY KEY (rowid>?)"),
        (
            f"SELECT count(*) FROM trimmed WHERE topic = ? AND {sqlite_missed._AMONG}",
            "SEARCH trimmed USING PRIMARY KEY (topic=? AND offset>? AND offset<?)",
        ),
    ],
)
def test_the_plans_of_queries(connection: sqlite3.Connection, query: str, expected: str) -> None:
    found = plan(connection, query)
    assert expected in found
    assert "TEMP B-TREE" not in found


def test_topics_are_found_by_searches_in_the_index(connection: sqlite3.Connection) -> None:
    (span,), _ = sqlite_topics.spans_of("orders/*")
    found = list(sqlite_topics.topics_in(connection, span))
    assert found == sorted(f"orders/{n}" for n in range(100) if n % 20)
    assert steps(connection, lambda: list(sqlite_topics.topics_in(connection, span))) < 150

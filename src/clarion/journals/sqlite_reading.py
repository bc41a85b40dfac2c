"""The reading side of an SQLite journal: pages, places and counts, each as of one moment.

Synchronous functions on a connection of their own. A page of topics is found by the index of topics, so it costs what
it returns; patterns are first turned into the topics there are. Only a pattern that has too many of them, or that
begins with a wildcard, is found by going through all entries after the cursor.
"""

# ruff: noqa: S608 (queries are put together from constants of this package; values are always bound)

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import merge
from itertools import islice
from typing import Final, NamedTuple

from clarion.event import Entry
from clarion.journals.base import FOLLOW_BATCH_ENTRIES, Bounds, Page
from clarion.journals.sqlite_missed import missed
from clarion.journals.sqlite_store import Row, entry_of
from clarion.journals.sqlite_topics import begins_at_root, spans_of, terms_of, topics_in
from clarion.retention import Since
from clarion.topics import TopicSet, matches

# Above this, going through everything after the cursor is cheaper than a search per topic (2 us each) for every page.
MAX_EXPANDED_TOPICS: Final = 500
FOLLOW_PAGE_BYTES: Final = 4 * 1024**2  # of frames that a follower reads at once: bounds its memory
_LOOKUP = 64  # entries looked up by one statement
_FIRST_OFFSETS = 2 * _LOOKUP  # asked of all topics together at first: most readers miss little
_MOST_OFFSETS = 512  # asked of one topic at once

_COLUMNS = "offset, topic, created_ms, expires_ms, kind, frame, value_bytes"
_LIVING = "(expires_ms IS NULL OR expires_ms > ?)"
_OF_TOPIC = "SELECT offset FROM entries WHERE topic = ? AND kind = 0 AND offset > ? ORDER BY offset LIMIT ?"
_OF_TOPIC_NEWEST_FIRST = (
    "SELECT offset FROM entries WHERE topic = ? AND kind = 0 AND offset < ? ORDER BY offset DESC LIMIT ?"
)
_BY_OFFSETS = (
    f"SELECT {_COLUMNS} FROM entries WHERE offset IN ({','.join('?' * _LOOKUP)}) AND {_LIVING} ORDER BY offset"
)
_ALL_AFTER = f"SELECT {_COLUMNS} FROM entries NOT INDEXED WHERE offset > ? AND kind = 0 AND {_LIVING} ORDER BY offset"
_TOPICS_AFTER = f"SELECT offset, topic FROM entries NOT INDEXED WHERE offset > ? AND kind = 0 AND {_LIVING}"
_ANY_EXPIRED = "SELECT 1 FROM entries WHERE expires_ms <= ? LIMIT 1"
_EVERYTHING_AFTER = f"SELECT {_COLUMNS} FROM entries WHERE offset > ? ORDER BY offset LIMIT {FOLLOW_BATCH_ENTRIES}"
_EVERYTHING_NEWEST_FIRST = f"SELECT {_COLUMNS} FROM entries ORDER BY offset DESC"


class Run(NamedTuple):
    """What a follower did not have yet, up to offset `through`. `complete`: nothing of that was taken away before."""

    entries: list[Entry]
    through: int
    complete: bool


@contextmanager
def moment(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is read inside is as of one moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def read_page(
    connection: sqlite3.Connection, after: int, topics: TopicSet | None, max_entries: int, max_bytes: int, now_ms: int
) -> Page:
    """See `Journal.read`."""
    with moment(connection):
        entries: list[Entry] = []
        size = 0
        through = newest_of(connection)
        for row in _rows_after(connection, after, topics, now_ms):
            if len(entries) >= max_entries or size >= max_bytes:
                through = entries[-1].offset
                break
            entries.append(entry_of(row))
            size += len(row[5])
        through = max(after, through)
        return Page(entries, through, missed(connection, after, through, topics, now_ms))


def read_run(connection: sqlite3.Connection, after: int) -> Run:
    """What a follower at `after` has not seen yet, a bounded part of it. Offsets are given without holes."""
    with moment(connection):
        entries: list[Entry] = []
        size = 0
        through = max(after, newest_of(connection))
        for row in connection.execute(_EVERYTHING_AFTER, (after,)):
            entries.append(entry_of(row))
            size += len(row[5])
            if size >= FOLLOW_PAGE_BYTES or len(entries) == FOLLOW_BATCH_ENTRIES:
                through = row[0]
                break
        return Run(entries, through, len(entries) == through - after)


def read_tail(connection: sqlite3.Connection, max_entries: int, max_bytes: int) -> tuple[int, list[Entry]]:
    """See `Journal.tail`. Offsets are given without holes, so the run ends where one is gone."""
    with moment(connection):
        floor = newest_of(connection)
        newest_first: list[Entry] = []
        size = 0
        for row in connection.execute(_EVERYTHING_NEWEST_FIRST):
            size += len(row[5])
            if row[0] != floor or len(newest_first) >= max_entries or size > max_bytes:
                break
            newest_first.append(entry_of(row))
            floor -= 1
        newest_first.reverse()
        return floor, newest_first


def find_bounds(connection: sqlite3.Connection) -> Bounds:
    """See `Journal.bounds`."""
    with moment(connection):
        newest = newest_of(connection)
        oldest = connection.execute(
            "SELECT offset FROM entries NOT INDEXED WHERE kind = 0 ORDER BY offset LIMIT 1"
        ).fetchone()
        return Bounds(newest + 1 if oldest is None else int(oldest[0]), newest)


def find_start(connection: sqlite3.Connection, topics: TopicSet | None, since: Since, now_ms: int) -> int:
    """See `Journal.seek`."""
    with moment(connection):
        newest = newest_of(connection)
        if since.earliest or (since.last is not None and since.last >= _kept(connection)):
            first = next(_rows_after(connection, 0, topics, now_ms), None)
            return newest if first is None else first[0] - 1
        if since.after_ms is not None:
            return _last_until(connection, since.after_ms, newest)
        if since.last is not None:
            found = list(islice(_offsets_newest_first(connection, newest, topics, now_ms), since.last))
            return found[-1] - 1 if found else newest
        return newest


def newest_of(connection: sqlite3.Connection) -> int:
    """The newest offset ever given."""
    return int(connection.execute("SELECT newest FROM meta").fetchone()[0])


def _kept(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT kept_entries FROM meta").fetchone()[0])


def _last_until(connection: sqlite3.Connection, time_ms: int, newest: int) -> int:
    """The offset before the first entry published after `time_ms`.

    Found by halving, for times rise with offsets as far as the publishers' clocks agree; where they do not, the
    start is off by as much as they are.
    """
    low, high = 0, newest + 1  # all up to `low` is before or at that time, all from `high` on is after it
    while high - low > 1:
        middle = (low + high) // 2
        row = connection.execute(
            "SELECT offset, created_ms FROM entries NOT INDEXED WHERE offset >= ? AND offset < ? AND kind = 0 "
            "ORDER BY offset LIMIT 1",
            (middle, high),
        ).fetchone()
        if row is None or row[1] > time_ms:
            high = middle
        else:
            low = row[0]
    return low


def _rows_after(connection: sqlite3.Connection, after: int, topics: TopicSet | None, now_ms: int) -> Iterator[Row]:
    """The entries of `topics` after an offset, in order, read as they are asked for."""
    if topics is None:
        return iter(connection.execute(_ALL_AFTER, (after, now_ms)))
    names = expanded(connection, topics)
    if names is None:
        return _rows_at(connection, _offsets_of_wide_patterns(connection, after, topics, now_ms), now_ms)
    step = _first_step(names)
    offsets = merge(*(_offsets_after(connection, name, after, step) for name in names))
    return _rows_at(connection, offsets, now_ms)


def expanded(connection: sqlite3.Connection, topics: TopicSet) -> list[str] | None:
    """The topics there are that the set asks for. None if they are too many, or could be any."""
    if any(begins_at_root(pattern) for pattern in topics.patterns):
        return None
    names = dict.fromkeys(topics.exact)
    seen = 0
    for pattern in topics.patterns:
        spans, beside = spans_of(pattern)
        names.update(dict.fromkeys(beside))
        for span in spans:
            for topic in topics_in(connection, span):
                seen += 1
                if seen > MAX_EXPANDED_TOPICS:
                    return None
                if matches(pattern, topic):
                    names[topic] = None
    return list(names)


def _first_step(names: list[str]) -> int:
    return max(2, _FIRST_OFFSETS // max(1, len(names)))


def _offsets_after(connection: sqlite3.Connection, topic: str, after: int, step: int) -> Iterator[int]:
    while True:
        found = connection.execute(_OF_TOPIC, (topic, after, step)).fetchall()
        for row in found:
            yield row[0]
        if len(found) < step:
            return
        after = found[-1][0]
        step = min(4 * step, _MOST_OFFSETS)


def _rows_at(connection: sqlite3.Connection, offsets: Iterator[int], now_ms: int) -> Iterator[Row]:
    while some := list(islice(offsets, _LOOKUP)):
        some.extend([0] * (_LOOKUP - len(some)))  # no entry has offset 0
        yield from connection.execute(_BY_OFFSETS, (*some, now_ms))


def _offsets_of_wide_patterns(
    connection: sqlite3.Connection, after: int, topics: TopicSet, now_ms: int
) -> Iterator[int]:
    wanted = remembered(topics)
    for offset, topic in connection.execute(*_wide_query(after, topics, now_ms)):
        if wanted(topic):
            yield offset


def _wide_query(after: int, topics: TopicSet, now_ms: int) -> tuple[str, list[int | str | bytes]]:
    """A pass over all entries after the cursor that leaves what cannot match to SQLite."""
    found = terms_of(topics, MAX_EXPANDED_TOPICS)
    if found is None:
        return f"{_TOPICS_AFTER} ORDER BY offset", [after, now_ms]
    terms, values = found
    return f"{_TOPICS_AFTER} AND {terms} ORDER BY offset", [after, now_ms, *values]


def remembered(topics: TopicSet) -> Callable[[str], bool]:
    """`topics.matches`, worked out once for each topic."""
    known: dict[str, bool] = {}

    def wanted(topic: str) -> bool:
        answer = known.get(topic)
        if answer is None:
            answer = known[topic] = topics.matches(topic)
        return answer

    return wanted


def _offsets_newest_first(
    connection: sqlite3.Connection, newest: int, topics: TopicSet | None, now_ms: int
) -> Iterator[int]:
    names = None if topics is None else expanded(connection, topics)
    if names is None:
        wanted = (lambda _: True) if topics is None else remembered(topics)
        rows = connection.execute(
            f"SELECT offset, topic FROM entries NOT INDEXED WHERE kind = 0 AND {_LIVING} ORDER BY offset DESC",
            (now_ms,),
        )
        return (offset for offset, topic in rows if wanted(topic))
    step = _first_step(names)
    merged = merge(*(_offsets_before(connection, name, newest + 1, step) for name in names), reverse=True)
    if connection.execute(_ANY_EXPIRED, (now_ms,)).fetchone() is None:
        return merged  # as nearly always, for retention takes them away: no need to look at each
    return _living(connection, merged, now_ms)


def _offsets_before(connection: sqlite3.Connection, topic: str, before: int, step: int) -> Iterator[int]:
    while True:
        found = connection.execute(_OF_TOPIC_NEWEST_FIRST, (topic, before, step)).fetchall()
        for row in found:
            yield row[0]
        if len(found) < step:
            return
        before = found[-1][0]
        step = min(4 * step, _MOST_OFFSETS)


def _living(connection: sqlite3.Connection, offsets: Iterator[int], now_ms: int) -> Iterator[int]:
    for offset in offsets:
        row = connection.execute("SELECT expires_ms FROM entries WHERE offset = ?", (offset,)).fetchone()
        if row[0] is None or row[0] > now_ms:
            yield offset


def find_last_change(connection: sqlite3.Connection) -> int:
    """See `Journal.last_change`."""
    return int(connection.execute("SELECT last_change FROM meta").fetchone()[0])

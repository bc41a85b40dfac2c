"""How many entries a reader missed: counted from what retention left of the entries it took away."""

# ruff: noqa: S608 (queries are put together from constants of this package; values are always bound)

from __future__ import annotations

import sqlite3
from typing import Final

from clarion.journals.sqlite_topics import spans_of
from clarion.topics import TopicSet

MAX_TRIMMED_ENTRIES: Final = 100_000  # remembered: about 10 MB of the file, and some 10 ms to count them all
_TOPICS_AT_ONCE = 200  # names in one statement: any SQLite takes 999

_AMONG = "offset > ? AND offset <= ? AND (expires_ms IS NULL OR expires_ms > ?)"


def missed(
    connection: sqlite3.Connection, after: int, through: int, topics: TopicSet | None, now_ms: int
) -> int | None:
    """How many entries of `topics` with after < offset <= through are gone; None if that is no longer known.

    Costs one comparison for a reader that is newer than all that was taken away.
    """
    trimmed_through, floor = connection.execute("SELECT trimmed_through, trimmed_floor FROM meta").fetchone()
    if after >= trimmed_through or after >= through:
        return 0
    if after < floor:
        return None
    among = (after, min(through, trimmed_through), now_ms)
    if topics is None:
        return int(connection.execute(f"SELECT count(*) FROM trimmed WHERE {_AMONG}", among).fetchone()[0])
    counts: dict[str, int] = {}
    exact = list(topics.exact)
    for pattern in topics.patterns:
        spans, beside = spans_of(pattern)
        exact += beside
        for span in spans:
            grouped = f"SELECT topic, count(*) FROM trimmed WHERE topic > ? AND topic < ? AND {_AMONG} GROUP BY topic"
            counts.update(connection.execute(grouped, (*span, *among)))
    for start in range(0, len(exact), _TOPICS_AT_ONCE):
        names = exact[start : start + _TOPICS_AT_ONCE]
        marks = ",".join("?" * len(names))
        grouped = f"SELECT topic, count(*) FROM trimmed WHERE topic IN ({marks}) AND {_AMONG} GROUP BY topic"
        counts.update(connection.execute(grouped, (*names, *among)))
    return sum(count for topic, count in counts.items() if topics.matches(topic))

"""Which stored topics a pattern can match, found by the index of topics."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from clarion.topics import TopicSet, matches

_STEP = 64  # topics looked up with one statement

# A "loose" scan: one search in the index per topic, however many entries each topic has.
_DISTINCT = """
WITH RECURSIVE found (topic) AS (
    SELECT (SELECT min(topic) FROM entries WHERE kind = 0 AND topic > ?1 AND topic < ?2)
    UNION ALL
    SELECT (SELECT min(topic) FROM entries WHERE kind = 0 AND topic > found.topic AND topic < ?2)
    FROM found WHERE found.topic IS NOT NULL
)
SELECT topic FROM found WHERE topic IS NOT NULL LIMIT ?3
"""


class Span(NamedTuple):
    """All topics above `low` and below `high`, in SQLite's order of text (by bytes of UTF-8; a blob is above all)."""

    low: str
    high: str | bytes


def spans_of(pattern: str) -> tuple[list[Span], list[str]]:
    """Where the topics that `pattern` matches are: spans in which some may match, and topics that do."""
    literal = _literal_levels(pattern)
    if not literal:
        return [Span("", "@"), Span("@\U0010ffff", b"")], []  # all but the hub's own
    prefix = "/".join(literal)
    beside = [topic for topic in (prefix, prefix + "/") if matches(pattern, topic)]
    return [Span(prefix + "/", prefix + "0")], beside  # "0" is the character after "/"


def terms_of(topics: TopicSet, most: int) -> tuple[str, list[str | bytes]] | None:
    """What of a set SQLite can decide by itself: a condition on `topic` that all that match fulfil, and its values.

    None where that would take more than `most` values, or more variables than SQLite may be built for.
    """
    terms: list[str] = []
    values: list[str | bytes] = []
    names = dict.fromkeys(topics.exact)
    for pattern in topics.patterns:
        spans, beside = spans_of(pattern)
        names.update(dict.fromkeys(beside))
        for span in spans:
            terms.append("topic > ? AND topic < ?")
            values.extend(span)
    if len(names) + len(values) > most:
        return None
    if names:
        terms.append(f"topic IN ({','.join('?' * len(names))})")
        values.extend(names)
    return f"({' OR '.join(terms)})", values


def begins_at_root(pattern: str) -> bool:
    """Whether nothing about where `pattern` matches is known before its first wildcard."""
    return not _literal_levels(pattern)


def topics_in(connection: sqlite3.Connection, span: Span) -> Iterator[str]:
    """The topics in `span` that have entries, in order. Costs one search in the index for each."""
    low = span.low
    while True:
        found = [str(row[0]) for row in connection.execute(_DISTINCT, (low, span.high, _STEP))]
        yield from found
        if len(found) < _STEP:
            return
        low = found[-1]


def _literal_levels(pattern: str) -> list[str]:
    literal: list[str] = []
    for level in pattern.split("/"):
        if level in ("*", "**"):
            break
        literal.append(level)
    return literal

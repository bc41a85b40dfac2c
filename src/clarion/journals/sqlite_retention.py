"""Retention of an SQLite journal: what goes over the bounds is taken away, a bounded step at a time.

Run by the thread that writes, between appends. A step is a transaction of its own that does not wait for the disk: if
a power cut undoes it, it is done again. The journal's own bounds are exact across processes, for what is kept is
counted in the file. A topic's rule is looked at after a share of its bound has been appended by this process, and on
a round over all topics; in between it may be overshot by that share and by what other processes append. What is
newer than `FOLLOW_GRACE_MS` stays in any case.
"""

# ruff: noqa: S608 (queries are put together from constants of this package; values are always bound)

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from clarion.event import Entry
from clarion.journals.base import KEY_WINDOW_SECONDS
from clarion.journals.sqlite_letting_go import clean, let_go
from clarion.journals.sqlite_missed import MAX_TRIMMED_ENTRIES
from clarion.journals.sqlite_store import Store
from clarion.journals.sqlite_topics import spans_of, topics_in
from clarion.retention import Retention, RetentionRules
from clarion.topics import is_pattern

STEP_ENTRIES: Final = 2_048  # taken away at once: 10 to 20 ms, and more than a group of appends adds
SLACK_SHARE: Final = 64  # a bound is looked after once 1/64 of it was appended: few, larger steps
SLACK_ENTRIES: Final = 256  # ... or this much, whichever is less
# What is newer stays whatever the bounds are, for followers of other processes to read it: they do within 50 ms, and a
# bound such as "the last one of each topic" would otherwise cost their readers events.
FOLLOW_GRACE_MS: Final = 1_000
EXPIRED_GRACE_MS: Final = 2_000  # a value whose time is over is kept for so long: it may be told just before
MARK_MS: Final = 100  # between two notes of how far the journal was when
EPHEMERAL_SECONDS: Final = 5  # followers of other processes read within 50 ms; a process that stalls may take longer
TIDY_MS: Final = 250  # between two looks at ages
ROUND_MS: Final = 10_000  # rest between two rounds over all topics that have rules
ROUND_TOPICS: Final = 128  # looked at in one step of a round: about 2 ms

_COUNT = "SELECT count(*), coalesce(sum(length(frame)), 0), coalesce(max(offset), 0) FROM "
_LEAVE_TRACES = "INSERT INTO trimmed (topic, offset, expires_ms) SELECT topic, offset, expires_ms FROM "
_LIVING = " AND (expires_ms IS NULL OR expires_ms > ?)"
_SHRUNK = (
    "UPDATE meta SET kept_entries = kept_entries - ?, kept_bytes = kept_bytes - ?, "
    "trimmed_entries = trimmed_entries + ?, trimmed_through = max(trimmed_through, ?)"
)

# Each finds the newest offset to take away among the oldest STEP_ENTRIES, of all topics or of one.
_OLDEST = f"(SELECT offset, created_ms, length(frame) AS size FROM %s ORDER BY offset LIMIT {STEP_ENTRIES})"
_BY_COUNT = f"SELECT max(offset) FROM (SELECT offset FROM {_OLDEST} ORDER BY offset LIMIT ?)"
_BY_BYTES = (
    "SELECT max(offset) FROM (SELECT offset, size, sum(size) OVER (ORDER BY offset) AS total "
    f"FROM {_OLDEST}) WHERE total - size < ?"
)
_BY_AGE = f"SELECT max(offset) FROM {_OLDEST} WHERE created_ms < ?"

_ALL = "entries NOT INDEXED WHERE kind = 0"
_TOPIC = "entries WHERE topic = ? AND kind = 0"


class Retaining:
    """Keeps one journal within its rules. Used by the thread of its `Store` only."""

    def __init__(
        self,
        store: Store,
        rules: RetentionRules,
        now_ms: Callable[[], int],
        *,
        follow_grace_ms: int = FOLLOW_GRACE_MS,
    ) -> None:
        self._follow_grace_ms = follow_grace_ms
        self._store = store
        self._connection = store.connection
        self._rules = rules
        self._now_ms = now_ms
        self._grown: dict[str, tuple[int, int]] = {}  # entries and bytes of ruled topics since they were looked at
        self._due: dict[str, Retention] = {}
        self._round: Iterator[str] | None = None
        self._marks: deque[tuple[int, int]] = deque()  # when which offset was the newest
        self._tidy_due_ms = 0
        self._round_due_ms = 0
        store.refresh()

    def note(self, entries: Sequence[Entry]) -> None:
        """Take note of what was appended."""
        if not self._rules.topics:
            return
        for entry in entries:
            rule = None if entry.ephemeral or entry.change else self._rules.rule_for(entry.topic)
            if rule is None:
                continue
            count, size = self._grown.get(entry.topic, (0, 0))
            count, size = count + 1, size + len(entry.frame)
            if count * SLACK_SHARE >= (rule.max_count or count * SLACK_SHARE + 1) or size * SLACK_SHARE >= (
                rule.max_bytes or size * SLACK_SHARE + 1
            ):
                self._due[entry.topic] = rule
                self._grown.pop(entry.topic, None)
            else:
                self._grown[entry.topic] = (count, size)

    def step(self, *, idle: bool) -> bool:
        """Do one bounded step, if something is to be done. Whether there may be more. Raises `sqlite3.Error`.

        idle: no append is waiting, so the last few over a bound go too.
        """
        now_ms = self._now_ms()
        self._mark(now_ms)
        if self._is_over(0 if idle else SLACK_ENTRIES) and self._trim_all(self._rules.hub, now_ms):
            return True
        if self._due and self._trim_due(now_ms):
            return True
        if now_ms >= self._tidy_due_ms or now_ms < self._tidy_due_ms - TIDY_MS:
            if self._tidy(now_ms):
                return True
            self._tidy_due_ms = now_ms + TIDY_MS
            if idle and self._is_over(0) and self._trim_all(self._rules.hub, now_ms):
                return True
        return self._go_round(now_ms)

    def _trim_due(self, now_ms: int) -> bool:
        """Trim topics that have grown over their rule, until one step was done. Those that are too new wait."""
        for topic, rule in list(self._due.items()):
            if self._trim_topic(topic, rule, now_ms):
                return True
            if not self._last_of_topic(topic, rule, now_ms):
                del self._due[topic]
        return False

    def _is_over(self, slack: int) -> bool:
        bound = self._rules.hub
        count, size = bound.max_count, bound.max_bytes
        return (count is not None and self._store.kept_entries > count + min(slack, count // SLACK_SHARE)) or (
            size is not None and self._store.kept_bytes > size + (size // SLACK_SHARE if slack else 0)
        )

    def _trim_all(self, bound: Retention, now_ms: int) -> bool:
        """Take away what goes over the journal's own bounds. Whether something was."""
        with self._store.transaction(durable=False):
            self._store.refresh()
            last = 0
            if bound.max_count is not None and (over := self._store.kept_entries - bound.max_count) > 0:
                last = self._last(_BY_COUNT % _ALL, over)
            if bound.max_bytes is not None and (over := self._store.kept_bytes - bound.max_bytes) > 0:
                last = max(last, self._last(_BY_BYTES % _ALL, over))
            return self._take_away(_ALL, (), last, now_ms)

    def _trim_topic(self, topic: str, rule: Retention, now_ms: int) -> bool:
        """Take away what goes over the rule of a topic. Whether something was."""
        if not self._last_of_topic(topic, rule, now_ms):
            return False
        first = self._value(f"SELECT min(offset) FROM {_TOPIC}", topic)
        if self._follow_grace_ms and first > self._there_since(now_ms, self._follow_grace_ms):
            return False
        with self._store.transaction(durable=False):
            return self._take_away(_TOPIC, (topic,), self._last_of_topic(topic, rule, now_ms), now_ms)

    def _last_of_topic(self, topic: str, rule: Retention, now_ms: int) -> int:
        """The newest entry of a topic that its rule takes away now; 0 for none."""
        last = 0
        if rule.max_count is not None:
            kept = self._value(f"SELECT count(*) FROM {_TOPIC}", topic)
            if kept > rule.max_count:
                last = self._last(_BY_COUNT % _TOPIC, topic, kept - rule.max_count)
        if rule.max_bytes is not None:
            size = self._value(f"SELECT sum(length(frame)) FROM {_TOPIC}", topic)
            if size > rule.max_bytes:
                last = max(last, self._last(_BY_BYTES % _TOPIC, topic, size - rule.max_bytes))
        if rule.max_age_seconds is not None:
            last = max(last, self._last_by_age(_TOPIC, (topic,), rule.max_age_seconds, now_ms))
        return last

    def _last_by_age(self, which: str, values: tuple[str, ...], max_age_seconds: float, now_ms: int) -> int:
        oldest_ms = now_ms - max_age_seconds * 1000
        first = self._connection.execute(f"SELECT created_ms FROM {which} ORDER BY offset LIMIT 1", values).fetchone()
        if first is None or first[0] >= oldest_ms:
            return 0
        return self._last(_BY_AGE % which, *values, oldest_ms)

    def _take_away(self, which: str, values: tuple[str, ...], last: int, now_ms: int) -> bool:
        """Delete those up to offset `last`, and leave a trace of each that a reader may miss."""
        if self._follow_grace_ms:
            last = min(last, self._there_since(now_ms, self._follow_grace_ms))
        if not last:
            return False
        where = f"{which} AND offset <= ?"
        until = (*values, last)
        count, size, last = self._connection.execute(_COUNT + where, until).fetchone()
        traces = self._connection.execute(_LEAVE_TRACES + where + _LIVING, (*until, now_ms)).rowcount
        self._connection.execute(f"DELETE FROM {where}", until)
        self._connection.execute(_SHRUNK, (count, size, traces, last))
        self._forget_traces()
        self._store.refresh()
        return True

    def _forget_traces(self) -> None:
        over = self._value("SELECT trimmed_entries FROM meta") - MAX_TRIMMED_ENTRIES
        if over <= 0:
            return
        last = self._value("SELECT offset FROM trimmed ORDER BY offset LIMIT 1 OFFSET ?", over - 1)
        gone = self._connection.execute("DELETE FROM trimmed WHERE offset <= ?", (last,)).rowcount
        self._connection.execute(
            "UPDATE meta SET trimmed_entries = trimmed_entries - ?, trimmed_floor = max(trimmed_floor, ?)", (gone, last)
        )

    def _tidy(self, now_ms: int) -> bool:
        """Take away what has become too old, of each kind a bounded number. Whether there may be more."""
        more = False
        self._store.refresh()  # what other processes appended counts too
        max_age_seconds = self._rules.hub.max_age_seconds
        if max_age_seconds is not None and self._last_by_age(_ALL, (), max_age_seconds, now_ms):
            with self._store.transaction(durable=False):
                last = self._last_by_age(_ALL, (), max_age_seconds, now_ms)
                more = self._take_away(_ALL, (), last, now_ms)
        self._mark(now_ms)
        over = self._there_since(now_ms, EPHEMERAL_SECONDS * 1000)
        more |= self._delete("entries", "offset", "kind = 1 AND offset <= ? ORDER BY offset", over)
        more |= self._delete("entries", "offset", "expires_ms <= ? ORDER BY expires_ms", now_ms)
        followed = self._there_since(now_ms, self._follow_grace_ms) if self._follow_grace_ms else self._store.newest
        more |= clean(self._store, followed)
        more |= let_go(self._store, followed, now_ms - EXPIRED_GRACE_MS)
        forgotten_ms = now_ms - KEY_WINDOW_SECONDS * 1000
        more |= self._delete("keys", "topic, key", "created_ms <= ? ORDER BY created_ms", forgotten_ms)
        return more

    def _mark(self, now_ms: int) -> None:
        """Note how far the journal is now: by this clock, whatever the publishers' say."""
        if self._marks and now_ms < self._marks[-1][0]:
            self._marks.clear()  # the clock went back
        if not self._marks or (self._marks[-1][1] != self._store.newest and now_ms - self._marks[-1][0] >= MARK_MS):
            self._marks.append((now_ms, self._store.newest))
        while len(self._marks) > 1 and self._marks[1][0] <= now_ms - EPHEMERAL_SECONDS * 1000:
            self._marks.popleft()

    def _there_since(self, now_ms: int, age_ms: int) -> int:
        """The newest offset that was there `age_ms` ago, as far as was noted; 0 if it is not known."""
        for marked_ms, offset in reversed(self._marks):
            if marked_ms <= now_ms - age_ms:
                return offset
        return 0

    def _delete(self, table: str, columns: str, which: str, until: int) -> bool:
        """Delete what is not counted as missed. Whether something was."""
        if self._connection.execute(f"SELECT 1 FROM {table} WHERE {which} LIMIT 1", (until,)).fetchone() is None:
            return False
        those = f"({columns}) IN (SELECT {columns} FROM {table} WHERE {which} LIMIT {STEP_ENTRIES})"
        with self._store.transaction(durable=False):
            if table == "entries":
                count, size, _ = self._connection.execute(
                    f"{_COUNT}entries WHERE kind = 0 AND {those}", (until,)
                ).fetchone()
                self._connection.execute(_SHRUNK, (count, size, 0, 0))
            self._connection.execute(f"DELETE FROM {table} WHERE {those}", (until,))
            self._store.refresh()
        return True

    def _go_round(self, now_ms: int) -> bool:
        """Look at some of all topics that have rules of their own."""
        if self._round is None:
            if not self._rules.topics or self._round_due_ms - ROUND_MS <= now_ms < self._round_due_ms:
                return False
            self._round = self._ruled_topics()
        for _ in range(ROUND_TOPICS):
            topic = next(self._round, None)
            if topic is None:
                self._round = None
                self._round_due_ms = now_ms + ROUND_MS
                return bool(self._due)
            rule = self._rules.rule_for(topic)
            if rule is not None and self._last_of_topic(topic, rule, now_ms):
                self._due[topic] = rule
        return True

    def _ruled_topics(self) -> Iterator[str]:
        for name in self._rules.topics:
            if not is_pattern(name):
                yield name
                continue
            spans, beside = spans_of(name)
            yield from beside
            for span in spans:
                yield from topics_in(self._connection, span)

    def _last(self, query: str, *values: str | float) -> int:
        """The offset that `query` finds, 0 for none."""
        return self._value(query, *values)

    def _value(self, query: str, *values: str | float) -> int:
        row = self._connection.execute(query, values).fetchone()
        return 0 if row is None or row[0] is None else int(row[0])

"""Both journals against a plain list, and a table of values: whatever is done to them, they say what those say."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from clarion import json
from clarion.changes import change_draft, said
from clarion.errors import NoValue, ValueMismatch, ValueTooLarge
from clarion.event import Draft, draft
from clarion.journals.base import Changed, Journal
from clarion.journals.memory import MemoryJournal
from clarion.journals.sqlite import SqliteJournal
from clarion.retention import Retention, RetentionRules, Since
from clarion.topics import TopicSet
from clarion.values import MISSING, Change, applied

TOPICS = ["a", "a/1", "a/1/x", "a/2", "b", "b/1", "@all", "@user/7"]
PATTERNS = ["a/*", "a/**", "**", "*", "*/1", "b/**"]
START_MS = 1_790_000_000_000
VALUE_BYTES = 200  # of an event with a change: so that values meet their bound

an_event = st.fixed_dictionaries(
    {"topic": st.sampled_from(TOPICS), "text": st.sampled_from(["", "text", "x" * 300])},
    optional={
        "key": st.sampled_from(["k1", "k2"]),
        "ttl_seconds": st.sampled_from([0.5, 30]),
        "ephemeral": st.just(True),
    },
)
texts = st.sampled_from(["", "text", "x" * 60])
data = st.one_of(
    texts,
    st.integers(0, 3),
    st.lists(texts, max_size=2),
    st.dictionaries(st.sampled_from("ab"), st.one_of(st.none(), texts, st.just({"c": "deep"})), max_size=2),
)
a_change = st.one_of(
    st.tuples(st.sampled_from([Change.SET, Change.APPEND, Change.APPEND]), data),
    st.tuples(st.just(Change.MERGE), data.filter(lambda one: isinstance(one, dict))),
    st.tuples(st.just(Change.DELETE), st.none()),
)
a_value = st.fixed_dictionaries(
    {"topic": st.sampled_from(["a", "a/1", "b", "@user/7"]), "change": a_change},
    optional={
        "subject": st.sampled_from(["a", "own"]),
        "key": st.sampled_from(["k1", "k2"]),
        "ttl_seconds": st.sampled_from([0.5, 30]),
    },
)
topic_sets = st.one_of(st.none(), st.lists(st.sampled_from(TOPICS + PATTERNS), min_size=1, max_size=4).map(TopicSet))
a_bound = st.sampled_from(
    [Retention(), Retention(max_count=5), Retention(max_bytes=500), Retention(max_age_seconds=10)]
)


class Kept(NamedTuple):
    offset: int
    topic: str
    created_ms: int
    expires_ms: int | None
    ephemeral: bool
    is_change: bool = False


class Value(NamedTuple):
    """A value after a change; ttl_ms: None for ever."""

    value: Any
    offset: int
    ttl_ms: int | None
    expires_ms: int | None


Key = tuple[str, str]


class JournalMachine(RuleBasedStateMachine):
    """The model is the list of everything ever appended; only what retention took away is the journal's to say."""

    def make(self, place: Path, now_ms: Callable[[], int]) -> Journal:
        raise AssertionError("made by the two below")

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="clarion-model-"))
        self.runner = asyncio.Runner()
        self.now_ms = START_MS
        self.all: list[Kept] = []
        self.keys: dict[tuple[str, str], int] = {}
        self.changes: dict[Key, list[Value]] = {}  # of each value all it ever was
        self.followed: list[int] = []
        self.journal: Journal | None = None

    @initialize(hub=a_bound, of_a=a_bound)
    def open(self, hub: Retention, of_a: Retention) -> None:
        self.retention = RetentionRules(hub, {"a/*": of_a})
        self.start(0)

    def start(self, after: int) -> None:
        self.journal = self.make(self.place, lambda: self.now_ms)
        self.run(self.journal.open(self.retention))
        self.following = self.runner.get_loop().create_task(self.follow(after))
        self.run(asyncio.sleep(0))

    async def follow(self, after: int) -> None:
        async for batch in self.journal.follow(after):  # type: ignore[union-attr]
            self.followed += [entry.offset for entry in batch]

    def run(self, work: Any) -> Any:
        return self.runner.run(asyncio.wait_for(work, 20))

    async def stop(self) -> None:
        await self.journal.close()  # type: ignore[union-attr]
        await asyncio.gather(self.following, return_exceptions=True)

    def teardown(self) -> None:
        if self.journal is not None:
            self.run(self.stop())
        self.runner.close()
        shutil.rmtree(self.place)

    def wanted(self, topics: TopicSet | None, after: int, through: int) -> list[Kept]:
        return [
            one
            for one in self.all
            if after < one.offset <= through
            and not (one.ephemeral or one.is_change)
            and (one.expires_ms is None or one.expires_ms > self.now_ms)
            and (topics is None or topics.matches(one.topic))
        ]

    @rule(batches=st.lists(st.lists(an_event, min_size=1, max_size=5), min_size=1, max_size=4))
    def append(self, batches: list[list[dict[str, Any]]]) -> None:
        drafts = [[draft(created_ms=self.now_ms, **event) for event in batch] for batch in batches]

        async def all_at_once() -> list[Any]:
            return await asyncio.gather(*(self.journal.append(batch) for batch in drafts))  # type: ignore[union-attr]

        outcomes = self.run(all_at_once())
        # Batches of concurrent callers stand in any order; a key's first one is a batch's own business.
        fresh: dict[int, Any] = {}
        for batch, outcome in zip(drafts, outcomes, strict=True):
            new = [one.offset for one in outcome if not one.duplicate]
            assert new == sorted(new)
            for one, (offset, duplicate) in zip(batch, outcome, strict=True):
                if not duplicate:
                    assert offset not in fresh
                    fresh[offset] = one
                else:
                    assert one.key is not None
        for offset in sorted(fresh):
            one = fresh[offset]
            assert offset > (self.all[-1].offset if self.all else 0)
            self.all.append(Kept(offset, one.topic, one.created_ms, one.expires_ms, one.ephemeral))
            if one.key is not None:
                assert (one.topic, one.key) not in self.keys
                self.keys[one.topic, one.key] = offset
        for batch, outcome in zip(drafts, outcomes, strict=True):
            for one, (offset, _) in zip(batch, outcome, strict=True):
                assert one.key is None or self.keys[one.topic, one.key] == offset

    @rule(values=st.lists(a_value, min_size=1, max_size=4), event_at=st.integers(0, 8))
    def change(self, values: list[dict[str, Any]], event_at: int) -> None:
        drafts: list[Draft] = []
        for number, value in enumerate(values):
            if number == event_at:
                drafts.append(draft("a/1", created_ms=self.now_ms))
            options = {name: value[name] for name in value if name not in ("topic", "change")}
            if not value["topic"].startswith("@"):
                options.pop("subject", None)
            drafts.append(
                change_draft(
                    value["topic"],
                    *value["change"],
                    created_ms=self.now_ms,
                    max_event_bytes=VALUE_BYTES,
                    **options,
                )
            )
        newest = self.all[-1].offset if self.all else 0
        expected = self.changed(drafts, newest)
        try:
            outcome = self.run(self.journal.append(drafts))  # type: ignore[union-attr]
        except (ValueMismatch, ValueTooLarge, NoValue):
            assert expected is None
            return
        assert expected is not None
        offsets, fresh = expected
        assert [tuple(one) for one in outcome] == offsets
        for one, (offset, duplicate) in zip(drafts, offsets, strict=True):
            if not duplicate:
                is_change = one.change is not Change.NONE
                self.all.append(Kept(offset, one.topic, one.created_ms, None, False, is_change))
                if one.key is not None:
                    self.keys[one.topic, one.key] = offset
        for key, history in fresh.items():
            self.changes.setdefault(key, []).extend(history)

    def changed(self, drafts: list[Draft], newest: int) -> tuple[list[tuple[int, bool]], dict[Key, list[Value]]] | None:
        """What a batch makes of the values, and which offsets it gets; None if it is to be refused."""
        fresh: dict[Key, list[Value]] = {}
        keys = dict(self.keys)
        outcome: list[tuple[int, bool]] = []
        for one in drafts:
            if one.key is not None and (one.topic, one.key) in keys:
                outcome.append((keys[one.topic, one.key], True))
                continue
            newest += 1
            outcome.append((newest, False))
            if one.key is not None:
                keys[one.topic, one.key] = newest
            if one.change is Change.NONE:
                continue
            told = said(one.body)
            key = (one.topic, told.subject)
            before = (fresh.get(key) or self.changes.get(key) or [None])[-1]
            if before is not None and not self.lives(before):
                before = None
            try:
                value = applied(MISSING if before is None else before.value, told.change, json.decode(told.data))
            except ValueMismatch:
                return None
            if told.change is Change.DELETE:
                if before is None:
                    return None
                fresh.setdefault(key, []).append(Value(MISSING, newest, None, None))
                continue
            if len(json.encode(value)) > one.max_value_bytes:
                return None
            ttl_ms = None if one.expires_ms is None else one.expires_ms - one.created_ms
            if ttl_ms is None and before is not None and told.change is not Change.SET:
                ttl_ms = before.ttl_ms
            expires_ms = None if ttl_ms is None else self.now_ms + ttl_ms
            fresh.setdefault(key, []).append(Value(value, newest, ttl_ms, expires_ms))
        return outcome, fresh

    def lives(self, one: Value) -> bool:
        return one.value is not MISSING and (one.expires_ms is None or one.expires_ms > self.now_ms)

    @rule(
        share=st.floats(0, 1),
        topics=topic_sets,
        exact=st.booleans(),
        max_bytes=st.sampled_from([1, 50, 10**6, 10**6]),
    )
    def values(self, share: float, topics: TopicSet | None, exact: bool, max_bytes: int) -> None:
        newest = self.all[-1].offset if self.all else 0
        after = round(share * newest)
        while True:
            page = self.run(
                self.journal.values(topics, after=after, exact=exact, max_bytes=max_bytes, now_ms=self.now_ms)  # type: ignore[union-attr]
            )
            assert (page.through, page.forgotten) == (newest, 0)
            assert sum(len(one.data) for one in page.changed[:-1]) < max_bytes
            expected = self.expected_values(topics, after)
            keys = [(one.topic, one.subject) for one in page.changed]
            assert keys == list(expected)[: len(keys)]
            assert page.complete == (len(keys) == len(expected))
            for one in page.changed:
                self.check_value(one, expected[one.topic, one.subject], after, exact)
            if page.complete:
                break
            assert page.changed
            after, exact = page.changed[-1].offset, False

    def expected_values(self, topics: TopicSet | None, after: int) -> dict[Key, Value]:
        """The values that were changed after an offset and live, and deletions, in the order of their changes."""
        latest = {key: history[-1] for key, history in self.changes.items()}
        found = [
            (value.offset, key)
            for key, value in latest.items()
            if value.offset > after
            and (topics is None or topics.matches(key[0]))
            and (self.lives(value) or (value.value is MISSING and after))
        ]
        return {key: latest[key] for _, key in sorted(found)}

    def check_value(self, one: Changed, real: Value, after: int, exact: bool) -> None:
        assert one.offset == real.offset
        if real.value is MISSING:
            assert (one.change, one.data) == (Change.DELETE, b"null")
            return
        assert exact or one.change is Change.SET
        had = [value.value for value in self.changes[one.topic, one.subject] if value.offset <= after]
        value = applied(had[-1] if had else MISSING, one.change, json.decode(one.data))
        assert value == real.value
        assert len(one.data) <= len(json.encode(value)) or one.change is not Change.APPEND

    @invariant()
    def the_newest_change_is_known(self) -> None:
        if self.journal is not None:
            newest = max((history[-1].offset for history in self.changes.values()), default=0)
            assert self.run(self.journal.last_change()) == newest

    @rule(milliseconds=st.sampled_from([1, 499, 1_000, 9_000, 31_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.now_ms += milliseconds

    @rule(
        share=st.floats(0, 1),
        topics=topic_sets,
        max_entries=st.sampled_from([1, 3, 1000]),
        max_bytes=st.sampled_from([1, 700, 10**6]),
    )
    def read(self, share: float, topics: TopicSet | None, max_entries: int, max_bytes: int) -> None:
        newest = self.all[-1].offset if self.all else 0
        cursor = round(share * newest)
        while True:
            page = self.run(
                self.journal.read(  # type: ignore[union-attr]
                    cursor, topics, max_entries=max_entries, max_bytes=max_bytes, now_ms=self.now_ms
                )
            )
            expected = self.wanted(topics, cursor, page.through)
            assert page.missed is not None
            assert len(page.entries) + page.missed == len(expected)
            assert len(page.entries) <= max_entries
            assert sum(len(entry.frame) for entry in page.entries[:-1]) < max_bytes
            found = [entry.offset for entry in page.entries]
            for topic in {one.topic for one in expected}:  # of each topic, the oldest are missed
                of_topic = [one.offset for one in expected if one.topic == topic]
                hits = [offset for offset in of_topic if offset in set(found)]
                assert hits == of_topic[len(of_topic) - len(hits) :]
            assert found == sorted(set(found))
            if page.through >= newest:
                break
            assert page.through > cursor
            cursor = page.through

    @rule(topics=topic_sets, last=st.integers(1, 8))
    def seek_last(self, topics: TopicSet | None, last: int) -> None:
        before = self.offsets_after(0, topics)
        cursor = self.run(self.journal.seek(topics, Since(last=last)))  # type: ignore[union-attr]
        found = self.offsets_after(cursor, topics)
        if before == self.offsets_after(0, topics):  # else retention was at work meanwhile
            assert found == before[-last:]

    def offsets_after(self, cursor: int, topics: TopicSet | None) -> list[int]:
        everything = {"max_entries": 10**6, "max_bytes": 10**9, "now_ms": self.now_ms}
        page = self.run(self.journal.read(cursor, topics, **everything))  # type: ignore[union-attr]
        return [entry.offset for entry in page.entries]

    @rule(max_entries=st.integers(1, 20), max_bytes=st.sampled_from([400, 10**6]))
    def tail(self, max_entries: int, max_bytes: int) -> None:
        floor, entries = self.run(self.journal.tail(max_entries=max_entries, max_bytes=max_bytes))  # type: ignore[union-attr]
        assert [entry.offset for entry in entries] == [one.offset for one in self.all if one.offset > floor]
        assert len(entries) <= max_entries

    @invariant()
    def followed_everything(self) -> None:
        if self.journal is None:
            return

        for _ in range(2_000):
            if len(self.followed) >= len(self.all) or self.following.done():
                break
            self.run(asyncio.sleep(0.001))
        assert self.followed == [one.offset for one in self.all]

    @invariant()
    def bounds_hold_all_that_is_kept(self) -> None:
        if self.journal is not None:
            bounds = self.run(self.journal.bounds())
            assert bounds.newest == (self.all[-1].offset if self.all else 0)
            assert bounds.oldest <= bounds.newest + 1


class MemoryMachine(JournalMachine):
    def make(self, place: Path, now_ms: Callable[[], int]) -> Journal:
        return MemoryJournal(now_ms=now_ms)


class SqliteMachine(JournalMachine):
    def make(self, place: Path, now_ms: Callable[[], int]) -> Journal:
        return SqliteJournal(place / "events.db", now_ms=now_ms, follow_grace_ms=0)

    @precondition(lambda self: self.journal is not None)
    @rule()
    def reopen(self) -> None:
        self.run(self.stop())
        self.start(self.all[-1].offset if self.all else 0)


LIMITS = settings(
    max_examples=30, stateful_step_count=20, suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much)
)
MemoryMachine.TestCase.settings = LIMITS
SqliteMachine.TestCase.settings = LIMITS
TestMemoryJournalAgainstAList = MemoryMachine.TestCase
TestSqliteJournalAgainstAList = SqliteMachine.TestCase

"""Both journals against a plain list: whatever is done to them, in whatever order, they say what the list says."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from clarion.event import draft
from clarion.journals.base import Journal
from clarion.journals.memory import MemoryJournal
from clarion.journals.sqlite import SqliteJournal
from clarion.retention import Retention, RetentionRules, Since
from clarion.topics import TopicSet

TOPICS = ["a", "a/1", "a/1/x", "a/2", "b", "b/1", "@all", "@user/7"]
PATTERNS = ["a/*", "a/**", "**", "*", "*/1", "b/**"]
START_MS = 1_790_000_000_000

an_event = st.fixed_dictionaries(
    {"topic": st.sampled_from(TOPICS), "text": st.sampled_from(["", "text", "x" * 300])},
    optional={
        "key": st.sampled_from(["k1", "k2"]),
        "ttl_seconds": st.sampled_from([0.5, 30]),
        "ephemeral": st.just(True),
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
            and not one.ephemeral
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

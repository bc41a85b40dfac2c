"""The contract suite of journals, for everybody who writes one.

    class TestMyJournal(JournalContract):
        def make(self, place, now_ms):
            return MyJournal(place / "journal", now_ms=now_ms)

runs with pytest alone (no plugin is needed): each test opens journals of its own in a fresh directory and checks one
sentence of `clarion.journals.base`. `pytest.register_assert_rewrite("clarion.testing.journal_contract")` in a
`conftest.py` makes its failures show the values.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

from clarion.errors import JournalError, JournalOverrun, JournalUnavailable
from clarion.event import Draft, Entry, draft
from clarion.journals.base import FOLLOW_BATCH_ENTRIES, KEY_WINDOW_SECONDS, Appended, Journal
from clarion.retention import LIVE, Retention, RetentionRules, Since
from clarion.topics import TopicSet

START_MS: Final = 1_790_000_000_000
PATIENCE_SECONDS: Final = 30.0  # for one test
EVERYTHING: Final = RetentionRules(Retention())


class Bench:
    """What a test of the suite works with: a place, a clock that it turns, and journals opened there."""

    def __init__(self, suite: JournalContract, place: Path) -> None:
        self._suite = suite
        self._place = place
        self._opened: list[Journal] = []
        self.now_ms = START_MS

    def make(self) -> Journal:
        """A journal at the test's place that is not open yet."""
        return self._suite.make(self._place, lambda: self.now_ms)

    async def open(self, rules: RetentionRules = EVERYTHING) -> Journal:
        """A journal at the test's place, open. It is closed at the end of the test."""
        journal = self.make()
        await journal.open(rules)
        self._opened.append(journal)
        return journal

    async def close(self) -> None:
        for journal in self._opened:
            await journal.close()

    def draft(self, topic: str, data: Any = None, **options: Any) -> Draft:
        """A draft of the present."""
        return draft(topic, data, created_ms=self.now_ms, **options)

    async def append(self, journal: Journal, *topics: str, **options: Any) -> list[int]:
        """Append an event to each topic, in one batch."""
        return [done.offset for done in await journal.append([self.draft(name, **options) for name in topics])]

    async def read(self, journal: Journal, after: int, *topics: str) -> tuple[list[int], int | None]:
        """The offsets of everything after a cursor, read in one page, and how many were missed."""
        page = await journal.read(
            after, TopicSet(topics) if topics else None, max_entries=10**6, max_bytes=10**9, now_ms=self.now_ms
        )
        return [entry.offset for entry in page.entries], page.missed


Scenario = Callable[[Any, Bench], Awaitable[None]]


def contract(scenario: Scenario) -> Callable[[Any, Path], None]:
    """Make a test of a coroutine: in an event loop of its own, and never longer than `PATIENCE_SECONDS`."""

    @wraps(scenario)
    def test(self: JournalContract, tmp_path: Path) -> None:
        async def run() -> None:
            bench = Bench(self, tmp_path)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await scenario(self, bench)
            finally:
                await bench.close()

        asyncio.run(run())

    del test.__wrapped__  # pytest would ask for the arguments of what is wrapped
    return test


async def following(journal: Journal, after: int, count: int) -> list[Entry]:
    """The first `count` entries that following after an offset gives."""
    entries: list[Entry] = []
    batches = journal.follow(after)
    try:
        while len(entries) < count:
            batch = await anext(batches)
            assert 0 < len(batch) <= FOLLOW_BATCH_ENTRIES
            entries.extend(batch)
    finally:
        await batches.aclose()  # type: ignore[attr-defined]
    return entries


class JournalContract(ABC):
    """Inherit, say how a journal is made, and let pytest collect the class.

    overshoot_entries: by how many entries a bound may be overshot, for a while, before retention catches up.
    """

    overshoot_entries: ClassVar[int] = 512

    @abstractmethod
    def make(self, place: Path, now_ms: Callable[[], int]) -> Journal:
        """A journal, not open yet, that keeps what it keeps under the directory `place`.

        now_ms: what it is to take for the present, Unix time in milliseconds.
        """

    # Appending

    @contract
    async def test_offsets_rise_and_entries_come_back_as_they_were(self, bench: Bench) -> None:
        journal = await bench.open()
        sent = [bench.draft(f"orders/{n}", {"n": n}, event="created") for n in range(5)]
        appended = await journal.append(sent)
        page = await journal.read(0, None, max_entries=10, max_bytes=10**6, now_ms=bench.now_ms)
        assert [one.offset for one in appended] == sorted({one.offset for one in appended})
        assert not any(one.duplicate for one in appended)
        for one, was, entry in zip(appended, sent, page.entries, strict=True):
            assert (entry.offset, entry.topic, entry.created_ms) == (one.offset, was.topic, was.created_ms)
            assert entry.frame == f"id: {journal.epoch}-{one.offset}\n".encode() + was.body

    @contract
    async def test_an_empty_batch_is_nothing(self, bench: Bench) -> None:
        journal = await bench.open()
        assert await journal.append([]) == []
        assert (await journal.bounds()).newest == 0

    @contract
    async def test_batches_of_concurrent_callers_stand_in_one_run_each(self, bench: Bench) -> None:
        journal = await bench.open()
        batches = [[bench.draft(f"caller/{caller}", n) for n in range(1 + caller % 7)] for caller in range(64)]
        outcomes = await asyncio.gather(*(journal.append(batch) for batch in batches))
        page = await journal.read(0, None, max_entries=10**6, max_bytes=10**9, now_ms=bench.now_ms)
        topic_of = {entry.offset: entry.topic for entry in page.entries}
        order = list(topic_of)
        assert len(order) == sum(len(batch) for batch in batches)
        for caller, outcome in enumerate(outcomes):
            offsets = [one.offset for one in outcome]
            at = order.index(offsets[0])
            assert order[at : at + len(offsets)] == offsets
            assert {topic_of[offset] for offset in offsets} == {f"caller/{caller}"}

    @contract
    async def test_a_cancelled_append_leaves_the_journal_usable(self, bench: Bench) -> None:
        journal = await bench.open()
        calls = [asyncio.ensure_future(bench.append(journal, "news", data=n)) for n in range(20)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        answered = [outcome[0] for outcome in outcomes if isinstance(outcome, list)]
        assert len(answered) >= 10
        (last,) = await bench.append(journal, "news")
        offsets, _ = await bench.read(journal, 0)
        assert set(answered) | {last} <= set(offsets)

    # Idempotency keys

    @contract
    async def test_a_key_yields_one_entry_and_the_first_offset(self, bench: Bench) -> None:
        journal = await bench.open()
        first, twin, other = await journal.append(
            [bench.draft("a", key="k"), bench.draft("a", key="k"), bench.draft("b", key="k")]
        )
        (again,) = await journal.append([bench.draft("a", {"other": "data"}, key="k")])
        assert (first.duplicate, other.duplicate) == (False, False)
        assert twin == again == Appended(first.offset, True)
        assert (await bench.read(journal, 0))[0] == [first.offset, other.offset]

    @contract
    async def test_a_key_outlives_its_entry_but_not_its_window(self, bench: Bench) -> None:
        journal = await bench.open(RetentionRules(Retention(max_age_seconds=60)))
        (first,) = await bench.append(journal, "a", key="k")
        bench.now_ms += KEY_WINDOW_SECONDS * 1000 - 1
        await self.settled(bench, journal, lambda kept: not kept)
        assert await journal.append([bench.draft("a", key="k")]) == [Appended(first, True)]
        bench.now_ms += 2
        (fresh,) = await journal.append([bench.draft("a", key="k")])
        assert not fresh.duplicate
        assert fresh.offset > first

    # Reading

    @contract
    async def test_pages_leave_nothing_out(self, bench: Bench) -> None:
        journal = await bench.open()
        topics = [("wanted", "other", "also/wanted", "@user/7")[n % 4] for n in range(200)]
        offsets = await bench.append(journal, *topics, text="x" * 100)
        wanted = TopicSet(["wanted", "also/*"])
        expected = [offset for offset, topic in zip(offsets, topics, strict=True) if wanted.matches(topic)]
        for limits in ({"max_entries": 7, "max_bytes": 10**9}, {"max_entries": 10**6, "max_bytes": 500}):
            cursor, found = 0, list[int]()
            while cursor < offsets[-1]:
                page = await journal.read(cursor, wanted, now_ms=bench.now_ms, **limits)
                assert page.missed == 0
                assert len(page.entries) <= limits["max_entries"]
                assert sum(len(entry.frame) for entry in page.entries[:-1]) < limits["max_bytes"]
                assert page.through > cursor
                found += [entry.offset for entry in page.entries]
                cursor = page.through
            assert found == expected
            assert cursor == (await journal.bounds()).newest

    @contract
    async def test_an_entry_over_the_page_s_bytes_is_given_alone(self, bench: Bench) -> None:
        journal = await bench.open()
        offsets = await bench.append(journal, "a", "a", text="x" * 1000)
        page = await journal.read(0, TopicSet(["a"]), max_entries=10, max_bytes=1, now_ms=bench.now_ms)
        assert [entry.offset for entry in page.entries] == offsets[:1]
        assert page.through == offsets[0]

    @contract
    async def test_a_cursor_at_or_after_the_end_reads_nothing(self, bench: Bench) -> None:
        journal = await bench.open()
        (offset,) = await bench.append(journal, "a")
        for cursor in (offset, offset + 1000):
            page = await journal.read(cursor, None, max_entries=10, max_bytes=10**6, now_ms=bench.now_ms)
            assert page == ([], cursor, 0)

    @pytest.mark.parametrize(
        "pattern", ["a/*", "a/**", "a/*/c", "**", "*", "*/b", "**/c", "a/**/c", "a", "a/b", "a*", "A/**", "a/é"]
    )
    def test_patterns(self, pattern: str, tmp_path: Path) -> None:
        names = ["a", "a/", "a/b", "a/b/c", "a/c", "a0", "a-b", "a/é", "ab/c", "b", "A/b", "@all", "@user/a", "é/c", "a*"]

        @contract
        async def run(self: JournalContract, bench: Bench) -> None:
            journal = await bench.open()
            offsets = await bench.append(journal, *names, *names)
            wanted = TopicSet([pattern, "b", "@all"])
            expected = [offset for offset, name in zip(offsets, names * 2, strict=True) if wanted.matches(name)]
            assert await bench.read(journal, 0, *wanted.names) == (expected, 0)

        run(self, tmp_path)

    @contract
    async def test_sets_of_many_topics(self, bench: Bench) -> None:
        journal = await bench.open()
        topics = [f"many/{n}" for n in range(2_500)]
        offsets = await bench.append(journal, *topics, *topics[::-1])
        for chosen in (topics[:700], [*topics[:700], "many/1*", "*/0"], ["many/*", *topics]):
            wanted = TopicSet(chosen)
            hits = {name for name in topics if name in set(chosen)} if "many/*" not in chosen else set(topics)
            hits |= {"many/0"} if "*/0" in chosen else set()
            expected = [at for at, name in zip(offsets, topics + topics[::-1], strict=True) if name in hits]
            page = await journal.read(0, wanted, max_entries=10**6, max_bytes=10**9, now_ms=bench.now_ms)
            assert [entry.offset for entry in page.entries] == expected

    @contract
    async def test_ephemeral_and_expired_entries_are_not_read_and_not_missed(self, bench: Bench) -> None:
        journal = await bench.open()
        (short,) = await bench.append(journal, "a", ttl_seconds=10)
        await bench.append(journal, "a", ephemeral=True)
        (plain,) = await bench.append(journal, "a")
        assert await bench.read(journal, 0, "a") == ([short, plain], 0)
        bench.now_ms += 10_000
        assert await bench.read(journal, 0, "a") == ([plain], 0)

    # Where things are

    @contract
    async def test_bounds(self, bench: Bench) -> None:
        journal = await bench.open(RetentionRules(Retention(max_age_seconds=60)))
        assert await journal.bounds() == (1, 0)
        offsets = await bench.append(journal, *"aaa")
        assert await journal.bounds() == (offsets[0], offsets[-1])
        bench.now_ms += 61_000
        await self.settled(bench, journal, lambda kept: not kept)
        assert await journal.bounds() == (offsets[-1] + 1, offsets[-1])
        assert (await bench.append(journal, "a"))[0] > offsets[-1]

    @contract
    async def test_the_tail_holds_everything_after_its_floor(self, bench: Bench) -> None:
        journal = await bench.open()
        assert await journal.tail(max_entries=10, max_bytes=10**6) == (0, [])
        offsets = await bench.append(journal, *"abcdef", ttl_seconds=1)
        offsets += await bench.append(journal, "@all", ephemeral=True)
        for max_entries, max_bytes in ((3, 10**6), (100, 200), (100, 10**6)):
            floor, entries = await journal.tail(max_entries=max_entries, max_bytes=max_bytes)
            assert [entry.offset for entry in entries] == [offset for offset in offsets if offset > floor]
            assert len(entries) <= max_entries
            assert sum(len(entry.frame) for entry in entries) <= max_bytes
        assert floor < offsets[0]
        assert entries[-1].ephemeral

    @contract
    async def test_seek(self, bench: Bench) -> None:
        journal = await bench.open()
        assert await journal.seek(None, LIVE) == 0
        assert await journal.seek(TopicSet(["a"]), Since(last=3)) == 0
        offsets: list[int] = []
        for n in range(20):
            bench.now_ms = START_MS + n * 1_000
            offsets += await bench.append(journal, "a" if n % 2 else "b")
        of_a = offsets[1::2]
        cases: list[tuple[tuple[str, ...], Since, list[int]]] = [
            (("a",), LIVE, []),
            (("a",), Since(earliest=True), of_a),
            (("b", "a"), Since(earliest=True), offsets),
            (("nothing",), Since(earliest=True), []),
            (("a",), Since(last=3), of_a[-3:]),
            (("*",), Since(last=3), offsets[-3:]),
            (("a",), Since(last=1000), of_a),
            (("nothing",), Since(last=3), []),
            (("a",), Since(after_ms=START_MS + 14_999), of_a[7:]),
            (("a",), Since(after_ms=START_MS + 15_000), of_a[8:]),
            (("a",), Since(after_ms=0), of_a),
            (("a",), Since(after_ms=bench.now_ms), []),
        ]
        for topics, since, expected in cases:
            cursor = await journal.seek(TopicSet(topics), since)
            assert await bench.read(journal, cursor, *topics) == (expected, 0), (topics, since)
        assert await journal.seek(None, Since(last=5)) == offsets[-5] - 1
        assert await journal.seek(None, LIVE) == offsets[-1]

    @contract
    async def test_seek_does_not_count_what_is_not_read(self, bench: Bench) -> None:
        journal = await bench.open()
        offsets = await bench.append(journal, *"aaa")
        await bench.append(journal, *"aa", ephemeral=True)
        assert await journal.seek(TopicSet(["a"]), Since(last=2)) == offsets[-2] - 1

    # Retention

    @pytest.mark.parametrize("hub_wide", [True, False])
    @pytest.mark.parametrize(
        "bound", [Retention(max_count=100), Retention(max_bytes=100 * 60), Retention(max_age_seconds=60)]
    )
    def test_what_goes_over_a_bound_is_missed_exactly(self, bound: Retention, hub_wide: bool, tmp_path: Path) -> None:
        rules = RetentionRules(bound) if hub_wide else RetentionRules(Retention(), {"a/*": bound})

        @contract
        async def run(self: JournalContract, bench: Bench) -> None:
            journal = await bench.open(rules)
            for _ in range(30):
                await bench.append(journal, *(f"a/{n % 2}" for n in range(100)), text="")
                bench.now_ms += 1_000 if bound.max_age_seconds else 0
            bench.now_ms += 45_000 if bound.max_age_seconds else 0
            allowed = (1 if hub_wide else 2) * 160 + self.overshoot_entries + (1600 if bound.max_age_seconds else 0)
            kept = await self.settled(bench, journal, lambda kept: len(kept) <= allowed)
            assert kept
            for cursor in (0, kept[0] - 1, 1_234, 2_500, 3_000):
                for topics, share in ((("a/0",), 2), (("a/*",), 1), ((), 1)):
                    read, missed = await bench.read(journal, cursor, *topics)
                    assert missed is not None
                    assert len(read) + missed == (3_000 - cursor) // share

        run(self, tmp_path)

    @contract
    async def test_a_topic_s_rule_leaves_other_topics_alone(self, bench: Bench) -> None:
        journal = await bench.open(RetentionRules(Retention(), {"small": Retention(max_count=10)}))
        for _ in range(10):
            await bench.append(journal, *["small", "large"] * 200)
        await self.settled(bench, journal, lambda kept: len(kept) <= 2_000 + 10 + self.overshoot_entries)
        read, missed = await bench.read(journal, 0, "large")
        assert (len(read), missed) == (2_000, 0)

    @contract
    async def test_what_expired_or_was_ephemeral_is_never_missed(self, bench: Bench) -> None:
        journal = await bench.open(RetentionRules(Retention(max_age_seconds=60)))
        await bench.append(journal, *"aaa", ttl_seconds=30)
        await bench.append(journal, *"aaa", ephemeral=True)
        bench.now_ms += 61_000
        assert (await bench.read(journal, 0, "a"))[1] == 0
        await self.settled(bench, journal, lambda kept: not kept)
        assert await bench.read(journal, 0, "a") == ([], 0)

    async def settled(self, bench: Bench, journal: Journal, done: Callable[[list[int]], bool]) -> list[int]:
        """Wait until retention, which works beside the appends, has brought what is kept to where `done` says so."""
        while True:
            kept, _ = await bench.read(journal, 0)
            if done(kept):
                return kept
            await asyncio.sleep(0.02)

    # Following

    @contract
    async def test_follow_from_any_offset(self, bench: Bench) -> None:
        journal = await bench.open()
        offsets = await bench.append(journal, *(["a", "@user/7", "b"] * 1_000))
        for after in (0, offsets[0], offsets[1_500], offsets[-2]):
            expected = [offset for offset in offsets if offset > after]
            entries = await following(journal, after, len(expected))
            assert [entry.offset for entry in entries] == expected

    @contract
    async def test_followers_that_join_in_the_middle_lose_and_double_nothing(self, bench: Bench) -> None:
        journal = await bench.open()
        total, joined = 600, list[asyncio.Task[list[Entry]]]()
        cursors: list[int] = []

        async def publish(caller: int) -> None:
            for n in range(total // 6):
                (offset,) = await bench.append(journal, f"caller/{caller}", ephemeral=n % 5 == 0)
                if n % 25 == caller:
                    cursors.append(offset)
                    joined.append(asyncio.create_task(following(journal, offset, total - offset)))

        whole = asyncio.create_task(following(journal, 0, total))
        await asyncio.gather(*(publish(caller) for caller in range(6)))
        assert [entry.offset for entry in await whole] == list(range(1, total + 1))
        for cursor, task in zip(cursors, joined, strict=True):
            assert [entry.offset for entry in await task] == list(range(cursor + 1, total + 1))

    @contract
    async def test_a_slow_follower_gets_everything(self, bench: Bench) -> None:
        journal = await bench.open()
        batches = journal.follow(0)
        first = asyncio.ensure_future(anext(batches))
        for _ in range(20):
            await bench.append(journal, *["a"] * 1_000)
        got = [entry.offset for entry in await first]
        while len(got) < 20_000:
            got += [entry.offset for entry in await anext(batches)]
        assert got == list(range(1, 20_001))
        await batches.aclose()  # type: ignore[attr-defined]

    # Closing

    @contract
    async def test_after_close_every_call_raises(self, bench: Bench) -> None:
        journal = await bench.open()
        await bench.append(journal, "a")
        waiting = asyncio.ensure_future(following(journal, 1, 1))
        await asyncio.sleep(0.01)
        await journal.close()
        await journal.close()
        with pytest.raises((JournalUnavailable, StopAsyncIteration)):
            await waiting
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: bench.append(journal, "a"),
            lambda: bench.read(journal, 0, "a"),
            lambda: journal.tail(max_entries=1, max_bytes=1),
            lambda: journal.seek(None, LIVE),
            journal.bounds,
            lambda: following(journal, 0, 1),
        ]
        for call in calls:
            with pytest.raises(JournalUnavailable):
                await call()

    @contract
    async def test_close_answers_what_was_begun(self, bench: Bench) -> None:
        journal = await bench.open()
        calls = [asyncio.ensure_future(bench.append(journal, "a")) for _ in range(100)]
        await asyncio.sleep(0)
        await journal.close()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, list | JournalError) for outcome in outcomes)

    @contract
    async def test_closing_a_journal_that_was_never_opened_is_nothing(self, bench: Bench) -> None:
        await bench.make().close()

    @contract
    async def test_reopened_it_goes_on_or_has_another_epoch(self, bench: Bench) -> None:
        journal = await bench.open()
        offsets = await bench.append(journal, *"abc")
        epoch = journal.epoch
        await journal.close()
        again = await bench.open()
        if again.epoch == epoch:
            assert await bench.read(again, 0) == (offsets, 0)
            assert (await bench.append(again, "a"))[0] > offsets[-1]
        else:
            assert await again.bounds() == (1, 0)

    @contract
    async def test_a_follower_whose_entries_were_taken_away_is_told(self, bench: Bench) -> None:
        journal = await bench.open(RetentionRules(Retention(max_age_seconds=60)))
        await bench.append(journal, *"aaa")
        bench.now_ms += 61_000
        await self.settled(bench, journal, lambda kept: not kept)
        await bench.append(journal, "a")
        with pytest.raises(JournalOverrun):
            await following(journal, 0, 10)

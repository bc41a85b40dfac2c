"""The contract suite of journals, for everybody who writes one.

    class TestMyJournal(JournalContract):
        def make(self, place, now_ms):
            return MyJournal(place / "journal", now_ms=now_ms)

runs with pytest alone (no plugin is needed): each test opens journals of its own in a fresh directory and checks one
sentence of `clarion.journals.base`. With `pytest.register_assert_rewrite("clarion.testing")` in a `conftest.py`, its
failures show the values.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from clarion.errors import JournalError, JournalOverrun, JournalUnavailable
from clarion.event import Entry
from clarion.retention import LIVE, Retention, RetentionRules
from clarion.testing.journal_bench import Bench, contract, following
from clarion.testing.journal_keeping import KeepingContract
from clarion.testing.journal_lasting import LastingContract
from clarion.testing.journal_pages import PagesContract
from clarion.testing.journal_values import ValuesContract


class JournalContract(KeepingContract, PagesContract, ValuesContract, LastingContract):
    """The whole contract. Inherit, say how a journal is made, and let pytest collect the class.

    Set `overshoot_entries` if retention may be further behind, for a while, than by 512 entries.
    """

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
        await asyncio.sleep(0.2)  # nothing else happens that could remind the journal of it
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
            lambda: journal.values(None, after=0, exact=False, max_bytes=1, now_ms=0),
            journal.last_change,
            lambda: following(journal, 0, 1),
        ]
        for call in calls:
            with pytest.raises(JournalUnavailable):
                await call()

    @contract
    async def test_close_answers_what_was_begun(self, bench: Bench) -> None:
        journal = await bench.open()
        calls = [asyncio.ensure_future(bench.append(journal, *["a"] * 100)) for _ in range(100)]
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

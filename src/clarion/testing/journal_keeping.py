"""The contract of journals, first part: what is appended is kept, as long as the rules say."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clarion.journals.base import KEY_WINDOW_SECONDS, Appended
from clarion.retention import Retention, RetentionRules
from clarion.testing.journal_bench import Bench, Suite, contract


class KeepingContract(Suite):
    """Appending, idempotency keys, and retention."""

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

    # Retention

    @pytest.mark.parametrize("hub_wide", [True, False])
    @pytest.mark.parametrize(
        "bound", [Retention(max_count=100), Retention(max_bytes=100 * 60), Retention(max_age_seconds=60)]
    )
    def test_what_goes_over_a_bound_is_missed_exactly(self, bound: Retention, hub_wide: bool, tmp_path: Path) -> None:
        rules = RetentionRules(bound) if hub_wide else RetentionRules(Retention(), {"a/*": bound})

        @contract
        async def run(self: Suite, bench: Bench) -> None:
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

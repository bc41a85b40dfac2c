"""The contract of journals, fourth part: how long values last, and what takes them away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clarion import json
from clarion.errors import NoValue
from clarion.event import Draft
from clarion.held import TOMBSTONE_SECONDS
from clarion.journals.base import Changed, Journal
from clarion.parser import Parser
from clarion.retention import Retention, RetentionRules, Since
from clarion.testing.journal_bench import EVERYTHING, Bench, Suite, contract, following
from clarion.testing.journal_value_bench import change, shown, values_of
from clarion.topics import TopicSet
from clarion.values import Change, applied


class LastingContract(Suite):
    """Values over time: their time to live, deletions, retention, and coming back."""

    async def time_passes(self, bench: Bench, journal: Journal) -> None:
        """Let retention, which may look by the clock now and then, have its turn."""
        bench.now_ms += 1_000
        await bench.append(journal, "plain")
        await asyncio.sleep(0.02)

    # Time to live, and deletions

    @contract
    async def test_a_value_s_time_to_live(self, bench: Bench) -> None:
        journal = await bench.open()
        await journal.append(
            [
                change(bench, "short", Change.SET, 1, ttl_seconds=10),
                change(bench, "renewed", Change.SET, {}, ttl_seconds=10),
                change(bench, "ever", Change.SET, 1, ttl_seconds=10),
            ]
        )
        bench.now_ms += 9_999
        assert await shown(bench, journal) == {"short": 1, "renewed": {}, "ever": 1}
        await journal.append([change(bench, "renewed", Change.MERGE, {"a": 1}), change(bench, "ever", Change.SET, 2)])
        bench.now_ms += 1
        for _ in range(5):
            assert await shown(bench, journal) == {"renewed": {"a": 1}, "ever": 2}
            assert [one.topic for one in (await values_of(bench, journal, after=1)).changed] == ["renewed", "ever"]
            await asyncio.sleep(0.1)  # retention, if it works beside, may let go of it
        with pytest.raises(NoValue):
            await journal.append([change(bench, "short", Change.DELETE)])
        bench.now_ms += 9_999
        await journal.append([change(bench, "renewed", Change.APPEND, [2]), change(bench, "short", Change.APPEND, "a")])
        bench.now_ms += 10**9
        assert await shown(bench, journal) == {"renewed": [2], "ever": 2, "short": "a"}

    @contract
    async def test_a_deletion_is_told_until_it_is_forgotten(self, bench: Bench) -> None:
        journal = await bench.open()
        await journal.append([change(bench, "a", Change.SET, 1), change(bench, "b", Change.SET, 2)])
        await journal.append([change(bench, "a", Change.DELETE, event="n")])
        gone = Changed("a", "a", "n", 3, Change.DELETE, b"null")
        assert await shown(bench, journal) == {"b": 2}
        for exact in (True, False):
            assert (await values_of(bench, journal, "a", after=1, exact=exact)).changed == [gone]
            assert (await values_of(bench, journal, "a", after=3, exact=exact)).changed == []
        bench.now_ms += TOMBSTONE_SECONDS * 1000 - 1
        await asyncio.sleep(0.3)  # retention has nothing to do yet
        assert await values_of(bench, journal, "a", after=1) == ([gone], 3, True, 0)
        bench.now_ms += 1
        while not (given := await values_of(bench, journal, "a", after=1)).forgotten:
            assert given.changed == [gone]
            await self.time_passes(bench, journal)
        assert (given.changed, given.forgotten) == ([], 3)
        await journal.append([change(bench, "a", Change.SET, 5)])
        assert await shown(bench, journal) == {"a": 5, "b": 2}
        assert (await values_of(bench, journal)).forgotten == 3

    @contract
    async def test_what_is_set_after_a_deletion_is_not_forgotten_with_it(self, bench: Bench) -> None:
        journal = await bench.open()
        await journal.append([change(bench, "t", Change.SET, 1, ttl_seconds=5), change(bench, "t", Change.DELETE)])
        await journal.append([change(bench, "t", Change.SET, 2)])
        await journal.append([change(bench, "u", Change.SET, 1), change(bench, "u", Change.DELETE)])
        bench.now_ms += TOMBSTONE_SECONDS * 1000
        while not (given := await values_of(bench, journal, after=1)).forgotten:
            await self.time_passes(bench, journal)
        assert [(one.topic, one.change) for one in given.changed] == [("t", Change.SET)]
        assert given.forgotten == 5

    # Retention

    @pytest.mark.parametrize("hub_wide", [True, False])
    @pytest.mark.parametrize("bound", [Retention(max_count=5), Retention(max_bytes=500), Retention(max_age_seconds=60)])
    def test_retention_takes_no_value_away(self, bound: Retention, hub_wide: bool, tmp_path: Path) -> None:
        rules = RetentionRules(bound) if hub_wide else RetentionRules(Retention(), {"**": bound})

        @contract
        async def run(self: Suite, bench: Bench) -> None:
            journal = await bench.open(rules)
            for n in range(60):
                await journal.append([change(bench, f"t/{n % 3}", Change.APPEND, [n])])
                await bench.append(journal, *["t/0"] * 20)
            bench.now_ms += 10**9
            await bench.append(journal, "t/0")
            allowed = 10 + self.overshoot_entries
            await self.settled(bench, journal, lambda kept: len(kept) <= allowed)
            assert await shown(bench, journal) == {f"t/{m}": list(range(m, 60, 3)) for m in range(3)}
            _, missed = await bench.read(journal, 0)
            assert missed is not None
            kept, _ = await bench.read(journal, 0)
            assert len(kept) + missed == 1_201  # changes are not missed, for they are told by values
            await journal.append([change(bench, "t/1", Change.APPEND, ["last"])])
            assert (await shown(bench, journal, "t/1"))["t/1"][-2:] == [58, "last"]

        run(self, tmp_path)

    @contract
    async def test_a_long_history_makes_the_same_value(self, bench: Bench) -> None:
        """Changes that are rolled up, or let go of because a `set` replaced them, leave the value as it is."""
        journal = await bench.open()
        text, numbers = "", dict[str, int]()
        texts = {0: ""}
        for n in range(300):
            batch: list[Draft] = []
            for m in range(10):
                text += (word := f"{n}.{m} ")
                numbers[f"k{m}"] = n
                batch += [
                    change(bench, "text", Change.APPEND, word),
                    change(bench, "numbers", Change.MERGE, {f"k{m}": n}),
                    change(bench, "set", Change.SET, {"n": n, "m": m}),
                ]
            await journal.append(batch)
            texts[30 * (n + 1)] = text
            if n % 50 == 7:
                expected = {"text": text, "numbers": numbers, "set": {"n": n, "m": 9}}
                assert await shown(bench, journal) == expected
                since = await values_of(bench, journal, "text", after=30 * n, exact=True)
                assert since.changed[0].offset == 30 * n + 28
        assert await shown(bench, journal) == {"text": text, "numbers": numbers, "set": {"n": 299, "m": 9}}
        bench.now_ms += 10_000
        await asyncio.sleep(0.5)  # retention works beside
        assert await shown(bench, journal) == {"text": text, "numbers": numbers, "set": {"n": 299, "m": 9}}
        for after in (30, 3_000, 6_000, 7_500, 8_970):
            (told,) = (await values_of(bench, journal, "text", after=after, exact=True)).changed
            assert applied(texts[after], told.change, json.decode(told.data)) == text

    # Reading, and coming back

    @contract
    async def test_readers_of_events_do_not_see_changes(self, bench: Bench) -> None:
        journal = await bench.open()
        await journal.append([change(bench, "a", Change.SET, 1), *(bench.draft("a", n) for n in range(3))])
        await journal.append([change(bench, "a", Change.APPEND if n % 2 else Change.SET, []) for n in range(20)])
        assert await bench.read(journal, 0, "a") == ([2, 3, 4], 0)
        page = await journal.read(0, TopicSet(["a"]), max_entries=10, max_bytes=10**6, now_ms=bench.now_ms)
        assert page.through == 24
        assert await journal.bounds() == (2, 24)
        assert await journal.seek(TopicSet(["a"]), Since(last=2)) == 2
        floor, entries = await journal.tail(max_entries=100, max_bytes=10**6)
        assert floor == 0
        assert [entry.offset for entry in entries if entry.change] == [1, *range(5, 25)]

    @contract
    async def test_a_follower_is_given_changes_as_frames_that_clients_read(self, bench: Bench) -> None:
        journal = await bench.open()
        following_it = asyncio.create_task(following(journal, 0, 4))
        await asyncio.sleep(0)
        await journal.append([change(bench, "@user/x", Change.SET, "a", subject="t", event="n")])
        await journal.append([change(bench, "@user/x", Change.APPEND, "b", subject="t", event="n")])
        await journal.append([bench.draft("t"), change(bench, "@user/x", Change.DELETE, subject="t")])
        entries = await following_it
        assert [(entry.offset, entry.topic, entry.change) for entry in entries] == [
            (1, "@user/x", Change.SET),
            (2, "@user/x", Change.APPEND),
            (3, "t", Change.NONE),
            (4, "@user/x", Change.DELETE),
        ]
        read = Parser().feed(b"".join(entry.frame for entry in entries))
        assert [(one.type, one.topic, one.change) for one in read] == [
            ("n", "t", "set"),
            ("n.append", "t", "append"),
            ("message", "t", None),
            ("value.delete", "t", "delete"),
        ]

    @contract
    async def test_reopened_it_has_its_values_or_another_epoch(self, bench: Bench) -> None:
        journal = await bench.open()
        for n in range(40):
            await journal.append([change(bench, "t", Change.APPEND, [n]), change(bench, f"t{n}", Change.SET, n)])
        await journal.append([change(bench, "t7", Change.DELETE), change(bench, "t8", Change.SET, 8, ttl_seconds=5)])
        before = await values_of(bench, journal, after=1)
        epoch, last = journal.epoch, await journal.last_change()
        await journal.close()
        again = await bench.open(EVERYTHING)
        if again.epoch != epoch:
            assert await values_of(bench, again, after=1) == ([], 0, True, 0)
            assert await again.last_change() == 0
            return
        assert await values_of(bench, again, after=1) == before
        assert await again.last_change() == last
        await again.append([change(bench, "t", Change.APPEND, ["more"])])
        assert (await shown(bench, again, "t"))["t"] == [*range(40), "more"]
        bench.now_ms += 5_000
        assert "t8" not in await shown(bench, again)

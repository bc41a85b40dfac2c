"""The contract of journals, second part: pages, and where things are."""

from __future__ import annotations

from pathlib import Path

import pytest

from clarion.retention import LIVE, Retention, RetentionRules, Since
from clarion.testing.journal_bench import START_MS, Bench, Suite, contract
from clarion.topics import TopicSet


class PagesContract(Suite):
    """Reading, bounds, the tail, and start choices."""

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
        names = [
            "a",
            "a/",
            "a/b",
            "a/b/c",
            "a/c",
            "a0",
            "a-b",
            "a/é",
            "ab/c",
            "b",
            "A/b",
            "@all",
            "@user/a",
            "é/c",
            "a*",
        ]

        @contract
        async def run(self: Suite, bench: Bench) -> None:
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

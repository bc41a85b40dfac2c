"""Pages: shared by those with the same topics, bounded, and never stale where that shows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from clarion import pager as pager_module
from clarion.errors import JournalUnavailable
from clarion.event import draft
from clarion.journals.base import Page
from clarion.journals.memory import MemoryJournal
from clarion.pager import CONCURRENT_PAGES, Pager
from clarion.retention import Retention, RetentionRules
from clarion.topics import TopicSet
from tests.unit.core import NOW_MS, core, offsets


class CountedJournal(MemoryJournal):
    """A memory journal whose reads wait for a gate, and are counted."""

    def __init__(self) -> None:
        super().__init__(now_ms=lambda: NOW_MS)
        self.asked: list[tuple[int, TopicSet | None]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, after: int, topics: TopicSet | None, **bounds: Any) -> Page:
        self.asked.append((after, topics))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
            return await super().read(after, topics, **bounds)
        finally:
            self.under_way -= 1

    async def say(self, *topics: str, **options: Any) -> None:
        await self.append([draft(topic, None, created_ms=NOW_MS, **options) for topic in topics])


@pytest.fixture
async def journal() -> CountedJournal:
    journal = CountedJournal()
    await journal.open(RetentionRules(Retention()))
    return journal


async def test_a_page_has_what_is_for_everybody_for_the_user_and_for_the_client(journal: CountedJournal) -> None:
    await journal.say("a", "@user/x", "b", "@all", "@client/1", "@user/y", "a")
    reader = core().reader("1", "a", user="x")
    page = await Pager(journal, lambda: NOW_MS).page(reader)
    assert offsets(page.entries) == [1, 2, 4, 5, 7]
    assert (page.through, page.missed) == (7, 0)


async def test_pages_join_without_a_hole_or_a_double(journal: CountedJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pager_module, "PAGE_ENTRIES", 3)
    topics = ["a", "@user/x", "b", "@user/x", "@user/x", "@user/x", "a", "a", "a", "a", "@client/1", "@all", "a"]
    await journal.say(*topics)
    reader = core().reader("1", "a", user="x")
    reader.reached(0, 0)
    pager, got = Pager(journal, lambda: NOW_MS), []
    while reader.cursor < len(topics):
        page = await pager.page(reader)
        assert all(reader.cursor < offset <= page.through for offset in offsets(page.entries))
        got += offsets(page.entries)
        reader.reached(page.through, page.through)
    assert got == [n for n, topic in enumerate(topics, 1) if topic != "b"]


async def test_what_was_missed_of_either_is_counted_once(journal: CountedJournal) -> None:
    await journal.say("a", "@user/x", "b", "a", "@user/x", "a")
    journal._rules = RetentionRules(Retention(max_count=2))
    await journal.bounds()
    page = await Pager(journal, lambda: NOW_MS).page(core().reader("1", "a", user="x"))
    assert (offsets(page.entries), page.missed, page.through) == ([5, 6], 3, 6)


async def test_readers_of_the_same_topics_share_a_page(journal: CountedJournal) -> None:
    await journal.say("a", "a")
    hub, pager = core(), Pager(journal, lambda: NOW_MS)
    journal.gate.clear()
    readers = [hub.reader(str(n), "a", user=f"u{n}") for n in range(20)]
    reading = [asyncio.create_task(pager.page(reader)) for reader in readers]
    await asyncio.sleep(0)
    journal.gate.set()
    pages = await asyncio.gather(*reading)
    later = await pager.page(hub.reader("later", "a"))
    shared = TopicSet(["a", "@all"])
    assert [topics for _, topics in journal.asked].count(shared) == 1
    assert len({id(page.entries) for page in (*pages, later)}) == 1


async def test_reads_under_way_are_bounded(journal: CountedJournal) -> None:
    hub, pager = core(), Pager(journal, lambda: NOW_MS)
    journal.gate.clear()
    reading = [asyncio.create_task(pager.page(hub.reader(str(n), f"t{n}"))) for n in range(50)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert journal.under_way == CONCURRENT_PAGES
    journal.gate.set()
    await asyncio.gather(*reading)
    assert journal.most_under_way == CONCURRENT_PAGES


async def test_a_page_that_is_kept_does_not_replay_what_has_expired(journal: CountedJournal) -> None:
    await journal.say("a", ttl_seconds=5)
    await journal.say("a")
    now_ms = NOW_MS
    pager = Pager(journal, lambda: now_ms)
    hub = core()
    assert offsets((await pager.page(hub.reader("1", "a"))).entries) == [1, 2]
    now_ms += 6_000
    assert offsets((await pager.page(hub.reader("2", "a"))).entries) == [2]


async def test_what_is_kept_is_bounded(journal: CountedJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pager_module, "CACHE_BYTES", 3_000)
    hub, pager = core(), Pager(journal, lambda: NOW_MS)
    for n in range(30):
        await journal.say(f"t{n}")
        await pager.page(hub.reader(str(n), f"t{n}"))
        assert pager._cache_bytes <= 3_000
        assert pager._cache_bytes == sum(size for _, size in pager._cache.values())
    assert 0 < len(pager._cache) < 10
    assert not pager._reading


async def test_a_failure_is_everybody_s_and_is_not_kept(journal: CountedJournal) -> None:
    await journal.close()
    hub, pager = core(), Pager(journal, lambda: NOW_MS)
    for name in "12":
        with pytest.raises(JournalUnavailable):
            await pager.page(hub.reader(name, "a"))
    assert not pager._cache
    assert not pager._reading


async def test_who_gives_up_waiting_takes_nothing_from_others(journal: CountedJournal) -> None:
    await journal.say("a")
    hub, pager = core(), Pager(journal, lambda: NOW_MS)
    journal.gate.clear()
    first, second = (asyncio.create_task(pager.page(hub.reader(name, "a", after=0))) for name in "12")
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    journal.gate.set()
    assert offsets((await second).entries) == [1]
    await pager.close()

"""Paging: what the journal gives readers when the log has not what they need, and who waits while it gives nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from clarion import json, pager, paging
from clarion.changes import change_draft
from clarion.errors import JournalUnavailable
from clarion.event import draft
from clarion.journals.base import Page, Values
from clarion.journals.memory import MemoryJournal
from clarion.observer import Observer
from clarion.pager import VALUES_MS, Pager
from clarion.paging import PAGE_WORKERS, Paging
from clarion.parser import Message, Parser
from clarion.position import parse
from clarion.retention import Retention, RetentionRules
from clarion.sinks.base import Block
from clarion.subscription import State, Subscription
from clarion.topics import TopicSet
from clarion.values import Change
from tests.integration.in_process import until
from tests.unit.core import NOW_MS, Core, PlainLane, core


class Journal(MemoryJournal):
    """A memory journal that counts what is read from it, waits for a gate, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__(now_ms=lambda: NOW_MS)
        self.asked: list[tuple[str, TopicSet | None]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.failing = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, after: int, topics: TopicSet | None, **bounds: Any) -> Page:
        return await self._asked("page", topics, lambda: super(Journal, self).read(after, topics, **bounds))

    async def values(self, topics: TopicSet | None, **bounds: Any) -> Values:
        return await self._asked("values", topics, lambda: super(Journal, self).values(topics, **bounds))

    async def _asked(self, kind: str, topics: TopicSet | None, read: Any) -> Any:
        self.asked.append((kind, topics))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
            if self.failing:
                self.failing -= 1
                raise JournalUnavailable("on purpose")
            return await read()
        finally:
            self.under_way -= 1

    async def say(self, *topics: str, **options: Any) -> None:
        await self.append([draft(topic, {"n": 1}, created_ms=NOW_MS, **options) for topic in topics])

    async def set(self, topic: str, value: Any, subject: str | None = None, **options: Any) -> None:
        await self.append([change_draft(topic, Change.SET, value, created_ms=NOW_MS, subject=subject, **options)])


class Lane(PlainLane):
    """A lane that notes what it is fed."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: list[tuple[Subscription, Block]] = []
        self.valued: list[Subscription] = []

    def feed_page(self, reader: Subscription, block: Block) -> None:
        self.pages.append((reader, block))

    def feed_values(self, reader: Subscription) -> None:
        self.valued.append(reader)


class Bench:
    """A journal, readers, and what pages for them. wall_ms: the pager's clock."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.wall_ms = NOW_MS
        self.lane = Lane()
        self.core = Core(core().fanout, self.lane)
        self.core.fanout.epoch = journal.epoch
        self.pager = Pager(journal, lambda: self.wall_ms)
        self.exhausted: list[Subscription] = []
        self.paging = Paging(self.core.fanout, self.pager, Observer(), self.exhausted.append)

    def reader(
        self, name: str, *topics: str, cursor: int = 0, told: int | None = None, exact: bool = True, **options: Any
    ) -> Subscription:
        reader = self.core.reader(name, *topics, after=cursor, **options)
        reader.told = cursor if told is None else told
        reader.exact = exact
        return reader

    def new(self, name: str, *topics: str, **options: Any) -> Subscription:
        """A reader who has no values yet."""
        return self.reader(name, *topics, told=0, exact=False, **options)

    async def fill_log(self) -> None:
        """Give the log what the journal's tail has."""
        self.core.log.reset(*await self.journal.tail(max_entries=10**6, max_bytes=10**9))
        self.core.log.last_change = await self.journal.last_change()

    async def values(self, reader: Subscription, floor: int = 0) -> list[tuple[str, int, Any]]:
        values = await self.pager.values(reader, floor)
        return [(one.subject, one.offset, json.decode(one.data)) for one in values.changed]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    journal = Journal()
    await journal.open(RetentionRules(Retention()))
    bench = Bench(journal)
    yield bench
    journal.gate.set()
    await bench.paging.close()
    await bench.pager.close()


def messages(block: Block) -> list[Message]:
    return Parser().feed(block.data)


def positions(block: Block) -> list[tuple[str, int, int]]:
    found: list[tuple[str, int, int]] = []
    for message in messages(block):
        presented = parse(message.last_event_id)
        assert presented is not None
        found.append((message.type, presented.position.offset, presented.told))
    return found


# Pages.


async def test_a_page_of_plain_events_is_as_they_were_published(bench: Bench) -> None:
    await bench.journal.say("a", "b", "a")
    await bench.fill_log()
    block = await bench.paging.read_page(bench.reader("r", "a"))
    assert positions(block) == [("message", 1, 1), ("message", 3, 3)]
    assert (block.after, block.told_before, block.through, block.told) == (0, 0, 3, 3)


async def test_a_page_beyond_what_this_process_knows_says_so(bench: Bench) -> None:
    """A value may have been changed by another process, and the log has not heard of it yet."""
    await bench.fill_log()
    await bench.journal.say("a")
    block = await bench.paging.read_page(bench.reader("r", "a"))
    assert (positions(block), block.told) == ([("message", 1, 0)], 0)


async def test_a_page_that_passes_over_changes_says_how_far_values_were_told(bench: Bench) -> None:
    await bench.journal.say("a", "b")
    await bench.journal.set("a", "value")
    await bench.journal.say("a")
    await bench.fill_log()
    block = await bench.paging.read_page(bench.reader("r", "a", cursor=1))
    assert positions(block) == [("message", 4, 1)]
    assert (block.after, block.told_before, block.through, block.told) == (1, 1, 4, 1)
    block = await bench.paging.read_page(bench.reader("s", "a", cursor=3, told=2, exact=False))
    assert positions(block) == [("message", 4, 2)]


async def test_where_no_value_was_changed_since_a_page_needs_no_marks(bench: Bench) -> None:
    await bench.journal.set("a", "value")
    await bench.journal.say("a")
    await bench.fill_log()
    block = await bench.paging.read_page(bench.reader("r", "a", cursor=1))
    assert positions(block) == [("message", 2, 2)]
    assert (block.told, messages(block)[0].last_event_id) == (2, f"{bench.journal.epoch}-2")
    for reader in (
        bench.reader("behind", "a", cursor=1, told=0),
        bench.reader("not exact", "a", cursor=1, exact=False),
    ):
        assert (await bench.paging.read_page(reader)).told == reader.told


async def test_a_gap_on_a_stream_says_what_is_missing_and_how_far_values_were_told(bench: Bench) -> None:
    await bench.journal.set("a", "value")
    await bench.journal.say(*"aaba")
    bench.journal._rules = RetentionRules(Retention(max_count=1))
    told: list[tuple[str, int | None]] = []
    bench.paging._observer.gap = lambda reason, missed: told.append((reason, missed))  # type: ignore[method-assign]
    reader = bench.reader("r", "a", cursor=2, told=1, exact=False)
    block = await bench.paging.read_page(reader)
    gap, event = messages(block)
    assert (gap.type, event.type) == ("gap", "message")
    epoch = bench.journal.epoch
    assert json.decode(gap.data) == {
        "reason": "expired",
        "requested": f"{epoch}-2~1",
        "oldest": f"{epoch}-5",
        "missed": 1,
    }
    assert (gap.last_event_id, event.last_event_id) == (f"{epoch}-4~1", f"{epoch}-5~1")
    assert told == [("expired", 1)]


async def test_who_asked_for_what_there_is_is_told_no_gap(bench: Bench) -> None:
    await bench.journal.say(*"aaaa")
    await bench.fill_log()
    bench.journal._rules = RetentionRules(Retention(max_count=1))
    reader = bench.reader("r", "a")
    reader.lenient_until = 3
    block = await bench.paging.read_page(reader)
    assert (positions(block), block.through) == ([], 3)
    reader.reached(3, 3)
    assert positions(await bench.paging.read_page(reader)) == [("message", 4, 4)]


async def test_a_page_ends_where_the_log_begins(bench: Bench) -> None:
    await bench.journal.say(*"aaaa")
    bench.core.log.reset(2, [])
    block = await bench.paging.read_page(bench.reader("r", "a"))
    assert (positions(block), block.through) == ([("message", 1, 1), ("message", 2, 2)], 2)


# Values.


async def test_values_are_given_as_of_one_moment(bench: Bench) -> None:
    await bench.journal.set("a", 1)
    await bench.journal.set("b", 2)
    await bench.journal.set("@user/x", 3, subject="own")
    await bench.journal.set("@user/y", 4, subject="theirs")
    await bench.journal.set("@all", 5, subject="everyone's")
    await bench.journal.set("a", 6)
    reader = bench.new("r", "a", user="x")
    await bench.paging.read_values(reader)
    assert reader.snapshot is not None
    assert (reader.snapshot.through, reader.snapshot.complete) == (6, True)
    told = [(one.subject, one.offset, one.data) for one in reader.snapshot.changed]
    assert told == [("own", 3, b"3"), ("everyone's", 5, b"5"), ("a", 6, b"6")]


async def test_a_reader_that_has_gone_is_given_none(bench: Bench) -> None:
    await bench.journal.set("a", 1)
    reader = bench.new("r", "a")
    bench.journal.gate.clear()
    reading = asyncio.ensure_future(bench.paging.read_values(reader))
    await until(lambda: bench.journal.under_way)
    bench.core.fanout.leave(reader, "disconnected")
    bench.journal.gate.set()
    await reading
    assert reader.snapshot is None


async def test_who_comes_at_once_shares_what_is_read(bench: Bench) -> None:
    await bench.journal.set("a", 1)
    readers = [bench.new(str(n), "a", user=f"u{n}") for n in range(20)]
    bench.journal.gate.clear()
    reading = [asyncio.ensure_future(bench.values(reader)) for reader in readers]
    await until(lambda: bench.journal.under_way)
    bench.journal.gate.set()
    assert await asyncio.gather(*reading) == [[("a", 1, 1)]] * 20
    shared = [topics for kind, topics in bench.journal.asked if topics is not None and "a" in topics.names]
    assert len(shared) == 1
    assert bench.journal.most_under_way <= pager.CONCURRENT_PAGES


async def test_what_was_read_serves_for_a_second(bench: Bench) -> None:
    await bench.journal.set("a", 1)
    assert await bench.values(bench.new("first", "a")) == [("a", 1, 1)]
    await bench.journal.set("a", 2)
    for moved_ms, value in ((VALUES_MS - 1, 1), (1, 2), (-5_000, 2)):
        bench.wall_ms += moved_ms
        assert [one[2] for one in await bench.values(bench.new(str(moved_ms), "a"))] == [value]


async def test_what_was_read_does_not_serve_where_the_log_has_not_the_rest(bench: Bench) -> None:
    await bench.journal.set("a", 1)
    await bench.values(bench.new("first", "a"))
    await bench.journal.set("a", 2)
    assert [one[2] for one in await bench.values(bench.new("r", "a"), floor=1)] == [1]
    assert [one[2] for one in await bench.values(bench.new("s", "a"), floor=2)] == [2]


async def test_what_was_read_is_for_those_who_lack_the_same(bench: Bench) -> None:
    await bench.journal.set("a", 1)
    await bench.journal.set("b", 2)
    assert await bench.values(bench.new("r", "*")) == [("a", 1, 1), ("b", 2, 2)]
    assert await bench.values(bench.reader("s", "*", cursor=2, told=1, exact=False)) == [("b", 2, 2)]
    assert await bench.values(bench.new("t", "a")) == [("a", 1, 1)]


async def test_snapshots_that_are_kept_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pager, "MOST_VALUES", 4)
    for n in range(20):
        await bench.journal.set(f"t{n}", n)
        await bench.values(bench.new(str(n), f"t{n}"))
        assert len(bench.pager._values) <= 4


async def test_a_user_s_value_that_was_changed_meanwhile_makes_one_moment_of_all(bench: Bench) -> None:
    """Else the reader would be told a newer one, with an id that says it has an older state of the others."""
    await bench.journal.set("a", 1)
    await bench.values(bench.new("first", "a"))  # is kept
    await bench.journal.set("a", 2)
    await bench.journal.set("@user/x", 3, subject="own")
    values = await bench.pager.values(bench.new("r", "a", user="x"), 0)
    assert [(one.subject, one.offset) for one in values.changed] == [("a", 2), ("own", 3)]
    assert values.through == 3


async def test_large_snapshots_are_told_as_far_as_both_go(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pager, "VALUES_BYTES", 25)
    order: list[str] = []
    for n in range(12):
        subject = f"s{n}"
        order.append(subject)
        await bench.journal.set("@user/x" if n % 3 else f"a/{n}", "x" * 10, subject=subject if n % 3 else None)
        if not n % 3:
            order[-1] = f"a/{n}"
    reader = bench.new("r", "a/*", user="x")
    got: list[str] = []
    for _ in range(20):
        values = await bench.pager.values(reader, 0)
        got += [one.subject for one in values.changed]
        if values.complete:
            break
        reader.told = values.changed[-1].offset
    assert got == order


async def test_a_read_that_fails_is_not_kept(bench: Bench) -> None:
    await bench.journal.set("a", 1)
    bench.journal.failing = 1
    with pytest.raises(JournalUnavailable):
        await bench.values(bench.new("r", "a"))
    assert await bench.values(bench.new("s", "a")) == [("a", 1, 1)]


async def test_who_stops_waiting_takes_nothing_from_others(bench: Bench) -> None:
    await bench.journal.set("a", 1)
    bench.journal.gate.clear()
    one, other = (asyncio.ensure_future(bench.values(bench.new(name, "a"))) for name in "ab")
    await until(lambda: bench.journal.under_way)
    one.cancel()
    bench.journal.gate.set()
    assert await other == [("a", 1, 1)]
    with pytest.raises(asyncio.CancelledError):
        await one


async def test_after_the_end_of_the_pager_nobody_waits_for_ever(bench: Bench) -> None:
    await bench.journal.set("a", 1)
    bench.journal.gate.clear()
    waiting = asyncio.ensure_future(bench.values(bench.new("r", "a")))
    await until(lambda: bench.journal.under_way)
    await bench.pager.close()
    with pytest.raises(JournalUnavailable, match="not read any more"):
        await waiting


# Turns.


async def test_each_lane_is_told_of_what_it_wanted(bench: Bench) -> None:
    await bench.journal.say("a")
    await bench.journal.set("a", 1)
    paged, valued = bench.reader("page", "a"), bench.new("values", "a", cursor=2)
    bench.paging.want(paged, values=False)  # type: ignore[arg-type]
    bench.paging.want(valued, values=True)  # type: ignore[arg-type]
    await until(lambda: bench.lane.pages and bench.lane.valued)
    assert [(reader.id, positions(block)) for reader, block in bench.lane.pages] == [("page", [("message", 1, 0)])]
    assert bench.lane.valued == [valued]
    assert valued.snapshot is not None


async def test_a_thousand_readers_take_turns(bench: Bench) -> None:
    await bench.journal.set("@user/u1", 1, subject="own")
    bench.journal.gate.clear()
    readers = [bench.new(str(n), f"t{n}", user=f"u{n}") for n in range(200)]
    for reader in readers:
        bench.paging.want(reader, values=True)  # type: ignore[arg-type]
    await until(lambda: bench.journal.under_way)
    assert len(bench.paging._workers) == PAGE_WORKERS
    bench.journal.gate.set()
    await until(lambda: len(bench.lane.valued) == 200)
    assert bench.lane.valued[:3] == readers[:3]
    assert bench.journal.most_under_way <= pager.CONCURRENT_PAGES
    await until(lambda: not bench.paging._workers)


async def test_who_has_gone_or_is_live_is_passed_over(bench: Bench) -> None:
    gone, live, behind = (bench.new(name, "a") for name in ("gone", "live", "behind"))
    for reader in (gone, live, behind):
        bench.paging.want(reader, values=True)  # type: ignore[arg-type]
    bench.core.fanout.leave(gone, "disconnected")
    live.state = State.LIVE
    await until(lambda: bench.lane.valued)
    await until(lambda: not bench.paging._workers)
    assert bench.lane.valued == [behind]


async def test_while_the_journal_fails_readers_wait_and_it_is_said_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(paging, "PAGE_RETRY_SECONDS", 0)
    await bench.journal.say("a")
    await bench.journal.set("a", 1)
    bench.journal.failing = 30
    for n in range(5):
        bench.paging.want(bench.new(f"v{n}", "a", cursor=2), values=True)  # type: ignore[arg-type]
        bench.paging.want(bench.reader(f"p{n}", "a"), values=False)  # type: ignore[arg-type]
    await until(lambda: len(bench.lane.valued) == len(bench.lane.pages) == 5)
    assert all(reader.snapshot is not None for reader in bench.lane.valued)
    said = [record.message for record in caplog.records]
    assert len([text for text in said if "gives no pages" in text]) == 1
    assert len([text for text in said if "gives pages again" in text]) == 1


async def test_who_goes_while_the_journal_fails_waits_no_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE_RETRY_SECONDS", 0)
    bench.journal.failing = 10**9
    reader = bench.new("r", "a")
    waiting = [
        asyncio.ensure_future(bench.paging.read_values(reader)),
        asyncio.ensure_future(bench.paging.read_page(reader)),
    ]
    await until(lambda: len(bench.journal.asked) > 5)
    bench.core.fanout.leave(reader, "disconnected")
    async with asyncio.timeout(5):
        await waiting[0]
        block = await waiting[1]
    assert reader.snapshot is None
    assert (block.data, block.through) == (b"", 0)


async def test_closed_it_reads_nothing_more(bench: Bench) -> None:
    bench.journal.gate.clear()
    reader = bench.new("r", "a")
    bench.paging.want(reader, values=True)  # type: ignore[arg-type]
    await until(lambda: bench.journal.under_way)
    await bench.paging.close()
    assert not bench.paging._workers
    bench.paging.want(reader, values=True)  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert not bench.paging._workers
    assert (reader.snapshot, bench.lane.valued) == (None, [])


async def test_who_may_show_values_whose_deletion_nobody_remembers_has_to_come_back(bench: Bench) -> None:
    await bench.journal.set("a", 1)
    old, new = bench.reader("old", "a", cursor=1), bench.new("new", "a")
    bench.journal._values.forgotten = 2
    for reader in (old, new):
        await bench.paging.read_values(reader)
    assert bench.exhausted == [old]
    assert old.snapshot is None
    assert new.snapshot is not None

"""Where streams start: what strangers present, and what can still be replayed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.audience import Audiences
from clarion.event import draft
from clarion.journals.memory import MemoryJournal
from clarion.log import Log
from clarion.pager import Pager
from clarion.position import MAX_OFFSET
from clarion.retention import LIVE, Retention, RetentionRules, Since
from clarion.start import Start, Starts
from clarion.subscription import Subscription
from clarion.topics import TopicSet
from tests.unit.core import NOW_MS, PlainLane


class Place:
    """A journal, a log that has the last of it, and readers of the topic `a`."""

    def __init__(self, max_replay_events: int | None = None) -> None:
        self.journal = MemoryJournal(now_ms=lambda: NOW_MS)
        self.log = Log(max_entries=3)
        self.audiences = Audiences()
        pager = Pager(self.journal, lambda: NOW_MS)
        self.starts = Starts(self.journal, self.log, pager, max_replay_events)

    async def open(self, topics: Sequence[str], kept: int | None = None) -> Place:
        await self.journal.open(RetentionRules(Retention(max_count=kept)))
        await self.journal.append([draft(topic, None, created_ms=NOW_MS) for topic in topics])
        floor, entries = await self.journal.tail(max_entries=3, max_bytes=10_000)
        self.log.reset(floor, entries)
        return self

    async def find(self, presented: str | None, since: Since = LIVE, user: str | None = None) -> Start:
        audience = self.audiences.of(TopicSet(["a"]), PlainLane())
        if presented is not None and presented.isdecimal():
            presented = f"{self.journal.epoch}-{presented}"
        return await self.starts.find(Subscription("1", user, audience, 0, 0), presented, since)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = await Place().open(["a", "b"] * 5)
    yield place
    await place.journal.close()


@pytest.mark.parametrize("presented", [None, ""])
async def test_without_an_id_it_is_live(place: Place, presented: str | None) -> None:
    assert await place.find(presented) == Start(10, "live")


@pytest.mark.parametrize("offset", [0, 3, 7, 8, 10])
async def test_a_position_is_resumed(place: Place, offset: int) -> None:
    assert await place.find(str(offset)) == Start(offset, "resumed", told=offset, exact=True)


async def test_what_this_process_has_not_seen_yet_is_resumed(place: Place) -> None:
    await place.journal.append([draft("a", None, created_ms=NOW_MS)])
    assert await place.find("11") == Start(11, "resumed", told=11, exact=True)


@pytest.mark.parametrize("presented", ["11", "9999", str(MAX_OFFSET), "nonsense", "\x00", "-", "k3v9-01"])
async def test_what_nobody_was_given_is_unknown(place: Place, presented: str) -> None:
    assert await place.find(presented) == Start(0, "gap", "unknown")


async def test_another_numbering_is_told(place: Place) -> None:
    assert await place.find("zzzz-3") == Start(0, "gap", "epoch")


async def test_an_id_goes_before_a_start_choice(place: Place) -> None:
    assert await place.find("9", Since(earliest=True)) == Start(9, "resumed", told=9, exact=True)


@pytest.mark.parametrize(
    ("since", "cursor"),
    [(Since(earliest=True), 0), (Since(last=2), 6), (Since(last=100), 0), (Since(after_ms=NOW_MS), 10)],
)
async def test_start_choices(place: Place, since: Since, cursor: int) -> None:
    start = await place.find(None, since)
    assert (start.cursor, start.mode, start.gap) == (cursor, "live", None)


async def test_what_retention_took_is_a_gap_only_for_its_topics() -> None:
    place = await Place().open(["b"] * 5 + ["a"] * 5, kept=5)
    assert await place.find("0") == Start(0, "resumed", told=0, exact=True)
    place = await Place().open(["a"] * 5 + ["b"] * 5, kept=5)
    assert await place.find("0") == Start(0, "gap", exact=True)
    assert (await place.find("zzzz-0")).cursor == 5
    place = await Place().open(["@user/x"] * 5 + ["b"] * 5, kept=5)
    assert await place.find("0") == Start(0, "resumed", told=0, exact=True)
    assert await place.find("0", user="x") == Start(0, "gap", exact=True)


async def test_replay_is_limited_where_the_app_says_so() -> None:
    place = await Place(max_replay_events=2).open(["a", "b"] * 5)
    assert await place.find("8") == Start(8, "resumed", told=8, exact=True)
    assert await place.find("6") == Start(6, "resumed", told=6, exact=True)
    assert await place.find("2") == Start(6, "gap", "limit", told=2, exact=True)
    assert await place.find(None, Since(earliest=True)) == Start(6, "gap", "limit")
    assert await place.find("zzzz-0") == Start(6, "gap", "epoch")


@given(st.data())
async def test_nothing_that_is_presented_raises(data: st.DataObject) -> None:
    place = await Place().open(["a"] * 5)
    text: Any = data.draw(st.text() | st.from_regex(r"[a-z0-9]{0,17}-[0-9]{0,20}(\.done)?"))
    start = await place.find(text or None)
    assert 0 <= start.cursor <= 5
    assert start.mode in ("live", "resumed", "gap")

"""Silence, stalling and ends, with a clock turned by hand."""

from __future__ import annotations

from typing import Any

import pytest

from clarion.audience import Audience
from clarion.subscription import LIMIT, State, Subscription
from clarion.testing import ManualClock
from clarion.timers import TICK_MS, Timers
from clarion.topics import TopicSet

STALL_MS = 60_000


class Told:
    """What the timers said, as (moment, what, ids)."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.said: list[tuple[int, str, list[str]]] = []
        self.timers = Timers(
            self.clock,
            silent=lambda readers: self._note("silent", readers),
            stalled=lambda readers: self._note("stalled", readers),
            over=lambda readers: self._note("over", readers),
            stall_ms=STALL_MS,
        )

    def _note(self, what: str, readers: Any) -> None:
        self.said.append((self.clock.monotonic_ms(), what, [reader.id for reader in readers]))

    def reader(self, name: str, *, heartbeat_ms: int = 15_000, deadline_ms: int | None = None) -> Subscription:
        lane: Any = None
        reader = Subscription(name, None, Audience(TopicSet(()), lane), 0, 0)
        reader.heartbeat_ms = heartbeat_ms
        reader.written_ms = self.clock.monotonic_ms()
        reader.deadline_ms, reader.deadline_reason = deadline_ms, LIMIT
        self.timers.add(reader)
        return reader


@pytest.fixture
def told() -> Told:
    return Told()


def test_who_is_silent_is_named_once_an_interval(told: Told) -> None:
    told.reader("a")
    told.clock.advance(60)
    moments = [moment for moment, what, _ in told.said if what == "silent"]
    assert len(moments) in (3, 4)
    for before, after in zip([0, *moments], moments, strict=False):
        assert 15_000 <= after - before <= 15_000 + TICK_MS


def test_who_was_written_to_is_not_silent(told: Told) -> None:
    reader = told.reader("a")
    for _ in range(10):
        told.clock.advance(10)
        reader.written_ms = told.clock.monotonic_ms()
    assert told.said == []
    told.clock.advance(15.05)
    assert [what for _, what, _ in told.said] == ["silent"]


def test_a_reader_without_heartbeats_gets_none(told: Told) -> None:
    told.reader("a", heartbeat_ms=0)
    told.clock.advance(600)
    assert told.said == []


def test_who_takes_no_byte_for_long_stalls(told: Told) -> None:
    reader = told.reader("a")
    reader.blocked = True
    told.clock.advance(59)
    assert not [said for said in told.said if said[1] == "stalled"]
    told.clock.advance(1 + 15.1)
    [(moment, _, names)] = [said for said in told.said if said[1] == "stalled"]
    assert names == ["a"]
    assert STALL_MS <= moment <= STALL_MS + 15_000 + 2 * TICK_MS


def test_a_slow_reader_does_not_stall(told: Told) -> None:
    reader = told.reader("a", heartbeat_ms=0)
    reader.blocked = True
    for _ in range(20):
        told.clock.advance(30)
        reader.written_ms = told.clock.monotonic_ms()
    assert told.said == []


def test_an_end_comes_on_time_and_once(told: Told) -> None:
    told.reader("a", deadline_ms=5_000)
    told.clock.advance(60)
    [(moment, _, names)] = [said for said in told.said if said[1] == "over"]
    assert names == ["a"]
    assert 5_000 <= moment <= 5_000 + TICK_MS


def test_an_end_that_is_past_comes_at_once(told: Told) -> None:
    told.clock.advance(10)
    told.reader("a", deadline_ms=-3_000)
    told.clock.advance(0)
    assert [what for _, what, _ in told.said] == ["over"]


def test_who_is_gone_is_not_named(told: Told) -> None:
    reader = told.reader("a", deadline_ms=5_000)
    reader.state = State.CLOSED
    told.timers.discard(reader)
    told.clock.advance(600)
    assert told.said == []
    assert len(told.timers._looks) == 0, "a reader that is gone is still held"


def test_an_earlier_end_is_not_late_because_of_a_later_one(told: Told) -> None:
    told.reader("late", deadline_ms=50_000, heartbeat_ms=0)
    told.reader("early", deadline_ms=1_000, heartbeat_ms=0)
    told.clock.advance(2)
    assert [names for _, what, names in told.said if what == "over"] == [["early"]]


def test_closed_timers_say_nothing(told: Told) -> None:
    told.reader("a", deadline_ms=5_000)
    told.timers.close()
    told.clock.advance(600)
    assert told.said == []
    assert told.clock.waiting == 0


def test_one_timer_serves_all(told: Told) -> None:
    for number in range(1_000):
        told.reader(f"r{number}", deadline_ms=10_000 + number)
    assert told.clock.waiting == 1

"""The values of a memory journal: what they cost, and when they are let go of. What they are, the contract says."""

from __future__ import annotations

from typing import Any

import pytest

from clarion.changes import change_draft
from clarion.held import TOMBSTONE_SECONDS
from clarion.journals import memory_values
from clarion.journals.memory_values import DUE_AT_ONCE, ValueTable
from clarion.topics import TopicSet
from clarion.values import Change
from tests.unit.core import NOW_MS


class Table(ValueTable):
    """One that is changed by one call."""

    def change(self, kind: Change, data: Any = None, topic: str = "t", at_ms: int = NOW_MS, **options: Any) -> None:
        draft = change_draft(topic, kind, data, created_ms=at_ms, **options)
        (revised,) = self.revise([draft], self.last_change, lambda _: False)
        assert revised is not None
        self.put(revised.key, revised.held)

    def given(self, *topics: str, after: int = 0, now_ms: int = NOW_MS) -> list[tuple[str, int]]:
        asked = TopicSet(topics) if topics else None
        return [(one.topic, one.offset) for one in self.values(asked, after, 10**9, now_ms, self.last_change).changed]


def test_what_was_changed_again_takes_no_room() -> None:
    table = Table()
    for n in range(10_000):
        table.change(Change.SET, n, f"t/{n % 10}")
        assert len(table._order) <= 2 * 10 + memory_values.SWEEP_PLACES + 1
    assert table.given() == [(f"t/{n}", 9_991 + n) for n in range(10)]
    assert table.given("t/*", after=9_997) == [("t/7", 9_998), ("t/8", 9_999), ("t/9", 10_000)]


def test_a_value_that_is_to_live_shorter_is_let_go_of_then() -> None:
    table = Table()
    table.change(Change.SET, 1, ttl_seconds=10**6)
    table.change(Change.SET, 2, ttl_seconds=1)
    table.let_go(NOW_MS + 999)
    assert table._held
    table.let_go(NOW_MS + 1_000)
    assert not table._held
    assert not table._subjects
    table.let_go(NOW_MS + 10**9)
    assert (table._due, table._awaited) == ([], {})


def test_a_value_that_is_to_live_longer_is_kept() -> None:
    table = Table()
    table.change(Change.SET, 1, ttl_seconds=1)
    table.change(Change.SET, 2, ttl_seconds=100)
    table.let_go(NOW_MS + 50_000)
    assert table.given(now_ms=NOW_MS + 50_000) == [("t", 2)]
    table.change(Change.SET, 3)
    table.let_go(NOW_MS + 10**9)
    assert table.given(now_ms=NOW_MS + 10**9) == [("t", 3)]
    assert table._due == []


def test_values_that_are_renewed_are_awaited_once() -> None:
    table = Table()
    for n in range(1_000):
        table.change(Change.SET, n, at_ms=NOW_MS + n, ttl_seconds=60)
    assert len(table._due) == 1
    table.let_go(NOW_MS + 60_500)
    assert len(table._due) == 1
    assert table.given(now_ms=NOW_MS + 60_500) == [("t", 1_000)]
    table.let_go(NOW_MS + 60_999)
    assert table._held == {}


def test_values_that_were_deleted_before_their_time_are_awaited_no_more() -> None:
    table = Table()
    for n in range(1_000):
        table.change(Change.SET, n, ttl_seconds=10**6)
        table.change(Change.DELETE)
    assert len(table._due) <= 2 + memory_values.SWEEP_PLACES + 1


def test_letting_go_is_bounded_at_a_time() -> None:
    table = Table()
    for n in range(3 * DUE_AT_ONCE):
        table.change(Change.SET, n, f"t/{n}", ttl_seconds=1)
    for left in (2, 1, 0):
        table.let_go(NOW_MS + 1_000)
        assert len(table._held) == left * DUE_AT_ONCE


def test_a_deletion_does_not_wait_for_the_time_that_the_value_had() -> None:
    table = Table()
    table.change(Change.SET, 1, ttl_seconds=10**8)
    table.change(Change.DELETE)
    assert table.given(after=1) == [("t", 2)]
    table.let_go(NOW_MS + TOMBSTONE_SECONDS * 1000)
    assert (table._held, table.forgotten) == ({}, 2)


def test_deletions_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_values, "MOST_TOMBSTONES", 10)
    table = Table()
    for n in range(100):
        table.change(Change.SET, n, f"t/{n}")
        table.change(Change.DELETE, topic=f"t/{n}")
        assert len(table._held) <= 10
        assert table.forgotten == max(0, 2 * (n - 9))
        assert len(table._due) <= 2 * 10 + memory_values.SWEEP_PLACES + 1
    assert table.given(after=1) == [(f"t/{n}", 2 * n + 2) for n in range(90, 100)]
    table.change(Change.SET, 1, "t/95")
    table.change(Change.SET, 1, "other")
    table.change(Change.DELETE, topic="other")
    assert table.forgotten == 2 * 90
    assert len(table._held) == 11
    for _ in range(3):
        table.let_go(NOW_MS + TOMBSTONE_SECONDS * 1000)
    assert (table.given(), len(table._held), table._tombstones) == ([("t/95", 201)], 1, {})

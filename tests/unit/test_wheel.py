"""The wheel: what is due comes, never early, and late by one granularity at most."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clarion.wheel import Wheel

GRANULARITY_MS = 50
added = st.lists(st.tuples(st.integers(0, 1_000), st.booleans()), max_size=30)


@given(added, st.lists(st.integers(1, 300), max_size=20))
def test_items_come_when_they_are_due(added: list[tuple[int, bool]], steps: list[int]) -> None:
    wheel: Wheel[int] = Wheel(GRANULARITY_MS)
    due = {}
    for item, (due_ms, take_back) in enumerate(added):
        wheel.add(due_ms, item)
        if take_back:
            wheel.discard(due_ms, item)
        else:
            due[item] = due_ms
    now_ms = 0
    for step in (0, *steps):
        now_ms += step
        for item in wheel.pop_due(now_ms):
            assert due.pop(item) <= now_ms
        assert all(due_ms > now_ms - GRANULARITY_MS for due_ms in due.values())
        assert len(wheel) == len(due)
        next_ms = wheel.next_due_ms()
        assert (next_ms is None) == (not due)
        if next_ms is not None:
            assert next_ms < min(due.values()) + GRANULARITY_MS
    wheel.pop_due(10_000)
    assert wheel.next_due_ms() is None


def test_an_item_that_was_taken_back_may_come_again() -> None:
    wheel: Wheel[str] = Wheel(10)
    wheel.add(30, "a")
    wheel.discard(30, "a")
    wheel.add(25, "a")
    assert wheel.next_due_ms() == 30
    assert wheel.pop_due(30) == ["a"]


def test_taking_back_what_is_not_there_changes_nothing() -> None:
    wheel: Wheel[str] = Wheel(10)
    wheel.discard(30, "a")
    wheel.add(30, "b")
    wheel.discard(30, "a")
    assert wheel.pop_due(30) == ["b"]

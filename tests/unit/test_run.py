"""Runs, against a plain list."""

from __future__ import annotations

import gc

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from clarion.event import Entry
from clarion.run import Run


def entry(offset: int, created_ms: int = 0) -> Entry:
    return Entry(offset, "t", b"frame", created_ms or offset)


class Runs(RuleBasedStateMachine):
    """The list is what the run must be."""

    def __init__(self) -> None:
        super().__init__()
        self.run = Run()
        self.list: list[Entry] = []
        self.head = 0

    @rule(step=st.integers(1, 3), count=st.integers(1, 40))
    def append(self, step: int, count: int) -> None:
        for _ in range(count):
            self.head += step
            self.run.append(one := entry(self.head))
            self.list.append(one)

    @precondition(lambda self: self.list)
    @rule(count=st.integers(1, 40))
    def popleft(self, count: int) -> None:
        for _ in range(min(count, len(self.list))):
            assert self.run.popleft() is self.list.pop(0)

    @rule(after=st.integers(-2, 130), through=st.integers(-2, 130), most=st.integers(1, 9))
    def look(self, after: int, through: int, most: int) -> None:
        rest = [one for one in self.list if one.offset > after]
        assert list(self.run.after(after)) == rest
        assert self.run.count_after(after) == len(rest)
        assert self.run.slice_after(after, most) == rest[:most]
        assert self.run.between(after, through) == [one for one in rest if one.offset <= through]
        assert self.run.first_after_time(after) is (rest[0] if rest else None)

    @invariant()
    def same(self) -> None:
        assert len(self.run) == len(self.list)
        assert list(self.run) == self.list
        assert list(self.run.newest_first()) == self.list[::-1]
        if self.list:
            assert self.run.first is self.list[0]
            assert self.run.last is self.list[-1]


TestRuns = Runs.TestCase


def test_an_empty_run_has_no_ends() -> None:
    for empty in (Run(), _emptied()):
        with pytest.raises(IndexError):
            _ = empty.last
        with pytest.raises(IndexError):
            _ = empty.first
        with pytest.raises(IndexError):
            empty.popleft()


def _emptied() -> Run:
    one = Run([entry(1)])
    one.popleft()
    return one


def test_appending_while_going_through_is_safe() -> None:
    growing = Run([entry(1), entry(2)])
    seen = []
    for one in growing.after(0):
        seen.append(one.offset)
        if one.offset < 5:
            growing.append(entry(one.offset + 2))
    assert seen == [1, 2, 3, 4, 5, 6]


def test_what_was_taken_away_is_let_go_of_at_once() -> None:
    run = Run(entry(n) for n in range(1, 11))
    first = run.first
    run.popleft()
    assert gc.get_referrers(first) == []

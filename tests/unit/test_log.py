"""The log: a window on the journal's tail, cut into segments at fixed places."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion import log as log_module
from clarion.event import Entry
from clarion.log import Log

TOPICS = ("a", "@all", "@user/x", "@client/y")


def entry(offset: int, topic: str = "a", size: int = 10, ephemeral: bool = False, ttl: bool = False) -> Entry:
    return Entry(offset, topic, b"x" * size, offset, 10**15 if ttl else None, ephemeral)


entries = st.lists(
    st.builds(
        lambda topic, size, ephemeral, ttl: (topic, size, ephemeral, ttl),
        st.sampled_from(TOPICS),
        st.integers(1, 60),
        st.booleans(),
        st.booleans(),
    ),
    max_size=60,
).map(lambda made: [entry(n, *one) for n, one in enumerate(made, 1)])


@pytest.fixture(autouse=True)
def _short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "SEGMENT_BYTES", 100)
    monkeypatch.setattr(log_module, "SEGMENT_ENTRIES", 5)


def _cut(made: list[Entry], places: list[int]) -> list[list[Entry]]:
    ends = [0, *sorted(place % (len(made) + 1) for place in places), len(made)]
    return [made[begin:end] for begin, end in itertools.pairwise(ends)]


@given(entries, st.lists(st.integers(0, 60)), st.integers(1, 20), st.integers(20, 400))
def test_it_holds_everything_after_its_floor(
    made: list[Entry], places: list[int], max_entries: int, max_bytes: int
) -> None:
    log = Log(max_entries=max_entries, max_bytes=max_bytes)
    for batch in _cut(made, places):
        log.extend(batch)
        assert len(log) <= max_entries
    assert log.head == len(made)
    assert log.after(log.floor, 1_000) == made[log.floor :]
    assert sum(len(one.frame) for one in made[log.floor :]) <= max_bytes
    if log.floor:  # nothing was let go too early
        more = made[log.floor - 1 :]
        assert len(more) > max_entries or sum(len(one.frame) for one in more) > max_bytes


@given(entries, st.integers(1, 30), st.data())
def test_segments_hold_everything_and_end_at_fixed_places(
    made: list[Entry], max_entries: int, data: st.DataObject
) -> None:
    log = Log(max_entries=max_entries)
    log.extend(made)
    if log.floor == log.head:
        return
    after = data.draw(st.integers(log.floor, log.head - 1))
    upto = data.draw(st.integers(after + 1, log.head))
    segment = log.segment(after, upto)
    assert after < segment.through <= upto
    assert list(segment.entries) == made[after : segment.through]
    assert segment.plain == (not any(one.ephemeral or one.expires_ms for one in segment.entries))
    for other in range(after, segment.through):  # wherever one starts in it, it ends at the same place
        assert log.segment(other, upto).through == segment.through


@given(entries, st.integers(1, 30), st.data())
def test_personal_entries_are_found(made: list[Entry], max_entries: int, data: st.DataObject) -> None:
    log = Log(max_entries=max_entries)
    log.extend(made)
    after = data.draw(st.integers(log.floor, log.head))
    through = data.draw(st.integers(after, log.head))
    for topics in (("@user/x",), ("@client/y",), ("@client/y", "@user/x"), ("@user/z",), ()):
        there = any(one.topic in topics for one in made[after:through])
        assert log.has_personal(topics, after, through) == there


def test_what_is_known_is_left_out() -> None:
    log = Log()
    log.extend([entry(1), entry(2)])
    log.extend([entry(1), entry(2), entry(3)])
    assert [one.offset for one in log.after(0, 10)] == [1, 2, 3]


def test_offsets_may_have_holes() -> None:
    log = Log(max_entries=2)
    log.extend([entry(10), entry(20), entry(35)])
    assert (log.floor, log.head) == (10, 35)
    assert log.segment(10, 20).through == 20
    assert log.count_after(15) == 2


def test_one_entry_larger_than_the_window_leaves_it_empty() -> None:
    log = Log(max_bytes=100)
    log.extend([entry(1), entry(2, size=500)])
    assert (log.floor, log.head, len(log)) == (2, 2, 0)
    log.extend([entry(3)])
    assert log.after(2, 10)[0].offset == 3


def test_beginning_anew_forgets_everything() -> None:
    log = Log()
    log.extend([entry(1, "@user/x", ephemeral=True)])
    log.reset(7, [entry(8), entry(9)])
    assert (log.floor, log.head, len(log)) == (7, 9, 2)
    assert log.segment(7, 9).plain
    assert not log.has_personal(("@user/x",), 0, 9)

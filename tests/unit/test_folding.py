"""Folding: each value told once, as what became of it; and the frames in which a reader is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion import json
from clarion.changes import change_draft, said
from clarion.errors import NoValue, ValueMismatch
from clarion.event import Entry
from clarion.folding import by_value, fold, frames
from clarion.held import Held, revised
from clarion.journals.base import Changed, Values
from clarion.parser import Parser
from clarion.position import parse
from clarion.values import MISSING, Change, applied
from clarion.wire import event_frame
from tests.unit.core import NOW_MS

Key = tuple[str, str]


class Changing:
    """Values that are changed, and the entries that come of it, as a journal makes them."""

    def __init__(self) -> None:
        self.held: dict[Key, Held] = {}
        self.entries: list[Entry] = []

    def change(self, kind: Change, data: Any, topic: str = "t", subject: str | None = None, event: str = "n") -> None:
        draft = change_draft(topic, kind, data, created_ms=NOW_MS, subject=subject, event=event)
        told = said(draft.body)
        key = (topic, told.subject)
        offset = len(self.entries) + 1
        held = self.held[key] = revised(self.held.get(key), draft, told, offset)
        frame = event_frame("k3v9", offset, draft.body)
        self.entries.append(Entry(offset, topic, frame, NOW_MS, change=kind, value_bytes=held.size_bytes))

    def values(self) -> dict[Key, Any]:
        return {key: held.value for key, held in self.held.items()}

    def fold(self, after: int = 0) -> list[Changed]:
        values = fold(self.entries[after:], len(self.entries))
        assert values is not None
        assert (values.through, values.complete, values.forgotten) == (len(self.entries), True, 0)
        return values.changed


def one(changed: list[Changed]) -> tuple[str, int, Change, Any]:
    (only,) = changed
    return only.name, only.offset, only.change, json.decode(only.data)


def test_changes_are_told_as_one() -> None:
    t = Changing()
    for word in ("Once", " upon", " a time"):
        t.change(Change.APPEND, {"text": word}, event=f"n{len(t.entries)}")
    assert one(t.fold()) == ("n2", 3, Change.APPEND, {"text": "Once upon a time"})
    assert one(t.fold(1)) == ("n2", 3, Change.APPEND, {"text": " upon a time"})
    t.change(Change.SET, {"text": "The end"})
    assert one(t.fold(1)) == ("n", 4, Change.SET, {"text": "The end"})
    t.change(Change.MERGE, {"done": True})
    assert one(t.fold(1)) == ("n", 5, Change.SET, {"text": "The end", "done": True})
    t.change(Change.DELETE, None)
    assert one(t.fold()) == ("n", 6, Change.DELETE, None)
    t.change(Change.APPEND, "again")
    assert one(t.fold(2)) == ("n", 7, Change.SET, "again")


def test_patches_that_are_not_one_are_told_as_two() -> None:
    t = Changing()
    t.change(Change.SET, {"a": {"b": 1, "c": "long enough that two patches are shorter"}})
    t.change(Change.MERGE, {"a": None})
    t.change(Change.MERGE, {"a": {"c": 2}})
    assert one(t.fold(1))[2:] == (Change.MERGE, [{"a": None}, {"a": {"c": 2}}])


def test_one_change_is_told_as_it_is() -> None:
    t = Changing()
    t.change(Change.SET, {"b": 1, "a": [1.0, 2**70]})
    t.change(Change.APPEND, {"a": []})
    assert t.fold()[0].data == b'{"b":1,"a":[1.0,1180591620717411303424]}'
    assert t.fold(1)[0].data == b'{"a":[]}'


def test_each_value_is_told_by_itself_in_the_order_of_their_last_changes() -> None:
    t = Changing()
    t.change(Change.SET, 1, "a")
    t.change(Change.SET, 2, "@user/x", "a")
    t.change(Change.SET, 3, "@user/x", "b")
    t.change(Change.SET, 4, "b")
    t.change(Change.APPEND, ["5"], "c")
    t.change(Change.SET, 6, "a")
    told = [(each.topic, each.subject, each.offset, each.data) for each in t.fold()]
    assert told == [
        ("@user/x", "a", 2, b"2"),
        ("@user/x", "b", 3, b"3"),
        ("b", "b", 4, b"4"),
        ("c", "c", 5, b'["5"]'),
        ("a", "a", 6, b"6"),
    ]
    assert list(by_value(t.entries)) == [("a", "a"), ("@user/x", "a"), ("@user/x", "b"), ("b", "b"), ("c", "c")]
    assert [len(changes.entries) for changes in by_value(t.entries).values()] == [2, 1, 1, 1, 1]


def test_nothing_is_nothing() -> None:
    assert fold([], 9) == Values([], 9, True, 0)


def test_changes_that_are_not_one_are_told_by_the_value() -> None:
    t = Changing()
    t.change(Change.SET, {"t": "a"})
    t.change(Change.APPEND, {"t": "b"})
    t.change(Change.MERGE, {"n": 1})
    assert fold(t.entries[1:], 3) is None
    assert one(t.fold()) == ("n", 3, Change.SET, {"t": "ab", "n": 1})


def test_changes_that_are_larger_than_the_value_are_told_by_the_value() -> None:
    t = Changing()
    t.change(Change.SET, {"a": 1})
    t.change(Change.MERGE, {"b": "x" * 100})
    t.change(Change.MERGE, {"b": None, "a": None})
    small = t.entries[-1]
    entries = [*t.entries[1:-1], Entry(3, "t", small.frame, NOW_MS, change=small.change, value_bytes=2)]
    assert fold(entries, 3) is None
    assert fold(t.entries[2:], 3) is not None  # one change stands as it is, whatever the value's size


NAMES = st.sampled_from("abc")
DATA = st.recursive(
    st.sampled_from([None, 1, "", "x", "text"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
CHANGES = st.one_of(
    st.tuples(st.sampled_from([Change.SET, Change.APPEND, Change.APPEND]), DATA),
    st.tuples(st.just(Change.MERGE), st.dictionaries(NAMES, DATA, max_size=3)),
    st.tuples(st.just(Change.DELETE), st.none()),
)
KEYS = st.sampled_from([("a", "a"), ("b", "b"), ("@user/x", "a"), ("@user/x", "b")])


@given(changes=st.lists(st.tuples(KEYS, CHANGES), max_size=14), cut=st.integers(0, 14))
def test_what_is_told_makes_the_values_what_they_are(changes: list[tuple[Key, tuple[Change, Any]]], cut: int) -> None:
    t = Changing()

    def do(some: list[tuple[Key, tuple[Change, Any]]]) -> None:
        for (topic, subject), (kind, data) in some:
            try:
                t.change(kind, data, topic, subject)
            except (ValueMismatch, NoValue):
                continue

    do(changes[:cut])
    shown, after = dict(t.values()), len(t.entries)
    do(changes[cut:])
    values = fold(t.entries[after:], len(t.entries))
    if values is None:
        words = {entry.change for entry in t.entries[after:]}
        assert Change.MERGE in words  # appends alone can always be told
        return
    offsets = [each.offset for each in values.changed]
    assert offsets == sorted(set(offsets))
    for each in values.changed:
        key = (each.topic, each.subject)
        held = t.held[key]
        assert (each.offset, each.name) == (held.offset, held.name)
        shown[key] = applied(shown.get(key, MISSING), each.change, json.decode(each.data))
        if each.change is not Change.SET and each.change is not Change.DELETE:
            changes_of = [entry for entry in t.entries[after:] if said(entry.frame).subject == each.subject]
            assert len(each.data) <= held.size_bytes or len(changes_of) == 1
    real = t.values()
    assert shown.keys() == real.keys()
    for key, value in real.items():
        assert (value is MISSING) == (shown[key] is MISSING)
        if value is not MISSING:
            assert order(shown[key]) == order(value)


def order(value: Any) -> Any:
    """The same whatever the order of members."""
    if isinstance(value, dict):
        return {name: order(value[name]) for name in sorted(value)}
    return [order(each) for each in value] if isinstance(value, list) else value


# Frames.


def told(*offsets: int, data: bytes = b"1", change: Change = Change.SET) -> list[Changed]:
    return [Changed(f"topic/{offset}", f"s{offset}", "n", offset, change, data) for offset in offsets]


def ids(entries: list[Entry]) -> list[str]:
    return [entry.frame.split(b"\n")[0].decode().removeprefix("id: ") for entry in entries]


def test_the_ids_of_values_say_how_far_they_were_told() -> None:
    values = Values(told(3, 5, 9), 10, True, 0)
    entries, telling = frames("k3v9", 10, 0, values, 10**6)
    assert ids(entries) == ["k3v9-10~3", "k3v9-10~5", "k3v9-10"]
    assert telling == [0, 3, 5, 10, 10]
    assert [(entry.offset, entry.topic, entry.change) for entry in entries] == [
        (10, "topic/3", Change.SET),
        (10, "topic/5", Change.SET),
        (10, "topic/9", Change.SET),
    ]
    assert entries[0].frame == b"id: k3v9-10~3\nevent: n\ntopic: s3\nchange: set\ndata: 1\n\n"


def test_a_snapshot_from_before_the_cursor_says_so_to_its_end() -> None:
    entries, telling = frames("k3v9", 12, 0, Values(told(3, 9), 10, True, 0), 10**6)
    assert ids(entries) == ["k3v9-12~3", "k3v9-12~10"]
    assert telling == [0, 3, 10, 10]


def test_what_is_not_all_does_not_say_that_it_is() -> None:
    entries, telling = frames("k3v9", 10, 0, Values(told(3, 5), 10, False, 0), 10**6)
    assert ids(entries) == ["k3v9-10~3", "k3v9-10~5"]
    assert telling == [0, 3, 5, 5]


def test_frames_stop_at_the_bytes_and_go_on_from_there() -> None:
    values = Values(told(*range(1, 11), data=b'"%b"' % (b"x" * 1_000)), 20, True, 0)
    got: list[str] = []
    position = 0
    calls = 0
    while position < 20:
        entries, telling = frames("k3v9", 20, position, values, 2_500)
        assert telling[0] == position
        assert len(entries) == len(telling) - 2
        assert sum(len(entry.frame) for entry in entries[:-1]) < 2_500
        got += ids(entries)
        position = telling[-1]
        calls += 1
    assert calls == 4
    assert got == [*[f"k3v9-20~{n}" for n in range(1, 10)], "k3v9-20"]


def test_a_value_over_the_bytes_is_told_alone() -> None:
    entries, telling = frames("k3v9", 5, 0, Values(told(1, 2), 5, True, 0), 1)
    assert (ids(entries), telling) == (["k3v9-5~1"], [0, 1, 1])


@pytest.mark.parametrize(("told_before", "left"), [(0, 3), (3, 2), (4, 2), (5, 1), (9, 0), (10, 0)])
def test_what_was_told_is_not_told_again(told_before: int, left: int) -> None:
    entries, telling = frames("k3v9", 10, told_before, Values(told(3, 5, 9), 10, True, 0), 10**6)
    assert len(entries) == left
    assert telling[0] == told_before
    assert telling[-1] == (10 if left else told_before)


@given(
    offsets=st.lists(st.integers(1, 50), unique=True, min_size=1).map(sorted),
    beyond=st.integers(0, 20),
    more=st.integers(0, 5),
    max_bytes=st.integers(1, 400),
)
def test_positions_of_one_run_rise(offsets: list[int], beyond: int, more: int, max_bytes: int) -> None:
    """By the order of spec/stream.md, section 9.5; and each is one that can be resumed from."""
    through = offsets[-1] + beyond
    cursor = through + more
    values = Values(told(*offsets), through, True, 0)
    parser, position, got = Parser(), 0, [(0, 0)]
    while position < through:
        entries, telling = frames("k3v9", cursor, position, values, max_bytes)
        for entry in entries:
            (message,) = parser.feed(entry.frame)
            presented = parse(message.last_event_id)
            assert presented is not None
            got.append((presented.position.offset, presented.told))
        assert got[-1][1] == telling[-1]
        position = telling[-1]
    assert got == sorted(set(got))
    assert got[-1] == (cursor, through)
    assert len(got) == 1 + len(offsets)

"""The reducer: held against the words of the standards, and its laws against any values and any cuts."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clarion.errors import ValueMismatch
from clarion.values import MISSING, Change, Folded, Folding, appended, applied, kind_of, merged

# Few names and few leaves, so that changes meet each other; names as JSON pointers have to escape them.
NAMES = st.sampled_from(["a", "b", "c", "", "a/b", "~1"])
LEAVES = st.sampled_from([None, True, False, 0, 1, 1.0, -2.5, "", "x", "é\u2028", 2**70])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=3)
DEEP_OBJECTS = st.recursive(
    st.sampled_from([None, None, 1, "x"]), lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=12
).map(lambda made: made if isinstance(made, dict) else {"a": made})
CHANGES = st.one_of(
    st.tuples(st.just(Change.SET), VALUES),
    st.tuples(st.just(Change.APPEND), VALUES),
    st.tuples(st.just(Change.MERGE), OBJECTS | DEEP_OBJECTS),
    st.tuples(st.just(Change.DELETE), st.none()),
)
STARTS = VALUES | st.just(MISSING)
Changes = list[tuple[Change, Any]]


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: unlike Python's own `==`, 1 is neither true nor 1.0. The order of members says nothing."""
    return said(one) == said(other)


def said(value: Any) -> str:
    return "nothing" if value is MISSING else json.dumps(value, sort_keys=True)


def history(start: Any, changes: Changes) -> tuple[list[Any], Changes]:
    """The values before, between and after those changes that fit, and those changes."""
    values, fitting = [start], Changes()
    for change, delta in changes:
        try:
            values.append(applied(values[-1], change, delta))
        except ValueMismatch:
            continue
        fitting.append((change, delta))
    return values, fitting


def patched(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2, word by word."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            if name in target:
                del target[name]
        else:
            target[name] = patched(target.get(name), value)
    return target


# RFC 7396, Appendix A.
APPENDIX_A = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("value", "patch", "outcome"), APPENDIX_A)
def test_the_examples_of_rfc_7396(value: Any, patch: Any, outcome: Any) -> None:
    assert same(merged(value, patch), outcome)
    assert same(patched(value, patch), outcome)


@given(value=VALUES, patch=VALUES | OBJECTS)
def test_a_merge_is_what_rfc_7396_says(value: Any, patch: Any) -> None:
    assert same(merged(value, patch), patched(value, patch))


@pytest.mark.parametrize(
    ("value", "delta", "outcome"),
    [
        ("to", "day", "today"),
        ("", "", ""),
        ([1], [2, [3]], [1, 2, [3]]),
        ([], [], []),
        ({"t": "a", "n": 1}, {"t": "b"}, {"t": "ab", "n": 1}),
        ({"a": {"b": ["x"]}}, {"a": {"b": ["y"], "c": 5}, "d": None}, {"a": {"b": ["x", "y"], "c": 5}, "d": None}),
        ({}, {}, {}),
        (MISSING, "begin", "begin"),
        (MISSING, 5, 5),
        (MISSING, None, None),
    ],
)
def test_what_appending_makes(value: Any, delta: Any, outcome: Any) -> None:
    assert same(applied(value, Change.APPEND, delta), outcome)


@pytest.mark.parametrize(
    ("value", "change", "delta", "outcome"),
    [
        ({"a": 1}, Change.SET, [2], [2]),
        (MISSING, Change.SET, None, None),
        ("x", Change.DELETE, None, MISSING),
        (MISSING, Change.DELETE, None, MISSING),
        (MISSING, Change.MERGE, {"a": None, "b": {"c": None}}, {"b": {}}),
        ({"a": 1}, Change.MERGE, [{"a": None}, {"a": {"b": 2}}], {"a": {"b": 2}}),
        ({"a": {"c": 1}}, Change.MERGE, [{"a": None}, {"a": {"b": 2}}], {"a": {"b": 2}}),
        ({"a": 1}, Change.MERGE, [], {"a": 1}),
        (MISSING, Change.MERGE, [], {}),
        (MISSING, Change.MERGE, {}, {}),
        ("text", Change.MERGE, {}, {}),
        ({"a": 1}, Change.NONE, None, {"a": 1}),
    ],
)
def test_what_the_other_changes_make(value: Any, change: Change, delta: Any, outcome: Any) -> None:
    assert same(applied(value, change, delta), outcome)


@pytest.mark.parametrize("patch", ["text", 5, None, ["text"], [{}, None], [[{}]]])
def test_a_patch_is_an_object(patch: Any) -> None:
    with pytest.raises(ValueMismatch, match="cannot merge"):
        applied({"a": 1}, Change.MERGE, patch)


KINDS = [("x", "a text"), ([1], "a list"), ({"a": 1}, "an object"), (True, "true or false"), (None, "null")]
KINDS += [(1, "a number"), (1.5, "a number"), (2**70, "a number")]


@pytest.mark.parametrize(("value", "present"), KINDS)
@pytest.mark.parametrize(("delta", "given_"), KINDS)
def test_kinds_that_do_not_go_together(value: Any, present: str, delta: Any, given_: str) -> None:
    if given_ == present and isinstance(value, str | list | dict):
        if not isinstance(value, dict):
            assert same(appended(value, delta), value + delta)
        return
    with pytest.raises(ValueMismatch) as raised:
        applied(value, Change.APPEND, delta)
    error = raised.value
    assert (error.change, error.given, error.present, error.path, error.status) == ("append", given_, present, "", 409)
    assert str(error) == f"cannot append {given_} to the value, which is {present}"


def test_kinds_have_words() -> None:
    assert kind_of(MISSING) == "nothing"
    assert [kind_of(value) for value, _ in KINDS] == [word for _, word in KINDS]


@given(path=st.lists(NAMES, min_size=1, max_size=6), beside=OBJECTS)
def test_a_mismatch_says_where_it_is_and_changes_nothing(path: list[str], beside: dict[str, Any]) -> None:
    value: Any = {"text": "x"}
    delta: Any = [1]
    for name in reversed(path):
        value, delta = {**beside, name: value}, {"other": "y", name: delta} if name != "other" else {name: delta}
    before = copy.deepcopy((value, delta))
    with pytest.raises(ValueMismatch) as raised:
        applied(value, Change.APPEND, delta)
    assert same(list(before), [value, delta])
    found = value
    assert raised.value.path[0] == "/"
    for name in raised.value.path[1:].split("/"):  # RFC 6901
        found = found[name.replace("~1", "/").replace("~0", "~")]
    assert (kind_of(found), raised.value.given) == (raised.value.present, "a list")
    assert f"the value at {raised.value.path}," in str(raised.value)


@given(start=STARTS, changes=st.lists(CHANGES, max_size=6))
def test_nothing_that_is_given_is_changed(start: Any, changes: Changes) -> None:
    whole = (start, changes)
    before = copy.deepcopy(whole) if start is not MISSING else (start, copy.deepcopy(changes))
    history(start, changes)
    folding = Folding()
    for change, delta in changes:
        try:
            folding.add(change, delta)
        except ValueMismatch:
            pass
    assert same(start, before[0])
    assert same([delta for _, delta in changes], [delta for _, delta in before[1]])


def fold_all(changes: Changes) -> list[Folded]:
    """The changes folded as far as that can be, one after the other."""
    folded: list[Folded] = []
    folding = Folding()
    for change, delta in changes:
        if not folding.add(change, delta):
            assert folding.folded is not None
            folded.append(folding.folded)
            folding = Folding()
            assert folding.add(change, delta)
    return folded + ([] if folding.folded is None else [folding.folded])


# Merge patches that are not one: null and then an object, at several depths, and over each other.
@example(start={"a": {"x": 1}}, changes=[(Change.MERGE, {"a": None}), (Change.MERGE, {"a": {"y": 2}})])
@example(start={"a": {"b": {"x": 1}}}, changes=[(Change.MERGE, {"a": {"b": 1}}), (Change.MERGE, {"a": {"b": {}}})])
@example(
    start={"a": {"b": {"x": 1}, "c": 1}},
    changes=[
        (Change.MERGE, {"a": {"b": None}}),
        (Change.MERGE, {"a": {"b": {"y": None, "z": 1}}}),
        (Change.MERGE, {"a": 1}),
        (Change.MERGE, {"a": {"c": None}}),
    ],
)
@given(start=STARTS, changes=st.lists(CHANGES, max_size=8))
def test_folding_first_is_applying_one_by_one_from_any_cut(start: Any, changes: Changes) -> None:
    values, changes = history(start, changes)
    for cut in range(len(changes) + 1):
        value = values[cut]
        for change, delta in fold_all(changes[cut:]):
            assert change is not Change.NONE
            value = applied(value, change, delta)
        assert same(value, values[-1])


@example(start={"a": {"z": 1}}, patches=[{"a": None}, {"a": {"b": 1}}, {"a": {"b": {"c": 1}}}])
@given(start=OBJECTS | DEEP_OBJECTS | STARTS, patches=st.lists(OBJECTS | DEEP_OBJECTS, min_size=1, max_size=6))
def test_patches_are_one_or_two(start: Any, patches: list[Any]) -> None:
    folding = Folding()
    value = start
    for patch in patches:
        assert folding.add(Change.MERGE, patch)
        value = applied(value, Change.MERGE, patch)
        assert folding.folded is not None
        change, delta = folding.folded
        assert change is Change.MERGE
        assert isinstance(delta, dict) or len(delta) == 2
        assert same(applied(start, change, delta), value)
    again = Folding()  # what was folded may be folded on, as a slow client's own
    assert again.add(change, delta)
    assert again.add(Change.MERGE, {"a": {"b": None, "c": {}}})
    assert again.folded is not None
    assert same(applied(start, *again.folded), applied(value, Change.MERGE, {"a": {"b": None, "c": {}}}))


@given(start=STARTS, changes=st.lists(CHANGES, max_size=5), later=CHANGES)
def test_what_cannot_be_added_adds_nothing(start: Any, changes: Changes, later: tuple[Change, Any]) -> None:
    values, changes = history(start, changes)
    folding, added = Folding(), 0
    while added < len(changes) and folding.add(*changes[added]):
        added += 1
    before = copy.deepcopy(folding.folded)
    if added < len(changes):
        kinds = {changes[added - 1][0], changes[added][0]}
        assert kinds == {Change.APPEND, Change.MERGE}
    else:
        try:
            if folding.add(*later):
                return
        except ValueMismatch:
            pass
    assert (folding.folded is None) == (before is None)
    if folding.folded is not None:
        assert before is not None
        assert folding.folded.change is before.change
        assert same(folding.folded.delta, before.delta)
        assert same(applied(start, *folding.folded), values[added])


@given(changes=st.lists(CHANGES, max_size=6))
def test_what_was_folded_stays_as_it_was_given(changes: Changes) -> None:
    folding = Folding()
    given_: list[tuple[Folded | None, str]] = []
    for change, delta in changes:
        given_.append((folding.folded, said([folding.folded and folding.folded.delta])))
        try:
            folding.add(change, delta)
        except ValueMismatch:
            pass
    assert [said([folded and folded.delta]) for folded, _ in given_] == [before for _, before in given_]


def test_patches_that_are_given_stay_as_they_are() -> None:
    folding = Folding()
    folding.add(Change.MERGE, {"a": None})
    folding.add(Change.MERGE, {"a": {}})
    folded = folding.folded
    folding.add(Change.MERGE, {"b": None})
    folding.add(Change.MERGE, {"b": {}})
    assert folded == (Change.MERGE, [{"a": None}, {"a": {}}])


def test_a_folding_of_nothing_is_nothing() -> None:
    assert Folding().folded is None


@pytest.mark.parametrize(
    ("changes", "folded"),
    [
        ([(Change.APPEND, "a"), (Change.APPEND, "b")], (Change.APPEND, "ab")),
        ([(Change.APPEND, "a"), (Change.SET, 1)], (Change.SET, 1)),
        ([(Change.SET, "a"), (Change.APPEND, "b")], (Change.SET, "ab")),
        ([(Change.SET, 1), (Change.MERGE, {"a": 1})], (Change.SET, {"a": 1})),
        ([(Change.MERGE, {"a": 1}), (Change.MERGE, {"a": None, "b": 2})], (Change.MERGE, {"a": None, "b": 2})),
        (
            [(Change.MERGE, {"a": None}), (Change.MERGE, {"a": {"b": 2}})],
            (Change.MERGE, [{"a": None}, {"a": {"b": 2}}]),
        ),
        ([(Change.SET, 1), (Change.DELETE, None)], (Change.DELETE, None)),
        ([(Change.DELETE, None), (Change.APPEND, "b")], (Change.SET, "b")),
        ([(Change.DELETE, None), (Change.MERGE, {"a": None})], (Change.SET, {})),
        ([(Change.MERGE, {"a": None}), (Change.MERGE, {"a": {}}), (Change.SET, 5)], (Change.SET, 5)),
    ],
)
def test_what_folding_makes(changes: Changes, folded: tuple[Change, Any]) -> None:
    folding = Folding()
    for change, delta in changes:
        assert folding.add(change, delta)
    assert folding.folded == folded


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((Change.APPEND, {"a": "x"}), (Change.MERGE, {"a": "y"})),
        ((Change.MERGE, {"a": "x"}), (Change.APPEND, {"a": "y"})),
        ((Change.MERGE, [{"a": None}, {"a": {}}]), (Change.APPEND, {"a": {}})),
    ],
)
def test_changes_that_are_not_one(before: tuple[Change, Any], after: tuple[Change, Any]) -> None:
    folding = Folding()
    assert folding.add(*before)
    assert not folding.add(*after)
    assert folding.folded == before
    assert folding.add(*before)  # and it goes on as if nothing had been


@pytest.mark.parametrize("before", [(Change.SET, "a"), (Change.APPEND, "a"), (Change.APPEND, {"a": {"b": 1}})])
def test_changes_that_cannot_follow_one_another_add_nothing(before: tuple[Change, Any]) -> None:
    folding = Folding()
    folding.add(*before)
    with pytest.raises(ValueMismatch):
        folding.add(Change.APPEND, {"a": {"b": [1]}} if isinstance(before[1], dict) else [1])
    assert folding.folded == before


def test_no_value_is_not_null() -> None:
    assert not MISSING
    assert MISSING is not None
    assert repr(MISSING) == "MISSING"

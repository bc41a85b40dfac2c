"""A value as a journal holds it: what a change makes of it, how long it lives, and how large it may be."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion import json
from clarion.changes import change_draft, said
from clarion.errors import ClarionError, EventTooLarge, NoValue, ValueMismatch, ValueTooLarge
from clarion.held import COUNT_ANEW_BYTES, TOMBSTONE_SECONDS, Held, as_told, revised
from clarion.values import MISSING, Change, applied
from tests.unit.core import NOW_MS

SMALL_BYTES = 200  # of an event, so that values meet their bound


def change(
    held: Held | None, kind: Change, data: Any = None, *, at_ms: int = NOW_MS, offset: int = 7, **options: Any
) -> Held:
    draft = change_draft("t", kind, data, created_ms=at_ms, **options)
    return revised(held, draft, said(draft.body), offset)


def test_a_set_is_the_value() -> None:
    held = change(None, Change.SET, {"a": [1]}, event="n", offset=3)
    assert held == Held("n", {"a": [1]}, 3, 9, 9, None, None)
    assert held.lives(NOW_MS)


def test_each_change_makes_another_one() -> None:
    held = change(None, Change.SET, {"t": "a", "l": [1], "o": {"n": 1}})
    before = copy.deepcopy(held)
    change(held, Change.APPEND, {"t": "b", "l": [2]})
    change(held, Change.MERGE, {"o": {"n": None}})
    change(held, Change.DELETE)
    assert held == before


def test_the_name_and_the_offset_are_of_the_last_change() -> None:
    held = change(change(None, Change.SET, "a", event="one"), Change.APPEND, "b", event="two", offset=9)
    assert (held.name, held.value, held.offset) == ("two", "ab", 9)


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [(Change.APPEND, "x", "x"), (Change.APPEND, 5, 5), (Change.MERGE, {"a": None, "b": 1}, {"b": 1})],
)
def test_without_a_value_it_begins(kind: Change, data: Any, value: Any) -> None:
    deleted = change(change(None, Change.SET, [1]), Change.DELETE)
    expired = change(None, Change.SET, [1], ttl_seconds=1, at_ms=NOW_MS - 1_000)
    for before in (None, deleted, expired):
        held = change(before, kind, data)
        assert (held.value, held.ttl_ms, held.expires_ms) == (value, None, None)


def test_what_does_not_fit_is_refused() -> None:
    held = change(None, Change.SET, {"a": {"b": "x"}})
    with pytest.raises(ValueMismatch) as raised:
        change(held, Change.APPEND, {"a": {"b": [1]}})
    assert raised.value.path == "/a/b"


@pytest.mark.parametrize(
    ("kind", "data", "body"),
    [
        (Change.APPEND, {"a": [1]}, b'event: n\ntopic: t\nchange: set\ndata: {"a":[1]}\n\n'),
        (Change.MERGE, {"a": None, "b": {"c": None}}, b'event: n\ntopic: t\nchange: set\ndata: {"b":{}}\n\n'),
    ],
)
def test_what_begins_a_value_is_told_as_a_set(kind: Change, data: Any, body: bytes) -> None:
    deleted = change(change(None, Change.SET, 5), Change.DELETE)
    expired = change(None, Change.SET, 5, ttl_seconds=1, at_ms=NOW_MS - 1_000)
    living = change(None, Change.SET, {}, ttl_seconds=1, at_ms=NOW_MS - 999)
    draft = change_draft("t", kind, data, created_ms=NOW_MS, event="n", key="k", ttl_seconds=5)
    told = said(draft.body)
    for before in (None, deleted, expired):
        assert as_told(before, draft, told, revised(before, draft, told, 7)) == draft._replace(
            body=body, change=Change.SET
        )
    assert as_told(living, draft, told, revised(living, draft, told, 7)) is draft


@pytest.mark.parametrize("kind", [Change.SET, Change.DELETE])
def test_what_sets_or_deletes_is_told_as_it_is(kind: Change) -> None:
    living = change(None, Change.SET, {})
    draft = change_draft("t", kind, 5, created_ms=NOW_MS)
    told = said(draft.body)
    assert as_told(living, draft, told, revised(living, draft, told, 7)) is draft
    if kind is Change.SET:
        assert as_told(None, draft, told, revised(None, draft, told, 7)) is draft


# Deletions.


def test_a_deletion_is_remembered_for_a_day() -> None:
    held = change(change(None, Change.SET, 1, event="n", ttl_seconds=5), Change.DELETE, event="gone", offset=8)
    assert held == Held("gone", MISSING, 8, 0, 0, None, NOW_MS + TOMBSTONE_SECONDS * 1000)
    assert not held.lives(NOW_MS)


def test_there_must_be_something_to_delete() -> None:
    deleted = change(change(None, Change.SET, 1), Change.DELETE)
    expired = change(None, Change.SET, 1, ttl_seconds=1, at_ms=NOW_MS - 1_000)
    for before in (None, deleted, expired):
        with pytest.raises(NoValue) as raised:
            change(before, Change.DELETE)
        assert (raised.value.topic, raised.value.status) == ("t", 404)
    assert change(change(None, Change.SET, None), Change.DELETE).value is MISSING  # null is a value


# Time to live.


def test_it_lives_until_its_time_is_over() -> None:
    held = change(None, Change.SET, 1, ttl_seconds=2)
    assert (held.ttl_ms, held.expires_ms) == (2_000, NOW_MS + 2_000)
    assert held.lives(NOW_MS + 1_999)
    assert not held.lives(NOW_MS + 2_000)


def test_each_change_makes_it_live_anew() -> None:
    held = change(None, Change.SET, {}, ttl_seconds=2)
    for kind, at_ms in ((Change.APPEND, 1_500), (Change.MERGE, 3_000)):
        held = change(held, kind, {}, at_ms=NOW_MS + at_ms)
        assert (held.ttl_ms, held.expires_ms) == (2_000, NOW_MS + at_ms + 2_000)
    held = change(held, Change.APPEND, {}, ttl_seconds=60)
    assert (held.ttl_ms, held.expires_ms) == (60_000, NOW_MS + 60_000)
    held = change(held, Change.SET, {})
    assert (held.ttl_ms, held.expires_ms) == (None, None)
    held = change(held, Change.MERGE, {}, ttl_seconds=1)
    assert (held.ttl_ms, held.expires_ms) == (1_000, NOW_MS + 1_000)


def test_a_value_whose_time_is_over_is_none() -> None:
    held = change(None, Change.SET, "old", ttl_seconds=1, at_ms=NOW_MS - 1_000)
    held = change(held, Change.APPEND, [1])  # no mismatch: there is no text any more
    assert (held.value, held.ttl_ms) == ([1], None)


# Sizes.


def test_a_value_is_as_large_as_the_bound_at_most() -> None:
    def sized(held: Held | None, kind: Change, data: Any) -> Held:
        return change(held, kind, data, max_event_bytes=SMALL_BYTES)

    bound = change_draft("t", Change.APPEND, "", created_ms=NOW_MS, max_event_bytes=SMALL_BYTES).max_value_bytes
    half = sized(None, Change.SET, "x" * (bound // 2))
    rest = bound - half.size_bytes
    largest = sized(half, Change.APPEND, "y" * rest)
    assert len(json.encode(largest.value)) == largest.size_bytes == bound
    with pytest.raises(ValueTooLarge) as raised:
        sized(half, Change.APPEND, "y" * (rest + 1))
    assert (raised.value.topic, raised.value.size_bytes, raised.value.limit_bytes) == ("t", bound + 1, bound)
    assert raised.value.status == 413
    with pytest.raises(ValueTooLarge):
        sized(largest, Change.APPEND, "z")
    with pytest.raises(ValueTooLarge):
        sized(change(None, Change.SET, "x" * 1_000), Change.APPEND, "")  # of a hub with a larger bound


def test_patches_that_replace_each_other_do_not_add_up() -> None:
    held = change(None, Change.SET, {"a": "x" * 50}, max_event_bytes=SMALL_BYTES)
    for n in range(100):
        held = change(held, Change.MERGE, {"a": str(n % 10) * 50, "b": None}, max_event_bytes=SMALL_BYTES)
        assert held.size_bytes >= len(json.encode(held.value))


def test_a_size_is_not_far_from_what_the_value_has() -> None:
    """However many patches came that left nothing behind: what is told of a value is compared with it."""
    held = change(None, Change.SET, {"a": "x" * 100})
    for n in range(2_000):
        held = change(held, Change.MERGE, {f"b{n - 1}": None, f"b{n}": 1})
        real = len(json.encode(held.value))
        assert real <= held.size_bytes <= 2 * real + COUNT_ANEW_BYTES


def test_a_size_is_counted_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at each change: that would cost the value's size each time."""
    counted: list[int] = []
    encode = json.encode
    held = change(None, Change.SET, {"list": ["x" * 10_000]})
    monkeypatch.setattr("clarion.held.json.encode", lambda value: counted.append(1) or encode(value))  # type: ignore[func-returns-value]
    drafts = [change_draft("t", Change.APPEND, {"list": ["y" * 50]}, created_ms=NOW_MS) for _ in range(1_000)]
    counted.clear()
    for draft in drafts:
        held = revised(held, draft, said(draft.body), 7)
    assert len(counted) <= 5


NAMES = st.sampled_from("ab")
VALUES = st.recursive(
    st.sampled_from([None, 1, "", "x", "some text", "é" * 20]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=5,
)
CHANGES = st.one_of(
    st.tuples(st.sampled_from([Change.SET, Change.APPEND]), VALUES),
    st.tuples(st.just(Change.MERGE), st.dictionaries(NAMES, VALUES, max_size=2)),
    st.tuples(st.just(Change.DELETE), st.none()),
)


@given(
    changes=st.lists(
        st.tuples(CHANGES, st.sampled_from([None, None, 2.0]), st.sampled_from([0, 500, 2_500])), max_size=20
    )
)
def test_any_changes_against_a_plain_model(
    changes: list[tuple[tuple[Change, Any], float | None, int]],
) -> None:
    """Refused is what must be, nothing else; a size is never less than what it stands for."""
    held: Held | None = None
    value: Any = MISSING
    ttl_ms: int | None = None
    until_ms: float = float("inf")
    now_ms = NOW_MS
    for offset, ((kind, data), ttl_seconds, pause_ms) in enumerate(changes, 1):
        now_ms += pause_ms
        if now_ms >= until_ms:
            value, ttl_ms, until_ms = MISSING, None, float("inf")
        try:
            draft = change_draft(
                "t", kind, data, created_ms=now_ms, ttl_seconds=ttl_seconds, max_event_bytes=SMALL_BYTES
            )
        except EventTooLarge:
            continue
        expected: Any = ClarionError
        try:
            expected = applied(value, kind, data)
        except ValueMismatch:
            pass
        if kind is Change.DELETE and value is MISSING:
            expected = ClarionError
        is_value = expected is not ClarionError and kind is not Change.DELETE
        if is_value and len(json.encode(expected)) > draft.max_value_bytes:
            expected = ClarionError
        try:
            after = revised(held, draft, said(draft.body), offset)
        except (ValueMismatch, ValueTooLarge, NoValue):
            assert expected is ClarionError
            continue
        assert expected is not ClarionError
        if kind is Change.DELETE:
            assert after.value is MISSING
            ttl_ms, until_ms = None, float("inf")
        else:
            assert json.encode(after.value) == json.encode(expected)
            assert len(json.encode(expected)) <= after.size_bytes <= draft.max_value_bytes
            given_ms = None if ttl_seconds is None else round(ttl_seconds * 1000)
            ttl_ms = given_ms if given_ms is not None or kind is Change.SET else ttl_ms
            until_ms = float("inf") if ttl_ms is None else now_ms + ttl_ms
            assert (after.ttl_ms, after.expires_ms) == (ttl_ms, None if ttl_ms is None else until_ms)
        assert after.offset == offset
        held, value = after, expected

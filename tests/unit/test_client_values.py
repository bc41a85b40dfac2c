"""The values that a source holds: folded, bounded, and never a wrong one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion import json
from clarion.client.errors import ValueLost
from clarion.client.received import Connected
from clarion.client.values import TOPIC_BYTES, HeldValues
from clarion.values import MISSING, Change, applied


def held(*, max_value_bytes: int = 10_000, max_bytes: int = 100_000, told: str | None = "all") -> HeldValues:
    values = HeldValues(max_value_bytes=max_value_bytes, max_bytes=max_bytes)
    values.begin(Connected("c1", "live", told, ""))
    return values


def test_changes_are_folded() -> None:
    values = held()
    values.apply("a", Change.SET, '{"text":"hello","n":1}')
    values.apply("a", Change.APPEND, '{"text":" world"}')
    values.apply("a", Change.MERGE, '{"n":null,"m":2}')
    values.apply("a", Change.MERGE, '[{"m":null},{"m":{"x":1}}]')
    values.apply("b", Change.APPEND, '"first"')
    assert values.get("a") == {"text": "hello world", "m": {"x": 1}}
    assert values.get("b") == "first"
    values.apply("a", Change.DELETE, "null")
    assert values.get("a") is MISSING
    assert list(values) == ["b"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=1), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(list(Change)[1:]), JSON)))
def test_a_value_is_right_or_lost(changes: list[tuple[str, Change, Any]]) -> None:
    values = held()
    right: dict[str, Any] = {}
    lost: set[str] = set()
    for topic, change, delta in changes:
        if change in (Change.SET, Change.DELETE):
            lost.discard(topic)
        try:
            values.apply(topic, change, json.encode(delta).decode())
        except ValueLost:
            lost.add(topic)
        else:
            if topic not in lost:
                right[topic] = applied(right.get(topic, MISSING), change, delta)
        if topic in lost:
            right.pop(topic, None)
        assert values.get(topic) == right.get(topic, MISSING)


def test_a_change_that_does_not_fit_loses_the_value_until_it_is_set_anew() -> None:
    values = held()
    values.apply("a", Change.SET, '"text"')
    with pytest.raises(ValueLost, match="cannot append a number") as lost:
        values.apply("a", Change.APPEND, "1")
    assert (lost.value.topic, lost.value.asked_anew) == ("a", True)
    assert values.get("a") is MISSING
    values.apply("a", Change.APPEND, '"x"')  # said once; not taken for the whole value
    assert values.get("a") is MISSING
    values.apply("a", Change.SET, '"anew"')
    values.apply("a", Change.APPEND, '"!"')
    assert values.get("a") == "anew!"


@pytest.mark.parametrize("text", ["not json", "", '{"a":', "[" * 100_000])
def test_what_is_no_json_loses_the_value(text: str) -> None:
    values = held()
    values.apply("a", Change.SET, "{}")
    with pytest.raises(ValueLost) as lost:
        values.apply("a", Change.MERGE, text)
    assert text not in str(lost.value) or not text
    assert values.get("a") is MISSING


def test_who_was_not_told_the_values_does_not_take_a_change_for_the_whole() -> None:
    values = held(told="changed")
    with pytest.raises(ValueLost, match="was not told"):
        values.apply("a", Change.APPEND, '" world"')
    values.apply("b", Change.SET, "1")
    assert (values.get("a"), values.get("b")) == (MISSING, 1)
    values.begin(Connected("c1", "resumed", "changed", "k3v9-9~0"))  # asked for all of them
    values.apply("a", Change.APPEND, '"first"')
    assert values.get("a") == "first"


def test_a_stream_that_tells_all_values_ends_those_held() -> None:
    values = held()
    values.apply("a", Change.SET, "1")
    values.begin(Connected("c1", "resumed", "changed", "k3v9-9"))
    assert values.get("a") == 1
    values.begin(Connected("c1", "live", "all", ""))
    assert values.get("a") is MISSING


def test_a_value_over_the_limit_is_not_held_and_not_asked_for() -> None:
    values = held(max_value_bytes=1_000)
    values.apply("a", Change.SET, json.encode("x" * 900).decode())
    with pytest.raises(ValueLost, match="more than 1000 bytes") as lost:
        values.apply("a", Change.APPEND, json.encode("x" * 200).decode())
    assert not lost.value.asked_anew
    values.apply("a", Change.APPEND, '"x"')
    assert values.get("a") is MISSING


def test_a_value_of_which_a_change_was_not_read_is_not_held_until_it_is_set_anew() -> None:
    values = held()
    values.apply("a", Change.SET, '{"n":1}')
    with pytest.raises(ValueLost, match="too large") as caught:
        values.pass_over("a", Change.MERGE)
    assert not caught.value.asked_anew
    values.pass_over("a", Change.MERGE)  # said once
    values.apply("a", Change.MERGE, '{"m":2}')
    assert values.get("a") is MISSING
    values.apply("a", Change.SET, '{"n":2}')
    assert values.get("a") == {"n": 2}
    with pytest.raises(ValueLost):
        values.pass_over("a", Change.SET)
    assert values.get("a") is MISSING


def test_patches_that_replace_each_other_do_not_add_up() -> None:
    values = held(max_value_bytes=1_000)
    for n in range(100):
        values.apply("a", Change.MERGE, json.encode({"text": "x" * 500, "n": n}).decode())
    assert values.get("a")["n"] == 99


def test_all_values_together_are_bounded() -> None:
    values = held(max_value_bytes=1_000, max_bytes=10 * TOPIC_BYTES)
    for n in range(8):
        values.apply(str(n), Change.SET, "1")
    values.apply("8", Change.SET, "1")
    with pytest.raises(ValueLost, match="all values have more than"):
        values.apply("9", Change.SET, "1")
    assert values.get("7") == 1
    for n in range(8):
        values.apply(str(n), Change.DELETE, "null")
    values.apply("another", Change.SET, "1")
    assert values.get("another") == 1


def test_many_lost_topics_are_bounded_and_still_never_wrong() -> None:
    values = held(max_value_bytes=100, max_bytes=3 * TOPIC_BYTES)
    for n in range(10):
        values.apply(str(n), Change.SET, '"a"')
        with pytest.raises(ValueLost):
            values.apply(str(n), Change.APPEND, "1")
    for n in range(10):
        try:
            values.apply(str(n), Change.APPEND, '"b"')
        except ValueLost:
            pass
        assert values.get(str(n)) is MISSING

"""The multimap, against a dictionary of sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clarion.multimap import Multimap

steps = st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.integers(0, 3)))


@given(steps)
def test_it_is_keys_to_sets(steps: list[tuple[bool, str, int]]) -> None:
    found: Multimap[str, int] = Multimap()
    plain: dict[str, set[int]] = {}
    for add, key, item in steps:
        if add:
            found.add(key, item)
            plain.setdefault(key, set()).add(item)
        else:
            found.discard(key, item)
            plain.get(key, set()).discard(item)
        for name in "ab":
            items = list(found.get(name))
            assert len(items) == len(set(items)) == found.count(name)
            assert set(items) == plain.get(name, set())
    assert len(found) == sum(1 for items in plain.values() if items)


def test_a_key_with_one_item_has_no_container() -> None:
    found: Multimap[str, str] = Multimap()
    found.add("a", "item")
    assert found._map == {"a": "item"}

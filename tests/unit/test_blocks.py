"""Blocks that are kept: bounded by their bytes, the one that was asked for least lately goes first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.blocks import BLOCK_CACHE_BYTES, BLOCK_OVERHEAD_BYTES, BlockCache

ROOM = 10 * BLOCK_OVERHEAD_BYTES


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> BlockCache:
    """One with room for ten empty blocks."""
    monkeypatch.setattr("clarion.blocks.BLOCK_CACHE_BYTES", ROOM)
    return BlockCache()


def test_what_is_kept_is_given(cache: BlockCache) -> None:
    cache.keep("a", what := object(), 10)
    assert cache.get("a") is what
    assert cache.get("b") is None
    assert (len(cache), cache.size_bytes) == (1, 10 + BLOCK_OVERHEAD_BYTES)


def test_what_was_asked_for_least_lately_goes_first(cache: BlockCache) -> None:
    for n in range(10):
        cache.keep(n, str(n), 0)
    assert cache.get(0) == "0"
    cache.keep(10, "10", 0)
    assert cache.get(1) is None
    assert cache.get(0) == "0"
    cache.keep(11, "11", BLOCK_OVERHEAD_BYTES)  # as large as two
    assert [n for n in range(12) if cache.get(n) is not None] == [0, *range(4, 12)]
    assert cache.size_bytes == ROOM


def test_what_is_too_large_is_not_kept_and_nothing_is_counted_for_it(cache: BlockCache) -> None:
    cache.keep("small", 1, 0)
    cache.keep("large", 2, ROOM)
    assert (cache.get("large"), cache.get("small")) == (None, None)
    assert (len(cache), cache.size_bytes) == (0, 0)
    cache.keep("small", 1, 0)
    assert cache.get("small") == 1


def test_one_that_takes_the_place_of_another_counts_once(cache: BlockCache) -> None:
    for n in range(100):
        cache.keep("a", n, 500)
    assert cache.get("a") == 99
    assert (len(cache), cache.size_bytes) == (1, 500 + BLOCK_OVERHEAD_BYTES)


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 6), st.one_of(st.none(), st.integers(0, ROOM), st.just(BLOCK_CACHE_BYTES * 2)))
    )
)
def test_against_a_plain_model(steps: list[tuple[int, int | None]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clarion.blocks.BLOCK_CACHE_BYTES", ROOM)
        cache = BlockCache()
        kept: dict[int, tuple[str, int]] = {}  # the oldest first
        for number, (key, size) in enumerate(steps):
            if size is None:
                found = kept.pop(key, None)
                assert cache.get(key) == (None if found is None else found[0])
                if found is not None:
                    kept[key] = found
                continue
            cache.keep(key, f"block {number}", size)
            kept.pop(key, None)
            kept[key] = (f"block {number}", size + BLOCK_OVERHEAD_BYTES)
            while sum(bytes_ for _, bytes_ in kept.values()) > ROOM:
                del kept[next(iter(kept))]
            assert cache.size_bytes == sum(bytes_ for _, bytes_ in kept.values()) <= ROOM
            assert len(cache) == len(kept)

"""Topics and patterns: what may be, what matches what, and what a match costs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.errors import InvalidTopic
from clarion.topics import (
    MAX_PATTERN_LEVELS,
    PatternTree,
    TopicSet,
    check_id,
    check_name,
    check_pattern,
    check_topic,
    is_pattern,
    matches,
)

levels = st.sampled_from(("a", "b", "", "a*", "*a"))
topics = st.lists(levels, min_size=1, max_size=5).map("/".join).filter(bool)
patterns = st.lists(levels | st.sampled_from(("*", "**")), min_size=1, max_size=5).map("/".join).filter(bool)


def plainly(pattern: list[str], topic: list[str]) -> bool:
    """What matching means, as one would write it down."""
    if not pattern:
        return not topic
    if pattern[0] == "**":
        return any(plainly(pattern[1:], topic[count:]) for count in range(len(topic) + 1))
    return bool(topic) and pattern[0] in ("*", topic[0]) and plainly(pattern[1:], topic[1:])


@given(patterns, topics)
def test_matching_is_what_it_means(pattern: str, topic: str) -> None:
    assert matches(pattern, topic) == plainly(pattern.split("/"), topic.split("/"))


@given(st.lists(patterns, max_size=8), st.lists(patterns, max_size=4), topics)
def test_the_tree_finds_what_matches(kept: list[str], dropped: list[str], topic: str) -> None:
    tree: PatternTree[str] = PatternTree()
    for pattern in (*kept, *dropped):
        tree.add(pattern, pattern)
    for pattern in dropped:
        tree.discard(pattern, pattern)
        tree.discard(pattern, "nobody")
    left = {pattern for pattern in kept if pattern not in dropped}
    assert set(tree.match(topic)) == {p for p in left if plainly(p.split("/"), topic.split("/"))}
    for pattern in left:
        tree.discard(pattern, pattern)
    assert not tree._root.children


@given(st.lists(patterns, max_size=6), topics)
def test_a_set_matches_what_one_of_it_matches(names: list[str], topic: str) -> None:
    assert TopicSet(names).matches(topic) == any(matches(name, topic) for name in names)


@pytest.mark.parametrize("topic", ["@all", "@user/x", "@client/y", "@hub/kick"])
def test_wildcards_never_match_the_hub_s_own(topic: str) -> None:
    tree: PatternTree[str] = PatternTree()
    for pattern in ("**", "*", "*/*", "**/*"):
        assert not matches(pattern, topic)
        tree.add(pattern, pattern)
    assert list(tree.match(topic)) == []


def test_many_any_depths_do_not_blow_up() -> None:
    assert not matches("/".join(["**", "a"] * 8), "/".join(["a"] * 100 + ["b"]))
    tree: PatternTree[int] = PatternTree()
    tree.add("/".join(["**", "a"] * 8), 1)
    assert list(tree.match("/".join(["a"] * 127))) == [1]


@pytest.mark.parametrize(
    "topic",
    ["", "a\nb", "a\rb", "a\0b", "a\x7f", "\u0085", "\u2028", "\u2029", "x" * 256, "é" * 128, "\ud800", 7, None],
)
@pytest.mark.parametrize("check", [check_name, check_topic, check_pattern])
def test_what_no_topic_can_be(check: Any, topic: Any) -> None:
    with pytest.raises(InvalidTopic):
        check(topic)


def test_what_topics_can_be() -> None:
    for topic in ("a", "x" * 255, "é" * 127, "a/b//c", "/", "a b", "a*", "**a", "😀"):
        assert check_topic(topic) == topic
        assert check_pattern(topic) == topic
        assert not is_pattern(topic)


def test_publishing_to_a_pattern_is_refused() -> None:
    for pattern in ("*", "**", "a/*", "**/a"):
        assert is_pattern(pattern)
        with pytest.raises(InvalidTopic):
            check_topic(pattern)
        assert check_pattern(pattern) == pattern


def test_the_hub_s_own_names_are_not_for_apps() -> None:
    assert check_name("@user/ann") == "@user/ann"
    for check in (check_topic, check_pattern):
        with pytest.raises(InvalidTopic):
            check("@user/ann")


def test_a_pattern_has_a_bound_on_its_levels() -> None:
    assert check_pattern("/".join(["*"] * MAX_PATTERN_LEVELS))
    with pytest.raises(InvalidTopic):
        check_pattern("/".join(["*"] * (MAX_PATTERN_LEVELS + 1)))


@pytest.mark.parametrize("name", ["", "a\nb", "\0", "x" * 256, 7, None, "a/*", "\ud800"])
def test_ids_that_cannot_be(name: Any) -> None:
    with pytest.raises(InvalidTopic):
        check_id("user", name)


def test_sets_are_equal_when_they_ask_for_the_same() -> None:
    assert TopicSet(["b", "a", "b"]) == TopicSet(["a", "b"])
    assert hash(TopicSet(["b", "a"])) == hash(TopicSet(["a", "b"]))
    assert TopicSet(["a"]) != TopicSet(["b"])
    assert TopicSet(["a"]).union("c") == TopicSet(["c", "a"])
    assert TopicSet(["a", "b/*"]).exact == ("a",)
    assert TopicSet(["a", "b/*"]).patterns == ("b/*",)

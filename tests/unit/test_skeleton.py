"""What is remembered of trimmed entries, against a plain list of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clarion.journals.skeleton import Skeleton
from clarion.topics import TopicSet

TOPICS = ("a/1", "a/2", "b")
SETS = (None, TopicSet(["a/1"]), TopicSet(["a/*"]), TopicSet(["a/1", "b"]), TopicSet(["c"]))


@given(st.lists(st.sampled_from(TOPICS), max_size=40), st.integers(0, 45), st.integers(0, 45), st.sampled_from(SETS))
def test_it_counts_what_was_taken(trimmed: list[str], after: int, through: int, topics: TopicSet | None) -> None:
    skeleton = Skeleton()
    for offset, topic in enumerate(trimmed, 1):
        skeleton.add(topic, offset)
    gone = [offset for offset, topic in enumerate(trimmed, 1) if topics is None or topics.matches(topic)]
    through = max(after, through)
    assert skeleton.missed(after, through, topics, now_ms=0) == sum(after < offset <= through for offset in gone)


@given(st.lists(st.sampled_from(TOPICS), min_size=1, max_size=60), st.integers(1, 10), st.integers(0, 60))
def test_what_it_has_forgotten_it_does_not_guess(trimmed: list[str], capacity: int, after: int) -> None:
    skeleton = Skeleton(capacity)
    for offset, topic in enumerate(trimmed, 1):
        skeleton.add(topic, offset)
    missed = skeleton.missed(after, 1_000, TopicSet(["b"]), now_ms=0)
    real = sum(topic == "b" for topic in trimmed[after:])
    assert missed in (None, real)
    if after >= len(trimmed) - capacity:
        assert missed == real
    assert len(skeleton._order) <= capacity + capacity // 8


def test_topics_are_taken_out_of_order() -> None:
    skeleton = Skeleton()
    skeleton.add("b", 9)  # its own rule took it early
    skeleton.add("a/1", 2)
    assert skeleton.missed(0, 20, None, now_ms=0) == 2
    assert skeleton.missed(2, 20, TopicSet(["b"]), now_ms=0) == 1
    assert skeleton.missed(9, 20, None, now_ms=0) == 0

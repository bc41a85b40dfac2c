"""The index of audiences: who is found by a topic, by a user, by an id."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clarion.audience import Audiences
from clarion.subscription import Subscription
from clarion.topics import ALL, TopicSet
from tests.unit.core import PlainLane

SETS = (("a/1",), ("a/*",), ("a/1", "a/*"), ("**",), ("b",), ())
TOPICS = ("a/1", "a/2", "b", "c", ALL, "@user/x", "@client/2", "@user/nobody", "@client/nobody", "@hub/kick")
steps = st.lists(
    st.tuples(
        st.booleans(), st.integers(0, 9), st.sampled_from(SETS), st.sampled_from((None, "x", "y")), st.integers(0, 2)
    ),
    max_size=40,
)


@given(steps)
def test_everybody_is_found_by_what_they_asked_for(
    steps: list[tuple[bool, int, tuple[str, ...], str | None, int]],
) -> None:
    lanes = (PlainLane(), PlainLane(), PlainLane(streams=False))
    audiences = Audiences()
    there: dict[str, Subscription] = {}
    for join, number, topics, user, lane in steps:
        name = str(number)
        if join and name not in there:
            there[name] = Subscription(name, user, audiences.of(TopicSet(topics), lanes[lane]), 0, 0)
            audiences.join(there[name])
        elif not join and name in there:
            audiences.leave(there.pop(name))
    for topic in TOPICS:
        wanting = {reader.id for reader in there.values() if reader.wants(topic)}
        clients = {name for name in wanting if there[name].audience.lane.streams}
        assert audiences.count(topic) == len(clients)
        if topic.startswith("@"):
            found = audiences.clients.values() if topic == ALL else audiences.personal(topic)
            assert {reader.id for reader in found} == wanting
        else:
            matching = list(audiences.matching(topic))
            assert len(matching) == len(set(matching))
            assert {name for name, reader in there.items() if reader.audience in matching} == wanting
    assert audiences.streams == sum(reader.audience.lane.streams for reader in there.values())
    assert len(audiences) == len({(reader.audience.topics, reader.audience.lane) for reader in there.values()})
    assert {audience.size for audience in audiences} <= set(range(1, 11))


def test_two_who_come_at_once_share_one_audience() -> None:
    audiences, lane = Audiences(), PlainLane()
    first, second = (Subscription(name, None, audiences.of(TopicSet(["a"]), lane), 0, 0) for name in "12")
    audiences.join(first)
    audiences.join(second)
    assert first.audience is second.audience
    assert len(audiences) == 1
    audiences.leave(first)
    audiences.leave(second)
    assert list(audiences.matching("a")) == []


def test_who_comes_back_to_an_audience_that_was_forgotten_is_found() -> None:
    audiences, lane = Audiences(), PlainLane()
    stays = Subscription("1", None, audiences.of(TopicSet(["a"]), lane), 0, 0)
    audiences.join(stays)
    late = Subscription("2", None, audiences.of(TopicSet(["a"]), lane), 0, 0)
    audiences.leave(stays)
    audiences.join(late)
    assert [audience.size for audience in audiences.matching("a")] == [1]
    assert audiences.count(ALL) == 1


def test_nothing_is_left_of_those_who_have_gone() -> None:
    audiences, lane = Audiences(), PlainLane()
    readers = [
        Subscription(str(n), f"u{n % 3}", audiences.of(TopicSet([f"t/{n}", "p/*/**"]), lane), 0, 0) for n in range(50)
    ]
    for reader in readers:
        audiences.join(reader)
    for reader in readers:
        audiences.leave(reader)
    assert not audiences._all
    assert not len(audiences._by_topic)
    assert not audiences._by_pattern._root.children
    assert not len(audiences.users)
    assert not audiences.clients
    assert audiences.streams == 0

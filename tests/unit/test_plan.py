"""Plans: who gets what of a batch, worked out bit by bit while readers come, catch up and leave."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from time import thread_time
from typing import Any

import pytest

from clarion import Hub
from clarion.audience import Audience, Audiences
from clarion.fanout import Fanout, Wait
from clarion.log import Log
from clarion.plan import SHARE_READERS, STEP_AUDIENCES, Plan, Share
from clarion.sinks.base import Block
from clarion.subscription import DISCONNECTED, State, Subscription
from clarion.testing import RecordingSink
from tests.integration.in_process import until
from tests.unit.core import NOW_MS, Core, PlainLane, core, given_to

AUDIENCES = 1_500  # several steps
MOST_LOOKS = 2 * STEP_AUDIENCES  # a step that ends where a share begins may take the next one with it


class Looks:
    """How many audiences were looked at since the last chance to stop."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def one(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)


class WatchedLive(dict[Subscription, None]):
    """The live readers of an audience; asked whether there are any, it counts as looked at."""

    def __init__(self, looks: Looks) -> None:
        self.looks = looks

    def __len__(self) -> int:
        self.looks.one()
        return super().__len__()


class WatchedAudiences(Audiences):
    """Counts those that a topic is matched with."""

    __slots__ = ("looks",)

    def __init__(self) -> None:
        super().__init__()
        self.looks = Looks()

    def of(self, *args: Any) -> Audience:
        audience = super().of(*args)
        if not audience.size:
            audience.live = WatchedLive(self.looks)
        return audience

    def matching(self, topic: str) -> Iterable[Audience]:
        for audience in super().matching(topic):
            self.looks.one()
            yield audience


def watched() -> tuple[Core, Looks]:
    audiences = WatchedAudiences()
    return Core(Fanout(Log(), audiences), PlainLane()), audiences.looks


def crowd(hub: Core, count: int = AUDIENCES) -> None:
    """So many live readers of `news`, each an audience of its own."""
    for number in range(count):
        hub.live(str(number), "news", f"own/{number}")


def most_looks(plan: Plan, looks: Looks) -> int:
    """How many audiences are looked at between two chances to stop, at most."""
    looks.now = looks.most = 0
    for _ in plan.shares():
        looks.now = 0
    return looks.most


def rest_of(shares: Iterator[Share | None]) -> list[str]:
    return [reader.id for share in shares if share is not None for reader in share.readers]


def catch_up(hub: Core, reader: Subscription) -> bytes:
    """Read until live; returns what it got."""
    got = b""
    while (found := hub.fanout.take(reader, NOW_MS)) is not Wait.LIVE:
        assert isinstance(found, Block)
        got += found.data
        reader.reached(found.through, found.told)
    return got


@pytest.mark.parametrize("live", [True, False], ids=["live", "behind"])
def test_thousands_of_audiences_are_looked_at_in_steps(live: bool) -> None:
    hub, looks = watched()
    for number in range(AUDIENCES):
        (hub.live if live else hub.reader)(str(number), "news", f"own/{number}")
    for topics in (["news"], ["@all"], ["news", "@all", "own/7"]):
        hub.publish(*topics)
        assert most_looks(hub.plan(), looks) <= MOST_LOOKS


def test_many_topics_with_some_audiences_each_are_steps_too() -> None:
    hub, looks = watched()
    for number in range(50):
        hub.live(str(number), "user/*", f"own/{number}")
    hub.publish(*[f"user/{number}" for number in range(200)])
    assert most_looks(hub.plan(), looks) <= MOST_LOOKS


def test_a_share_of_many_small_audiences_is_bounded() -> None:
    hub = core()
    crowd(hub, 2 * SHARE_READERS + 5)
    hub.publish("news")
    sizes = [len(share.readers) for share in hub.plan().shares() if share is not None]
    assert sizes == [SHARE_READERS, SHARE_READERS, 5]


def test_each_of_thousands_gets_what_is_for_it_once() -> None:
    hub = core()
    crowd(hub)
    hub.publish("news", "own/3", "@all", "own/3", "@client/4", "own/5")
    plan = hub.plan()
    given = given_to(plan)
    assert len(given) == AUDIENCES
    assert given.pop("3") == [1, 2, 3, 4]
    assert given.pop("4") == [1, 3, 5]
    assert given.pop("5") == [1, 3, 6]
    assert set(map(tuple, given.values())) == {(1, 3)}


def stops() -> range:
    """After how many steps a plan for a crowd may have been left for a while."""
    hub = core()
    crowd(hub)
    hub.publish("news")
    return range(len(list(hub.plan().shares())))


@pytest.mark.parametrize("topic", ["news", "@all", "@user/late"])
@pytest.mark.parametrize("joined", ["before", "meanwhile"])
def test_who_becomes_live_while_a_plan_is_under_way_has_its_batch_already(topic: str, joined: str) -> None:
    for stop in stops():
        hub = core()
        crowd(hub)
        late = hub.reader("late", "news", "late", user="late") if joined == "before" else None
        hub.publish("news", topic)
        plan = hub.plan()
        shares = plan.shares()
        before = [share for _ in range(stop) if (share := next(shares, None)) is not None]
        if late is None:
            late = hub.reader("late", "news", "late", user="late", after=0)
        assert catch_up(hub, late) == b"<1><2>"
        named = [*rest_of(iter(before)), *rest_of(shares)]
        assert sorted(named, key=int) == [str(number) for number in range(AUDIENCES)]
        hub.publish(topic, "news")
        assert given_to(hub.plan())["late"] == [3, 4], "from there on it gets everything"


@pytest.mark.parametrize("topic", ["news", "@all", "@client/gone"])
def test_who_leaves_while_a_plan_is_under_way_gets_nothing(topic: str) -> None:
    for stop in stops():
        hub = core()
        crowd(hub)
        alone = hub.live("gone", "news", "gone")
        shared = hub.live("gone too", "news", f"own/{AUDIENCES - 1}")
        hub.publish("news", topic)
        plan = hub.plan()
        shares = plan.shares()
        named = [
            reader.id for _ in range(stop) if (share := next(shares, None)) is not None for reader in share.readers
        ]
        hub.fanout.leave(alone, DISCONNECTED)
        hub.fanout.leave(shared, DISCONNECTED)
        rest = rest_of(shares)
        assert "gone" not in rest
        assert "gone too" not in rest
        everybody = {*named, *rest} - {"gone", "gone too"}
        assert everybody == {str(number) for number in range(AUDIENCES)}


@pytest.mark.parametrize("topic", ["news", "@client/slow"])
def test_who_falls_behind_while_a_plan_is_under_way_reads_the_batch_itself(topic: str) -> None:
    hub = core()
    crowd(hub)
    slow = hub.live("slow", "news", "slow")
    hub.publish("news", topic)
    plan = hub.plan()
    shares = plan.shares()
    next(shares)
    hub.fanout.fell_behind(slow, plan.after, plan.after)
    assert "slow" not in rest_of(shares)
    assert catch_up(hub, slow) == b"<1><2>"


async def test_no_slice_of_delivery_is_for_all_of_thousands_of_audiences(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice is about a millisecond; here it is compared with the whole pass, in processor time."""
    async with Hub() as hub:
        sink = RecordingSink(hub)
        readers = [sink.join(str(number), "news", f"own/{number}", user=f"u{number}") for number in range(5_000)]
        await until(lambda: all(reader.state is State.LIVE for reader in readers))
        delivery = hub._open_engine().delivery
        slices: list[float] = []
        whole = delivery._slice

        def timed() -> None:
            began = thread_time()
            whole()
            slices.append(thread_time() - began)

        monkeypatch.setattr(delivery, "_slice", timed)
        gc.collect()
        longest: list[float] = []
        for _ in range(5):
            slices.clear()
            await hub.publish("news", 1)
            await hub.settle()
            longest.append(max(slices) / sum(slices))
        assert all(reader.state is State.LIVE for reader in readers)
        assert {len(reader.received()) for reader in readers} == {5}
        assert min(longest) < 1 / 3

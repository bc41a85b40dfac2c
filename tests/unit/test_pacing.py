"""Pacing: readers who are told values no more often than they asked for, with a clock that is turned by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clarion import Hub
from clarion.parser import Message
from clarion.testing import ManualClock
from clarion.values import MISSING, Change
from tests.integration.in_process import Exchange, stream
from tests.integration.test_limits_answers import App
from tests.model import world as model
from tests.model.ledger import Ledger, changed
from tests.model.world import Person, World

TURNS = 40  # of the loop: more than anything needs that does not wait for a clock


class Watch:
    """What one stream was told, and when. values: what its page shows."""

    def __init__(self, exchange: Exchange, clock: ManualClock) -> None:
        self.exchange = exchange
        self.clock = clock
        self.values: dict[str, Any] = {}
        self.told: list[tuple[int, Message]] = []

    def look(self) -> list[Message]:
        """What has come since the last look."""
        fresh: list[Message] = []
        while not self.exchange._messages.empty():
            message = self.exchange._messages.get_nowait()
            assert message is not None, "the stream has ended"
            fresh.append(message)
            self.told.append((self.clock.monotonic_ms(), message))
            if message.change is not None:
                assert message.topic is not None
                self.values[message.topic] = changed(self.values.get(message.topic, MISSING), message)
        return fresh

    def times(self, topic: str = "t") -> list[int]:
        """When the value of a topic was told, in milliseconds."""
        return [at for at, message in self.told if message.change is not None and message.topic == topic]


class Bench:
    """An open hub whose clock stands still, and streams of it."""

    def __init__(self, hub: Hub, clock: ManualClock) -> None:
        self.hub = hub
        self.clock = clock
        self.watches: list[Watch] = []

    @asynccontextmanager
    async def reading(
        self, *topics: str, rate: float | None = 2, last_event_id: str | None = None, **options: Any
    ) -> AsyncIterator[Watch]:
        app = App(self.hub, topics=list(topics), max_rate_per_second=rate, **options)
        headers = [] if last_event_id is None else [(b"last-event-id", last_event_id.encode())]
        async with stream(app, headers=headers) as exchange:
            await exchange.connected()
            watch = Watch(exchange, self.clock)
            self.watches.append(watch)
            await self.rest()
            yield watch
            self.watches.remove(watch)

    async def rest(self) -> None:
        """Let everything be done that does not wait for the clock."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
        for watch in self.watches:
            watch.look()

    async def set(self, value: Any, topic: str = "t", **options: Any) -> None:
        await self.hub.set(topic, value, **options)
        await self.rest()

    async def wait(self, ms: int) -> None:
        """Let time pass, timer by timer: what one of them begins is done before the next is due."""
        until = self.clock.monotonic_ms() + ms
        while (now := self.clock.monotonic_ms()) < until:
            due = min([at for at, _, timer in self.clock._timers if timer.waiting], default=until)
            self.clock.advance((min(max(due, now), until) - now) / 1000)
            await self.rest()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    clock = ManualClock()
    async with Hub(clock=clock) as hub:
        yield Bench(hub, clock)


async def test_the_first_comes_at_once_and_the_last_within_one_interval(bench: Bench) -> None:
    async with bench.reading("t") as reader:
        await bench.wait(10_000)
        for n in range(6):
            await bench.set(n)
            await bench.wait(30)
        assert (reader.times(), reader.values) == ([10_000], {"t": 0})
        await bench.wait(319)
        assert reader.values == {"t": 0}
        await bench.wait(1)
        assert (reader.times(), reader.values) == ([10_000, 10_500], {"t": 5})
        await bench.wait(5_000)
        assert len(reader.times()) == 2  # nothing is told that was told


async def test_a_change_after_a_quiet_time_comes_at_once(bench: Bench) -> None:
    async with bench.reading("t") as reader:
        for n in range(4):
            await bench.set(n)
            await bench.wait(500)
        assert reader.times() == [0, 500, 1_000, 1_500]


@pytest.mark.parametrize("rate", [0.5, 1, 2, 3, 5, 7, 60, 300, 700, 999])
async def test_no_more_than_so_many_in_a_second(bench: Bench, rate: float) -> None:
    async with bench.reading("t", rate=rate) as reader:
        every_ms = max(1, round(1_000 / rate / 7))
        for n in range(200):
            await bench.set(n)
            await bench.wait(every_ms)
        await bench.wait(round(1_000 / rate) + 1)
        times = reader.times()
        assert reader.values == {"t": 199}
        assert len(times) > 1
        for first in times:
            within = [at for at in times if first <= at < first + 1_000]
            assert len(within) <= max(1, rate), f"{len(within)} in a second"
        assert max(later - at for at, later in pairwise(times)) <= 1_000 / rate + every_ms + 1


async def test_each_topic_is_told_once_folded(bench: Bench) -> None:
    async with bench.reading("a/*", "b") as reader:
        await bench.set({"text": ""}, "a/1")
        await bench.set({}, "b", event="n")
        assert reader.values == {"a/1": {"text": ""}}
        await bench.wait(500)
        for word in ("Once", " upon", " a time"):
            await bench.hub.append("a/1", {"text": word})
            await bench.set(word, "a/2")
            await bench.hub.merge("b", {"word": word})
            await bench.wait(100)
        assert reader.values == {"a/1": {"text": ""}, "b": {}}
        await bench.wait(200)
        assert [(message.topic, message.change, message.data) for _, message in reader.told[2:]] == [
            ("a/1", "append", '{"text":"Once upon a time"}'),
            ("a/2", "set", '" a time"'),
            ("b", "merge", '{"word":" a time"}'),
        ]


async def test_plain_events_come_at_once_and_say_how_far_values_were_told(bench: Bench) -> None:
    async with bench.reading("t") as reader:
        await bench.set("shown")
        epoch = bench.hub.journal.epoch
        await bench.set("waits")
        for n in range(3):
            await bench.wait(10)
            await bench.hub.publish("t", n)
            await bench.rest()
            assert reader.told[-1][1].data == str(n)
            assert reader.told[-1][1].last_event_id == f"{epoch}-{3 + n}~1"
        await bench.wait(500)
        assert (reader.told[-1][1].data, reader.told[-1][1].last_event_id) == ('"waits"', f"{epoch}-5")
        await bench.hub.publish("t", "after")
        await bench.rest()
        assert reader.told[-1][1].last_event_id == f"{epoch}-6"


async def test_a_heartbeat_says_how_far_values_were_told(bench: Bench) -> None:
    async with bench.reading("t", rate=0.01, heartbeat_seconds=1) as reader:
        await bench.set("shown")
        await bench.set("waits")
        await bench.wait(5_000)
        beats = [message.last_event_id for _, message in reader.told if message.type == "heartbeat"]
        assert beats
        assert set(beats) == {f"{bench.hub.journal.epoch}-2~1"}
        await bench.wait(96_000)
        assert reader.values == {"t": "waits"}
        assert reader.told[-1][1].last_event_id == f"{bench.hub.journal.epoch}-2"


async def test_who_leaves_while_values_wait_is_told_them_when_it_comes_back(bench: Bench) -> None:
    async with bench.reading("t", "u") as reader:
        await bench.set("shown")
        await bench.hub.append("t", " and waits")
        await bench.hub.publish("t", "plain")
        await bench.rest()
        last_event_id = reader.exchange.last_event_id
        shown = dict(reader.values)
    assert last_event_id == f"{bench.hub.journal.epoch}-3~1"
    assert shown == {"t": "shown"}
    await bench.set(1, "u")
    async with bench.reading("t", "u", last_event_id=last_event_id) as again:
        again.values = shown
        await bench.rest()
        assert [(m.topic, m.change, m.data) for _, m in again.told] == [
            ("t", "set", '"shown and waits"'),
            ("u", "set", "1"),
        ]


async def test_who_joins_in_between_is_told_what_is_now(bench: Bench) -> None:
    async with bench.reading("t") as first:
        await bench.set(1)
        await bench.set(2)
        await bench.wait(100)
        async with bench.reading("t") as second:
            assert (second.values, first.values) == ({"t": 2}, {"t": 1})
            await bench.set(3)
            await bench.wait(399)
            assert (second.values, first.values) == ({"t": 2}, {"t": 1})
            await bench.wait(1)
            assert (second.values, first.values) == ({"t": 3}, {"t": 3})
            assert (second.times(), first.times()) == ([100, 500], [0, 500])


async def test_those_who_asked_for_nothing_are_told_each_change(bench: Bench) -> None:
    async with bench.reading("t", rate=None) as each, bench.reading("t", rate=10) as some, bench.reading("t") as few:
        for n in range(20):
            await bench.set(n)
            await bench.wait(50)
        await bench.wait(500)
        assert [len(reader.times()) for reader in (each, some, few)] == [20, 11, 3]
        assert each.values == some.values == few.values == {"t": 19}


async def test_a_user_s_own_values_are_paced_as_others(bench: Bench) -> None:
    async with bench.reading("t", user="ann") as ann, bench.reading("t", user="ben") as ben:
        for n in range(6):
            await bench.set(n, "own", user="ann")
            await bench.wait(100)
        await bench.wait(500)
        assert ann.times("own") == [0, 500, 1_000]
        assert (ann.values, ben.values) == ({"own": 5}, {})


async def test_a_deletion_waits_as_changes_do(bench: Bench) -> None:
    async with bench.reading("t") as reader:
        await bench.set(1)
        await bench.set(2)
        await bench.hub.delete("t")
        await bench.wait(499)
        assert reader.values == {"t": 1}
        await bench.wait(1)
        assert reader.values == {"t": MISSING}
        assert [message.change for _, message in reader.told] == ["set", "delete"]


async def test_a_large_event_does_not_let_values_out_early(bench: Bench) -> None:
    """A batch of the log is 64 KiB, and a reader that is being written to is not live for a moment."""
    async with bench.reading("t") as reader:
        await bench.set(0)
        for n in range(1, 40):
            await bench.wait(20)
            await bench.hub.publish("t", "x" * 70_000)
            await bench.set(n)
        assert reader.times() == [0, 500]
        await bench.wait(500)
        assert reader.values == {"t": 39}
        assert len([message for _, message in reader.told if message.type == "message"]) == 39


async def test_a_large_event_does_not_let_a_user_s_values_out_early(bench: Bench) -> None:
    async with bench.reading("t", user="ann") as reader:
        await bench.set(0, "own", user="ann")
        for n in range(1, 40):
            await bench.wait(20)
            await bench.hub.publish("t", "x" * 70_000)
            await bench.set(n, "own", user="ann")
        assert reader.times("own") == [0, 500]


async def test_nothing_is_left_waiting_when_nobody_is_there(bench: Bench) -> None:
    async with bench.reading("t"):
        await bench.set(1)
        await bench.set(2)
    await bench.wait(1_000)
    await bench.set(3)
    assert bench.hub._open_engine().delivery._pacing._waiting == []
    async with bench.reading("t") as reader:
        assert reader.values == {"t": 3}


async def test_a_hub_that_closes_waits_for_nothing() -> None:
    clock = ManualClock()
    async with Hub(clock=clock) as hub:
        bench = Bench(hub, clock)
        async with bench.reading("t", heartbeat_seconds=0):
            await bench.set(1)
            await bench.set(2)
            assert clock.waiting
    assert not clock.waiting


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1_000, 1e9, 1e-12])
async def test_rates_that_cannot_be(bench: Bench, rate: float) -> None:
    with pytest.raises(ValueError, match="max_rate_per_second"):
        bench.hub.stream(topics="t", max_rate_per_second=rate)


# Any schedule, on both lanes, with others who come, go and are slow beside it.


class TimedLedger(Ledger):
    """Notes when values were told."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.times: list[tuple[int, str | None]] = []

    def _change(self, message: Message, offset: int, told: int, now_ms: int) -> None:
        super()._change(message, offset, told, now_ms)
        self.times.append((now_ms, message.topic))


INTERVAL_MS = 500
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([0, 10, 130, 490, 700])),
        st.tuples(st.just("set"), st.sampled_from(["a/1", "a/2", "@user/x"])),
        st.tuples(st.just("append"), st.sampled_from(["a/1", "a/2", "@user/x"])),
        st.tuples(st.just("publish"), st.sampled_from([0, 70_000, 70_000])),
        st.tuples(st.sampled_from(["come", "go"]), st.integers(0, 2)),
        st.tuples(st.just("turn"), st.integers(1, 4)),
        st.tuples(st.just("tick"), st.sampled_from([100, 500])),
    ),
    min_size=10,
    max_size=60,
)


@settings(max_examples=150)
@given(steps=STEPS, lane=st.sampled_from(["asgi", "socket"]))
def test_any_schedule(steps: list[tuple[str, Any]], lane: str) -> None:
    """Of a reader that takes what comes: each value in its own time, plain events at once, and nothing is lost."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "Ledger", TimedLedger)
        world = World()
        try:
            _run(world, steps, lane)
        finally:
            world.close()


def _run(world: World, steps: list[tuple[str, Any]], lane: str) -> None:
    reader = world.person("reader", "a/*", user="x", interval_ms=INTERVAL_MS)
    others = [
        world.person("same", "a/*", user="x", interval_ms=INTERVAL_MS),
        world.person("slow", "a/*", interval_ms=INTERVAL_MS),
        world.person("each", "a/*", user="x"),
    ]
    world.connect(reader, lane=lane)
    _rest(world, reader)
    changed_at: dict[str, int] = {}
    for kind, how in [*steps, ("wait", INTERVAL_MS)]:
        if kind == "wait":
            _rest(world, reader)
            for _ in range(how // 10):
                world.clock.advance(10)
                _rest(world, reader)
        elif kind in ("set", "append"):
            subject = "own" if how == "@user/x" else how
            change = Change.SET if kind == "set" else Change.APPEND
            world.change(how, change, str(world.clock.now_ms), subject=subject)
            changed_at.setdefault(subject, world.clock.wall_ms())
        elif kind == "publish":
            world.publish("a/1", size=how)
        elif kind == "come" and not others[how].is_here:
            world.connect(others[how], lane=lane, capacity=500 if how == 1 else 1 << 20)
        elif kind == "go":
            world.idle()
            world.disconnect(others[how])
        elif kind == "turn":
            world.follow(how)
            world.turn()
        elif kind == "tick":  # time goes on, and nothing has its turn meanwhile
            world.clock.advance(how)
    world.settle()
    ledger = reader.history[-1]
    assert isinstance(ledger, TimedLedger)
    if any(kind == "tick" for kind, _ in steps):
        return  # what is written then is read later, and when it was written nobody knows
    for topic in ("a/1", "a/2", "own"):
        of_topic = [at for at, told in ledger.times if told == topic]
        pauses = [later - at for at, later in pairwise(of_topic)]
        assert all(pause >= INTERVAL_MS for pause in pauses), f"{topic} was told at {of_topic}"
        if topic in changed_at:
            assert of_topic[0] <= changed_at[topic] + INTERVAL_MS


def _rest(world: World, reader: Person) -> None:
    """Let be done what does not wait for the clock; then all that was published is there."""
    world.follow()
    for _ in range(2):
        world.idle()
        world.read(reader)
    assert reader.client is not None
    assert not reader.client.ledger.missing(world.truth.newest, world.clock.wall_ms()), "a plain event waits"

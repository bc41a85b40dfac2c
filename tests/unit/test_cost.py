"""What the design promises to do once, or not at all, however many readers there are.

Ratios within one run, with room for a busy machine; and counts and identities where they say more than time does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import pytest

from clarion import Hub, json
from clarion.audience import Audiences
from clarion.sinks.base import Block
from clarion.sinks.chunks import chunked_block
from clarion.subscription import State, Subscription
from clarion.testing import RecordingSink
from clarion.topics import TopicSet
from tests.model.world import World
from tests.unit.core import NOW_MS, PlainLane, core

ROUNDS = 1_000


def _crowd(count: int) -> Audiences:
    """A reader of `news`, one by pattern, and so many of other topics and patterns."""
    audiences, lane = Audiences(), PlainLane()
    sets = [TopicSet(["news"]), TopicSet(["new*", "*"])]
    sets += [TopicSet([f"other/{n}", f"users/{n}/*"]) for n in range(count)]
    for number, topics in enumerate(sets):
        audiences.join(Subscription(str(number), None, audiences.of(topics, lane), 0, 0))
    return audiences


def _seconds(audiences: Audiences) -> float:
    """How long matching a publish takes, many times."""
    began = perf_counter()
    for _ in range(ROUNDS):
        assert len(list(audiences.matching("news"))) == 2
    return perf_counter() - began


async def _all_live(readers: Sequence[Subscription]) -> None:
    for _ in range(1_000):
        if all(reader.state is State.LIVE for reader in readers):
            return
        await asyncio.sleep(0)
    raise AssertionError("they do not become live")


def test_a_hundred_thousand_subscriptions_to_other_topics_make_a_publish_no_slower() -> None:
    few, many = _crowd(100), _crowd(100_000)
    pairs = [(_seconds(few), _seconds(many)) for _ in range(15)]  # in turn: whatever else runs slows both
    assert min(slow for _, slow in pairs) < 3 * min(quick for quick, _ in pairs)


def test_thousands_with_topics_of_their_own_get_the_same_bytes_of_a_broadcast() -> None:
    hub = core()
    for number in range(3_000):
        hub.live(str(number), "news", f"own/{number}", user=f"u{number}")
    hub.publish("@all", "news", "@all")
    plan = hub.plan()
    assert len(hub.fanout.audiences) == 3_000
    shares = [share for share in plan.shares() if share is not None]
    assert {share.indexes for share in shares} == {(0, 1, 2)}
    assert sum(len(share.readers) for share in shares) == 3_000


async def test_thousands_are_handed_one_bytes_object() -> None:
    async with Hub() as hub:
        sink = RecordingSink(hub)
        readers = [sink.join(str(number), f"own/{number}", user=f"u{number}") for number in range(2_000)]
        await _all_live(readers)
        for reader in readers:
            reader.written.clear()
        await hub.broadcast({"to": "everyone"})
        await hub.settle()
        assert len({id(data) for reader in readers for data in reader.written}) == 1
        assert all(len(reader.written) == 1 for reader in readers)


def test_thousands_who_catch_up_share_blocks() -> None:
    hub = core()
    hub.publish(*["news"] * 5_000)
    readers = [hub.reader(str(number), "news", user=f"u{number}", after=number % 7) for number in range(5_000)]
    while hub.fanout.plan() is not None:
        pass
    seen: set[int] = set()
    for reader in readers:
        while isinstance(block := hub.fanout.take(reader, NOW_MS), Block):
            seen.add(id(block.data))
            reader.reached(block.through, block.told)
    assert all(reader.state is State.LIVE for reader in readers)
    segments = -(-5_000 // 512)
    assert len(seen) == len(hub.lane.made) == segments + 6, "one for each start, then the same for all"


async def test_an_event_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    encode = json._encode
    monkeypatch.setattr(json, "_encode", lambda data: calls.append(data) or encode(data))
    async with Hub() as hub:
        sink = RecordingSink(hub)
        readers = [sink.join(str(number), "news", f"own/{number % 5}", after=0) for number in range(100)]
        await hub.publish("news", {"n": 1})
        await hub.settle()
        late = [sink.join(f"late{number}", "news", after=0) for number in range(100)]
        await hub.publish("news", {"n": 2})
        await hub.settle()
        await _all_live([*readers, *late])
        for reader in (*readers, *late):
            assert [event.data["n"] for event in reader.received() if event.type == "message"] == [1, 2]
        assert calls == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("lane", ["socket", "asgi"])
def test_no_lane_encodes_anything_for_its_readers(lane: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    try:
        for number in range(50):
            world.connect(world.person(str(number), "news", f"own/{number % 5}"), lane=lane)
        world.settle()
        calls: list[Any] = []
        encode = json._encode
        monkeypatch.setattr(json, "_encode", lambda data: calls.append(data) or encode(data))
        world.publish("news", "@all", "own/3")
        world.settle()
        assert len(calls) == 3
    finally:
        world.close()


def test_a_pass_costs_nothing_for_readers_who_are_behind() -> None:
    """Being live is not written into each reader: what was planned is their cursor."""
    hub = core()
    readers = [hub.live(str(number), "news") for number in range(1_000)]
    hub.publish("other", "other")
    assert [share for share in hub.plan().shares() if share is not None] == []
    assert {reader.cursor for reader in readers} == {0}
    assert {reader.state for reader in readers} == {State.LIVE}


def test_the_chunk_of_a_batch_is_framed_once() -> None:
    hub = core()
    entries = hub.publish(*["news"] * 3)
    block = chunked_block(entries, 0, 3)
    assert block.data == b"9\r\n<1><2><3>\r\n"
    assert block.marks == ((len(block.data), 3, 3),)

"""Delivery: the pump between the log and the sinks, turned by hand (`tests.model.world`)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from clarion import Hub
from clarion.event import Entry
from clarion.journals.base import Values
from clarion.log import Log
from clarion.retention import LIVE, Since
from clarion.sinks.socket import SocketReader
from clarion.subscription import DISCONNECTED, DONE, KICKED, State, Subscription
from clarion.topics import TopicSet
from clarion.values import Change
from tests.model.world import Person, World

EARLIEST = Since(earliest=True)
LANES = ("socket", "asgi", "moved")


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture
def narrow() -> Iterator[World]:
    """A world whose log holds three entries."""
    world = World(log=Log(max_entries=3))
    yield world
    world.close()


def come(world: World, name: str, *topics: str, lane: str = "socket", capacity: int = 1 << 20) -> Person:
    person = world.person(name, *topics)
    world.connect(person, lane=lane, capacity=capacity)
    world.settle()
    return person


def received(person: Person) -> list[int]:
    assert person.client is not None
    return person.client.ledger.received


@pytest.mark.parametrize("lane", LANES)
def test_live_and_replayed_are_one_sequence(world: World, lane: str) -> None:
    world.publish("a", "b", "a")
    person = world.person("p", "a")
    world.connect(person, lane=lane, since=EARLIEST)
    world.publish("a")
    world.settle()
    world.publish("a", "b")
    world.settle()
    assert received(person) == [1, 3, 4, 5]


@pytest.mark.parametrize("lane", LANES)
def test_who_comes_back_goes_on_where_it_was(narrow: World, lane: str) -> None:
    person = come(narrow, "p", "a", lane=lane)
    narrow.publish("a", "b")
    narrow.settle()
    narrow.disconnect(person)
    narrow.publish(*["a", "b"] * 5)
    narrow.settle()
    narrow.connect(person, lane=lane)
    narrow.settle()
    assert received(person) == [3, 5, 7, 9, 11]
    assert person.history[-1].mode == "resumed"
    assert person.history[-1].gaps == []


@pytest.mark.parametrize("lane", LANES)
def test_what_is_ephemeral_is_not_for_who_was_away(world: World, lane: str) -> None:
    person = come(world, "p", "a", lane=lane)
    world.publish("a", ephemeral=True)
    world.settle()
    assert received(person) == [1]
    world.disconnect(person)
    world.publish("a", ephemeral=True)
    world.publish("a")
    world.settle()
    world.connect(person, lane=lane)
    world.settle()
    world.publish("a", ephemeral=True)
    world.settle()
    assert received(person) == [3, 4]


@pytest.mark.parametrize("lane", LANES)
def test_what_is_gone_is_told(narrow: World, lane: str) -> None:
    person = come(narrow, "p", "a", lane=lane)
    narrow.publish("a")
    narrow.settle()
    narrow.disconnect(person)
    narrow.publish(*["a", "b"] * 5)
    narrow.trim(3)
    narrow.settle()
    narrow.connect(person, lane=lane)
    narrow.settle()
    assert person.history[-1].mode == "gap"
    assert person.history[-1].gaps == [4]
    assert received(person) == [10]


def test_a_gap_is_not_told_for_other_people_s_events(narrow: World) -> None:
    person = come(narrow, "p", "a")
    narrow.publish("a")
    narrow.settle()
    narrow.disconnect(person)
    narrow.publish(*["b"] * 20)
    narrow.trim(1)
    narrow.settle()
    narrow.connect(person)
    narrow.settle()
    assert (person.history[-1].mode, person.history[-1].gaps) == ("resumed", [])


def test_a_slow_reader_is_told_a_gap_in_the_middle_of_its_stream(narrow: World) -> None:
    person = come(narrow, "p", "a", capacity=200)
    narrow.publish(*["a"] * 20, size=100)
    narrow.follow()
    narrow.idle()
    narrow.trim(2)
    narrow.settle()
    ledger = person.history[-1]
    assert ledger.mode == "live"
    assert len(ledger.received) + sum(missed or 0 for missed in ledger.gaps) == 20


def test_an_event_comes_to_everybody_before_the_next(world: World) -> None:
    people = [come(world, str(n), "a") for n in range(10)]
    world.slice_step = 0.0004  # three writes in a slice
    world.publish("a")
    world.follow()
    world.turn()
    world.publish("a")
    world.follow()
    got = [person.client.buffer.count(b"id: ") for person in people if person.client]
    assert max(got) == 1
    assert 0 < sum(got) < 10
    world.settle()
    assert [received(person) for person in people] == [[1, 2]] * 10


def test_a_pass_gives_the_loop_back(world: World) -> None:
    for n in range(20):
        come(world, str(n), "a")
    world.slice_step = 0.0004
    world.publish("a")
    world.follow()
    turns = 0
    while world.engine.delivery._scheduled:
        world.turn()
        turns += 1
    assert turns >= 6


def test_readers_who_are_behind_do_not_hold_up_live_ones(world: World) -> None:
    world.publish(*["a"] * 300, size=1_000)
    world.follow()
    world.idle()
    live = come(world, "live", "b")
    for n in range(20):
        world.connect(world.person(str(n), "a"), since=EARLIEST)
    world.slice_step = 0.002  # every slice is over at once
    for _ in range(5):
        world.turn()
    world.publish("b")
    world.follow()
    for _ in range(8):  # a step of the plan, or a write, at each
        world.turn()
    world.read(live)
    assert received(live) == [301]


def test_heartbeats_come_to_the_silent_and_carry_the_newest_position(world: World) -> None:
    quiet = come(world, "quiet", "a")
    world.publish("b")
    world.settle()
    world.clock.advance(15_100)
    world.settle()
    assert quiet.last_event_id.endswith("-1")
    assert received(quiet) == []


def test_no_heartbeat_jumps_ahead_of_a_pass_under_way(world: World) -> None:
    people = [come(world, str(n), "a") for n in range(6)]
    world.slice_step = 0.0008
    world.publish("a")
    world.follow()
    world.turn()
    world.clock.advance(15_100)
    world.publish("a")
    world.follow()
    for _ in range(3):
        world.turn()
    world.settle()  # the ledger holds each heartbeat's id against what came before it
    assert [received(person) for person in people] == [[1, 2]] * 6


def test_no_heartbeat_into_an_event_that_was_cut_short(world: World) -> None:
    """Who was live when the heartbeats were due, and fell behind in the pass that was under way, gets none."""
    people = [come(world, "first", "a"), come(world, "slow", "a", capacity=200), come(world, "last", "a")]
    world.slice_step = 0.002  # one write in a slice
    world.publish("a", size=1_000)
    world.follow()
    world.turn()
    world.clock.advance(15_100)
    for _ in range(10):
        world.turn()
        world.read(people[1], 60)  # the ledger holds that what comes is a whole stream
    world.settle()
    assert [received(person) for person in people] == [[1]] * 3


def test_who_is_behind_gets_no_heartbeat(world: World) -> None:
    slow = come(world, "slow", "a", capacity=100)
    world.publish("a", size=500)
    world.follow()
    world.idle()
    assert slow.client is not None
    assert slow.client.reader is not None
    world.clock.advance(30_200)
    world.idle()
    assert slow.client.reader.state is State.BEHIND
    assert slow.client.buffer.count(b"heartbeat") == 0
    world.settle()
    assert received(slow) == [1]


@pytest.mark.parametrize("lane", LANES)
def test_done_comes_after_everything_said_before(world: World, lane: str) -> None:
    person = come(world, "p", "a", lane=lane, capacity=150)
    client = person.client
    assert client is not None
    assert client.reader is not None
    world.publish("a", "a", "a", size=400)
    world.follow()
    world.idle()
    client.ledger.done_at = 3
    world.engine.bye(client.reader, DONE)
    world.publish("a")
    world.settle()
    assert client.ledger.bye == DONE
    assert client.ledger.received[:3] == [1, 2, 3]
    assert client.closed


def test_other_ends_do_not_wait(world: World) -> None:
    person = come(world, "p", "a")
    assert person.client is not None
    assert person.client.reader is not None
    client = person.client
    world.publish("a")
    world.engine.bye(client.reader, KICKED, "go")
    world.settle()
    assert client.ledger.bye == KICKED
    assert client.ledger.received == []


def test_an_end_is_told_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    person = come(world, "p", "a")
    ended: list[str] = []
    monkeypatch.setattr(world.engine.delivery, "_ended", lambda reader: ended.append(reader.reason))
    assert person.client is not None
    assert person.client.reader is not None
    world.engine.delivery.end(person.client.reader, KICKED)
    world.engine.delivery.end(person.client.reader, DISCONNECTED)
    world.engine.delivery.gone(person.client.reader, DISCONNECTED)
    assert ended == [KICKED]


def test_orders_between_hubs_come_after_what_was_said_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    person = come(world, "p", "a")
    seen: list[tuple[int, bool]] = []

    def control(entry: Entry) -> None:
        assert person.client is not None
        seen.append((entry.offset, b"id: " in person.client.buffer))

    monkeypatch.setattr(world.engine.delivery, "_control", control)
    world.publish("a", "@hub/kick", "a")
    world.settle()
    assert seen == [(2, True)]
    assert received(person) == [1, 3]


def test_settling_waits_for_live_readers(world: World) -> None:
    for n in range(10):
        come(world, str(n), "a")
    world.slice_step = 0.0008
    world.publish("a")
    settled = world.loop.create_task(world.engine.delivery.settle(1))
    world.turn()
    assert not settled.done()
    world.follow()
    written = [0]
    while not settled.done():
        written.append(sum(bool(p.client.buffer) for p in world.people.values() if p.client))
        world.turn()
    assert 0 < written[-3] < written[-1] == 10
    world.run(world.engine.delivery.settle(1))


def test_the_follower_waits_while_too_much_is_not_offered_yet(world: World) -> None:
    come(world, "p", "a")
    world.publish(*["a"] * 10)
    world.follow()
    waiting = world.loop.create_task(world.engine.delivery.room(5))
    world.loop.call_soon(lambda: None)
    assert not waiting.done()
    world.idle()
    assert waiting.done()


def test_pages_of_a_journal_that_fails_come_later(narrow: World) -> None:
    person = come(narrow, "p", "a")
    narrow.publish("a")
    narrow.settle()
    narrow.disconnect(person)
    narrow.publish(*["a"] * 10)
    narrow.follow()
    narrow.idle()
    narrow.connect(person)
    narrow.idle()
    assert person.client is not None
    narrow.settle()
    assert received(person) == list(range(2, 12))
    slow = come(narrow, "slow", "a", capacity=100)
    narrow.journal.failing = 3
    narrow.publish(*["a"] * 10, size=100)
    narrow.settle()
    assert narrow.journal.failing == 0
    assert received(slow) == list(range(12, 22))


def test_who_leaves_while_a_page_is_read_is_not_written_to(narrow: World) -> None:
    person = come(narrow, "p", "a", capacity=100)
    narrow.publish(*["a"] * 10, size=100)
    narrow.follow()
    narrow.idle()
    narrow.journal.gated = True
    narrow.read(person)
    narrow.idle()
    narrow.read(person)
    for _ in range(20):
        narrow.turn()
    narrow.disconnect(person)
    narrow.settle()
    assert not narrow.engine.audiences.clients


def test_a_lost_follower_loses_nobody_anything(narrow: World) -> None:
    people = [come(narrow, lane, "a", lane=lane) for lane in LANES]
    narrow.publish(*["a"] * 10)
    narrow.overrun()
    narrow.settle()
    narrow.publish("a")
    narrow.settle()
    assert [received(person) for person in people] == [list(range(1, 12))] * 3


def test_publishing_while_the_hub_closes_harms_nothing(world: World) -> None:
    come(world, "p", "a")
    world.publish("a")
    world.run(world.engine.delivery.close())
    world.follow()
    world.turn()
    with pytest.raises(asyncio.CancelledError):
        # Nothing will be offered any more: who waits for it is let go.
        world.run(_settle_and_close(world))


async def _settle_and_close(world: World) -> None:
    waiting = asyncio.ensure_future(world.engine.delivery.settle(99))
    await asyncio.sleep(0)
    await world.engine.delivery.close()
    await waiting


@pytest.mark.parametrize("lane", LANES)
def test_who_asked_for_what_there_is_is_told_of_what_it_loses_later(narrow: World, lane: str) -> None:
    narrow.publish(*["a"] * 5)
    narrow.settle()
    narrow.journal.gated = True  # its first page comes late
    person = narrow.person("p", "a")
    narrow.connect(person, lane=lane, since=EARLIEST)
    narrow.idle()
    narrow.publish(*["a"] * 10)
    narrow.follow()
    narrow.idle()
    narrow.trim(2)
    narrow.settle()
    # The first five were there when it came; of the ten after them it must know what it did not get.
    assert person.history[-1].gaps == [8]
    assert received(person) == [14, 15]


@pytest.mark.parametrize("lane", ["socket", "asgi"])
def test_who_was_told_more_than_the_others_of_its_audience_is_not_told_it_again(world: World, lane: str) -> None:
    early, late = (world.person(name, "a", interval_ms=500) for name in ("early", "late"))
    world.connect(early, lane=lane)
    world.idle()
    for text in ("one ", "two "):  # the second is held back
        world.change("a", Change.APPEND, text)
        world.follow()
        world.idle()
    world.read(early)
    assert early.values == {"a": "one "}
    world.connect(late, lane=lane, capacity=700)
    world.idle()
    world.read(late)
    assert late.values == {"a": "one two "}
    world.publish("a", size=900)  # more than one write of the late one
    world.follow()
    world.idle()
    world.settle()
    assert early.values == late.values == {"a": "one two "}


def test_a_long_run_of_values_ends_whatever_was_forgotten_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.journals.memory_values.MOST_TOMBSTONES", 2)
    world.journal.values_bytes = 500
    for number in range(50):
        world.change(f"a/{number}", Change.SET, "x" * 50)
    for change, data in ((Change.SET, 1), (Change.DELETE, None)):
        for number in range(5):
            world.change(f"b/{number}", change, data)
    world.follow()
    person = world.person("p", "a/*")
    world.connect(person)
    world.settle()
    assert person.client is not None, "it was sent away"
    assert len(person.values) == 50


def test_who_may_show_what_nobody_remembers_deleting_comes_back_for_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clarion.journals.memory_values.MOST_TOMBSTONES", 2)
    monkeypatch.setattr("clarion.fanout.MOST_FOLDED_CHANGES", 0)
    world.change("a/0", Change.SET, 1)
    world.follow()
    person = world.person("p", "a/*")
    world.connect(person, capacity=300)
    world.settle()
    world.publish("a/1", size=600)  # it reads no more
    world.follow()
    world.idle()
    world.change("a/0", Change.DELETE, None)
    for change, data in ((Change.SET, 1), (Change.DELETE, None)):
        for number in range(5):
            world.change(f"b/{number}", change, data)
    for number in (1, 2):
        world.change("a/2", Change.SET, number)
    world.settle()
    assert person.client is None
    assert person.history[-1].bye == "limit"
    world.connect(person)
    world.settle()
    assert person.values == {"a/2": 2}


async def test_done_waits_for_a_stream_that_is_being_opened() -> None:
    async with Hub() as hub:
        await hub.set("t", 1)
        await hub.settle()
        core = hub._open_engine()
        assert core.sockets is not None
        reader = SocketReader(core.client_id(), None, core.audiences.of(TopicSet(["t"]), core.sockets.lane), 0, 0)
        core.begin(reader, await core.starts.find(reader, None, LIVE))
        await hub.kick(client=reader.id, reason="done")
        await hub.settle()
        assert reader.state is State.BEHIND, "it has no socket yet"
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        core.sockets.adopt(reader, ours.detach())
        core.delivery.ready(reader)
        theirs.settimeout(5)
        said = b""
        while not said.endswith(b"0\r\n\r\n"):
            said += await asyncio.to_thread(theirs.recv, 4_096)
        theirs.close()
    assert b"change: set\ndata: 1\n" in said
    assert b'"reason":"done"' in said


def test_values_are_told_between_pages(narrow: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.fanout.MOST_EVENTS_BEFORE_VALUES", 5)
    monkeypatch.setattr("clarion.pager.PAGE_ENTRIES", 3)
    narrow.change("v", Change.SET, "state")
    narrow.publish(*["a"] * 200)
    narrow.follow()
    person = narrow.person("p", "a", "v")
    narrow.connect(person, since=EARLIEST, capacity=300)
    narrow.idle()
    for _ in range(100):  # it keeps pace, and never catches up
        narrow.publish("a", "a")
        narrow.follow()
        narrow.idle()
        narrow.read(person, 300)
        narrow.idle()
        if person.values:
            break
    assert person.values == {"v": "state"}
    narrow.settle()


def test_an_unexpected_error_of_the_journal_ends_one_stream(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.change("a", Change.SET, 1)
    world.follow()
    first, second = world.person("first", "a"), world.person("second", "a")

    async def broken(reader: Subscription, floor: int, last_change: int) -> Values:
        raise ZeroDivisionError

    values = world.engine.pager.values
    monkeypatch.setattr(world.engine.pager, "values", broken)
    world.connect(first)
    world.idle()
    world.read(first)
    assert first.history[-1].bye == "limit"
    monkeypatch.setattr(world.engine.pager, "values", values)
    world.connect(second)
    world.settle()
    assert second.values == {"a": 1}


@pytest.mark.parametrize("lane", LANES)
def test_who_comes_after_a_change_is_told_the_value_once(world: World, lane: str) -> None:
    for name, number in (("first", 1), ("second", 2)):  # the second one might be given what was read for the first
        world.change("a", Change.SET, number)
        world.follow()
        person = come(world, name, "a", lane=lane)
        assert person.values == {"a": number}
        assert person.history[-1].changes == 1


@pytest.mark.parametrize("lane", LANES)
def test_live_readers_are_told_all_values_of_a_pass_however_many_were_changed_once(world: World, lane: str) -> None:
    person = come(world, "p", "a/*", lane=lane)
    world.change("a/0", Change.SET, 0)
    for number in range(100):  # in one pass with the two changes of a/0, so that all of it is folded
        world.change(f"a/{number}", Change.SET, 1)
    world.follow()
    world.settle()
    assert person.values == {f"a/{number}": 1 for number in range(100)}

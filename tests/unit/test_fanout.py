"""Fan-out: who gets what, who is live when, and what is made only once."""

from __future__ import annotations

import pytest

from clarion import fanout as fanout_module
from clarion.changes import change_draft
from clarion.event import Entry
from clarion.fanout import Wait
from clarion.journals.base import Changed, Values
from clarion.log import Log
from clarion.parser import Message, Parser
from clarion.sinks.base import Block
from clarion.subscription import State, Subscription
from clarion.values import Change
from clarion.wire import event_frame
from tests.unit.core import NOW_MS, Core, core, entry, given_to, offsets


def test_each_gets_its_topics_in_the_log_s_order() -> None:
    hub = core()
    hub.live("a", "a")
    hub.live("ab", "a", "b", user="x")
    hub.live("stars", "*")
    hub.publish("a", "@all", "b", "@user/x", "@client/a", "c", "a", "@user/nobody", "@hub/kick")
    plan = hub.plan()
    assert given_to(plan) == {"a": [1, 2, 5, 7], "ab": [1, 2, 3, 4, 7], "stars": [1, 2, 3, 6, 7]}
    assert offsets(plan.control) == [9]
    assert (plan.after, plan.through) == (0, 9)
    assert hub.fanout.plan() is None


def test_nobody_stands_in_two_shares() -> None:
    hub = core()
    for number in range(6):
        hub.live(str(number), "a", f"t{number % 2}", user=f"u{number % 3}")
    hub.publish("a", "t0", "t1", "@user/u1", "@all", "@client/4", "a")
    named = [reader.id for share in hub.plan().shares() if share is not None for reader in share.readers]
    assert sorted(named) == [str(number) for number in range(6)]


def test_who_is_behind_is_not_in_a_pass() -> None:
    hub = core()
    hub.live("live", "a", user="x")
    hub.reader("behind", "a", user="x")
    hub.publish("a", "@user/x", "@client/behind")
    assert given_to(hub.plan()) == {"live": [1, 2]}


def test_who_joins_in_the_middle_of_a_pass_reads_up_to_it_and_is_live_exactly_there() -> None:
    hub = core()
    hub.publish("a", "a")
    joined = hub.reader("joined", "a", after=0)
    hub.plan()
    hub.publish("a")
    block = hub.fanout.take(joined, NOW_MS)
    assert isinstance(block, Block)
    assert (block.data, block.through) == (b"<1><2>", 2)
    joined.reached(block.through, block.told)
    assert hub.fanout.take(joined, NOW_MS) is Wait.LIVE
    assert given_to(hub.plan()) == {"joined": [3]}


def test_who_joins_with_what_is_not_planned_yet_waits_for_the_plan() -> None:
    hub = core()
    hub.publish("a", "a")
    ahead = hub.reader("ahead", "a")
    assert hub.fanout.take(ahead, NOW_MS) is Wait.AHEAD
    assert hub.fanout.released() == []
    assert given_to(hub.plan()) == {}
    assert hub.fanout.released() == [ahead]
    assert hub.fanout.released() == []
    assert hub.fanout.take(ahead, NOW_MS) is Wait.LIVE


def test_who_is_ahead_inside_a_batch_gets_the_rest_of_it() -> None:
    hub = core()
    hub.publish("a", "a")
    ahead = hub.reader("ahead", "a")
    hub.fanout.take(ahead, NOW_MS)
    hub.publish("a")
    hub.plan()
    assert hub.fanout.released() == [ahead]
    block = hub.fanout.take(ahead, NOW_MS)
    assert isinstance(block, Block)
    assert block.data == b"<3>"


def test_leaving_is_for_good_and_once() -> None:
    hub = core()
    reader = hub.live("r", "a")
    assert hub.fanout.leave(reader, "kicked")
    assert not hub.fanout.leave(reader, "drain")
    assert (reader.state, reader.reason) == (State.CLOSED, "kicked")
    hub.publish("a")
    assert given_to(hub.plan()) == {}


def test_who_leaves_while_it_is_ahead_is_not_released() -> None:
    hub = core()
    hub.publish("a")
    reader = hub.reader("r", "a")
    hub.fanout.take(reader, NOW_MS)
    hub.fanout.leave(reader, "disconnected")
    hub.plan()
    assert hub.fanout.released() == []


def test_what_is_ephemeral_is_for_those_who_were_there() -> None:
    hub = core()
    before = hub.live("before", "a")
    hub.fanout.fell_behind(before, 0, 0)
    hub.log.extend([entry(1, "a"), entry(2, "a", ephemeral=True), entry(3, "a")])
    after = hub.reader("after", "a", after=0)
    hub.plan()
    for reader, data in ((before, b"<1><2><3>"), (after, b"<1><3>")):
        block = hub.fanout.take(reader, NOW_MS)
        assert isinstance(block, Block)
        assert (block.data, block.through) == (data, 3)


def test_live_readers_get_what_is_ephemeral_or_short_lived() -> None:
    hub = core()
    hub.live("r", "a")
    hub.log.extend([entry(1, "a", ephemeral=True), entry(2, "a", expires_ms=NOW_MS - 1)])
    assert given_to(hub.plan()) == {"r": [1, 2]}


def test_what_has_expired_is_not_replayed() -> None:
    hub = core()
    hub.log.extend([entry(1, "a", expires_ms=NOW_MS), entry(2, "a", expires_ms=NOW_MS + 1), entry(3, "a")])
    reader = hub.reader("r", "a", after=0)
    hub.plan()
    block = hub.fanout.take(reader, NOW_MS)
    assert isinstance(block, Block)
    assert block.data == b"<2><3>"


def test_before_the_log_there_is_only_the_journal() -> None:
    hub = core(log=Log(max_entries=2))
    hub.publish("a", "a", "a", "a")
    reader = hub.reader("r", "a", after=1)
    hub.plan()
    assert hub.fanout.take(reader, NOW_MS) is Wait.PAGE
    reader.reached(2, 2)
    assert isinstance(hub.fanout.take(reader, NOW_MS), Block)


def test_when_the_log_overran_the_plan_live_readers_go_on_from_the_journal() -> None:
    hub = core(log=Log(max_entries=2))
    live = hub.live("live", "a")
    hub.publish("b", "a", "a", "a", "a")
    plan = hub.plan()
    assert (plan.after, plan.through) == (3, 5)
    assert given_to(plan) == {}
    assert (live.state, live.cursor) == (State.BEHIND, 0)
    assert hub.fanout.released() == [live]
    assert hub.fanout.take(live, NOW_MS) is Wait.PAGE


def test_an_overrun_without_anything_new_releases_them_too() -> None:
    hub = core(log=Log(max_bytes=10))
    live = hub.live("live", "a")
    hub.log.extend([entry(1, "a", size=100)])
    assert hub.fanout.plan() is None
    assert hub.fanout.released() == [live]


def test_a_reader_of_rare_topics_does_not_hold_up_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout_module, "EMPTY_SEGMENTS", 2)
    monkeypatch.setattr("clarion.log.SEGMENT_ENTRIES", 3)
    hub = core()
    hub.publish(*["b"] * 12, "a")
    reader = hub.reader("r", "a", after=0)
    hub.plan()
    assert hub.fanout.take(reader, NOW_MS) is Wait.TURN
    assert reader.cursor == 6
    assert hub.fanout.take(reader, NOW_MS) is Wait.TURN
    block = hub.fanout.take(reader, NOW_MS)
    assert isinstance(block, Block)
    assert block.data == b"<13>"


def test_a_batch_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout_module, "BATCH_BYTES", 10)
    hub = core()
    hub.live("r", "a")
    hub.publish(*["a"] * 7)
    batches = []
    while (plan := hub.fanout.plan()) is not None:
        batches.append(given_to(plan)["r"])
    assert batches == [[1, 2, 3, 4], [5, 6, 7]]


def test_one_entry_larger_than_a_batch_is_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout_module, "BATCH_BYTES", 10)
    hub = core()
    hub.live("r", "a")
    hub.log.extend([entry(1, "a", size=100), entry(2, "a")])
    assert given_to(hub.plan()) == {"r": [1]}


def test_a_shared_block_is_not_given_to_whom_something_personal_stands_in_it() -> None:
    hub = core()
    hub.publish("a", "@user/x", "a")
    plain, other, personal = (hub.reader(name, "a", user=name, after=0) for name in ("p", "q", "x"))
    hub.plan()
    blocks = [hub.fanout.take(reader, NOW_MS) for reader in (plain, other, personal)]
    assert blocks[0] is blocks[1]
    assert [block.data for block in blocks if isinstance(block, Block)] == [b"<1><3>", b"<1><3>", b"<1><2><3>"]


def test_blocks_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.blocks.BLOCK_CACHE_BYTES", 5_000)
    monkeypatch.setattr("clarion.log.SEGMENT_ENTRIES", 1)
    hub = core()
    hub.publish(*["a"] * 50)
    reader = hub.reader("r", "a", after=0)
    hub.plan()
    while isinstance(block := hub.fanout.take(reader, NOW_MS), Block):
        reader.reached(block.through, block.told)
        assert hub.fanout._blocks.size_bytes <= 5_000
    assert reader.state is State.LIVE
    assert 0 < len(hub.fanout._blocks) < 5


# Values.


def changes(hub: Core, *said: tuple[str, Change, object]) -> None:
    """Add changes of values to the log."""
    for offset, (topic, change, data) in enumerate(said, hub.log.head + 1):
        body = change_draft(topic, change, data, created_ms=NOW_MS).body
        frame = event_frame("k3v9", offset, body)
        hub.log.extend([Entry(offset, topic, frame, NOW_MS, change=change, value_bytes=100)])


def told(hub: Core, reader: Subscription) -> list[tuple[str, str, str]]:
    """Everything that a reader can be given now: id, change (or an empty text) and data."""
    messages: list[Message] = []
    while isinstance(block := hub.fanout.take(reader, NOW_MS), Block):
        messages += Parser().feed(block.data)
        reader.reached(block.through, block.told)
    return [(message.last_event_id, message.change or "", message.data) for message in messages]


def test_changes_that_nobody_changed_again_are_told_as_they_are() -> None:
    hub = values_hub()
    reader = hub.reader("r", "a", "b", after=0)
    changes(hub, ("a", Change.SET, 1), ("b", Change.SET, 2))
    hub.plan()
    assert told(hub, reader) == [("k3v9-1", "set", "1"), ("k3v9-2", "set", "2")]
    assert reader.state is State.LIVE


def test_a_backlog_is_folded_and_its_ids_say_so() -> None:
    hub = values_hub()
    reader = hub.reader("r", "a", "b", after=0)
    changes(hub, ("a", Change.SET, "x"), ("b", Change.SET, 2), ("a", Change.APPEND, "y"), ("b", Change.SET, 3))
    hub.plan()
    assert told(hub, reader) == [("k3v9-4~3", "set", '"xy"'), ("k3v9-4", "set", "3")]
    assert (reader.cursor, reader.told, reader.exact, reader.state) == (4, 4, True, State.LIVE)


def test_who_was_told_a_part_of_a_snapshot_is_not_told_changes_on_top_of_it() -> None:
    hub = values_hub()
    reader = hub.reader("r", "a", "b", after=0)
    changes(hub, ("b", Change.APPEND, "1"), ("a", Change.SET, "x"), ("b", Change.APPEND, "2"))
    hub.plan()
    reader.reached(3, 0)
    first = [Changed("a", "a", "value", 2, Change.SET, b'"x"')]
    reader.snapshot = Values(first, 3, complete=False, forgotten=0)
    assert told(hub, reader) == [("k3v9-3~2", "set", '"x"')]
    assert hub.fanout.take(reader, NOW_MS) is Wait.VALUES, "what was appended to b before 2 would be lost"
    reader.snapshot = Values([Changed("b", "b", "value", 3, Change.SET, b'"12"')], 3, complete=True, forgotten=0)
    assert told(hub, reader) == [("k3v9-3", "set", '"12"')]
    assert reader.state is State.LIVE


def test_what_does_not_fold_is_asked_of_the_journal() -> None:
    hub = values_hub()
    reader = hub.reader("r", "a", after=0)
    changes(hub, ("a", Change.APPEND, {"t": "x"}), ("a", Change.MERGE, {"n": 1}))
    hub.plan()
    assert hub.fanout.take(reader, NOW_MS) is Wait.VALUES
    assert (reader.cursor, reader.told) == (2, 0)


def test_those_in_the_same_place_are_told_the_same_bytes() -> None:
    hub = values_hub()
    readers = [hub.reader(name, "a", after=0) for name in "xyz"]
    changes(hub, ("a", Change.APPEND, "1"), ("a", Change.APPEND, "2"))
    hub.plan()
    blocks = [hub.fanout.take(reader, NOW_MS) for reader in readers]
    assert isinstance(blocks[0], Block)
    assert all(block is blocks[0] for block in blocks)


def test_a_firehose_of_events_does_not_keep_values_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.log.SEGMENT_ENTRIES", 2)
    monkeypatch.setattr(fanout_module, "MOST_EVENTS_BEFORE_VALUES", 2)
    hub = values_hub()
    reader = hub.reader("r", "a", "b", after=0)
    changes(hub, ("a", Change.SET, 1), ("a", Change.SET, 2))
    for _ in range(10):
        hub.log.extend([Entry(hub.log.head + 1, "b", b"id: x\ndata: 1\n\n", NOW_MS)])
    hub.plan()
    got = told(hub, reader)
    assert [data for _, change, data in got if change] == ["2"]
    assert [change for _, change, _ in got][:6].count("set") == 1, got


def values_hub() -> Core:
    hub = core()
    hub.fanout.epoch = "k3v9"
    return hub

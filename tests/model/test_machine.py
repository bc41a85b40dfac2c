"""Any interleaving of everything that can happen, held against a plain list (see `tests.model.ledger`).

Each reader gets every event of its topics once, in order, or a gap that covers exactly what is missing, over any
number of reconnects with the id that it has really read.
"""

from __future__ import annotations

import os
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from clarion.log import Log
from clarion.retention import LIVE, Since
from clarion.subscription import DONE, DRAIN
from clarion.values import Change
from tests.model.world import Person, World

NAMES = ("one", "twin", "some", "user", "everything", "two", "paced", "paced too")
TOPICS = st.sampled_from(("a/1", "a/2", "b", "@all", "@user/x", "@user/y"))
SINCE = st.sampled_from((LIVE, LIVE, Since(earliest=True), Since(last=2), Since(after_ms=0)))
STRANGE_IDS = ("", "aaaa-3", "nonsense", "\x00", "aaaa-99999999999999999999", "0")
CHANGES = st.sampled_from(
    (
        (Change.SET, "text "),
        (Change.SET, {"n": 1, "deep": {"t": "x", "n": 2}}),
        (Change.SET, 7),
        (Change.APPEND, "more "),
        (Change.APPEND, "more and more and " * 20),
        (Change.APPEND, {"deep": {"t": "y"}}),
        (Change.MERGE, {"n": 2}),
        (Change.MERGE, {"deep": None}),
        (Change.MERGE, {"deep": {"m": {"k": 1}}}),
        (Change.MERGE, {"deep": {"m": 5}}),
        (Change.DELETE, None),
    )
)
names = st.sampled_from(NAMES)


class Readers(RuleBasedStateMachine):
    world: World

    @initialize(
        window=st.sampled_from((1, 3, 8, 1000)),
        window_bytes=st.sampled_from((400, 1 << 20)),
        skeleton=st.sampled_from((2, 10_000)),
        values_bytes=st.sampled_from((1, 1 << 20)),
        deferred=st.sampled_from((0, 3, 256)),
        folded=st.sampled_from((0, 4, 4_096)),
        chunk_bytes=st.sampled_from((1, 4_096)),
    )
    def begin(
        self,
        window: int,
        window_bytes: int,
        skeleton: int,
        values_bytes: int,
        deferred: int,
        folded: int,
        chunk_bytes: int,
    ) -> None:
        log = Log(max_entries=window, max_bytes=window_bytes)
        self.world = World(log=log, skeleton=skeleton, heartbeat_ms=1_000)
        self.world.journal.values_bytes = values_bytes
        self.world.patch.setattr("clarion.fanout.MOST_FOLDED_CHANGES", folded)
        self.world.patch.setattr("clarion.sinks.chunks.CHUNK_BYTES", chunk_bytes)
        self.world.patch.setattr("clarion.fanout.MOST_EVENTS_BEFORE_VALUES", deferred)
        self.world.person("one", "a/1")
        self.world.person("twin", "a/1")
        self.world.person("some", "a/*")
        self.world.person("user", "b", user="x")
        self.world.person("everything", "**", user="x")
        self.world.person("two", "a/1", "b", user="y")
        self.world.person("paced", "a/*", user="x", interval_ms=500)
        self.world.person("paced too", "a/*", interval_ms=500)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                self.world.settle()
            finally:
                self.world.close()

    def someone(self, name: str) -> Person:
        return self.world.people[name]

    # What publishers do.

    @rule(
        topics=st.lists(TOPICS, min_size=1, max_size=4),
        size=st.sampled_from((0, 10, 300, 6_000)),
        ttl_ms=st.sampled_from((None, None, None, 500)),
        ephemeral=st.sampled_from((False, False, False, True)),
    )
    def publish(self, topics: list[str], size: int, ttl_ms: int | None, ephemeral: bool) -> None:
        self.world.publish(*topics, size=size, ttl_ms=ttl_ms, ephemeral=ephemeral)

    @rule(topic=TOPICS, change=CHANGES)
    def change(self, topic: str, change: tuple[Change, Any]) -> None:
        # A user's own value has a name of its own: two values under one name cannot be told apart.
        self.world.change(topic, *change, subject="own" if topic.startswith("@user/") else None)

    @rule(name=names)
    def publish_to_a_client(self, name: str) -> None:
        client = self.someone(name).client
        if client is not None and client.reader is not None:
            self.world.publish("@client/" + client.reader.id)

    # What the hub's inside does.

    @rule(count=st.integers(1, 6))
    def follow(self, count: int) -> None:
        self.world.follow(count)

    @rule(step=st.sampled_from((0.0, 0.0004, 0.002)))
    def turn(self, step: float) -> None:
        self.world.slice_step = step
        self.world.turn()

    @rule()
    def run_until_idle(self) -> None:
        self.world.slice_step = 0.0
        self.world.idle()

    @rule()
    def overrun(self) -> None:
        self.world.overrun()

    @rule(keep=st.integers(1, 5))
    def trim(self, keep: int) -> None:
        self.world.trim(keep)

    @rule(gated=st.booleans())
    def gate_pages(self, gated: bool) -> None:
        self.world.journal.gated = gated

    @rule(count=st.integers(1, 3))
    def let_pages_through(self, count: int) -> None:
        self.world.journal.let_through(count)

    @rule()
    def fail_a_page(self) -> None:
        # Who is just opening a stream would be refused instead; that is another test's.
        if all(person.opening is None for person in self.world.people.values()):
            self.world.journal.failing = 1
            self.world.turn()
            self.world.journal.failing = 0

    @rule(ms=st.sampled_from((100, 600, 1_100)))
    def time_goes_on(self, ms: int) -> None:
        self.world.clock.advance(ms)

    # What readers do.

    @rule(
        name=names,
        lane=st.sampled_from(("socket", "socket", "asgi", "moved")),
        capacity=st.sampled_from((60, 500, 5_000, 1 << 20)),
        since=SINCE,
    )
    def connect(self, name: str, lane: str, capacity: int, since: Since) -> None:
        person = self.someone(name)
        if person.last_event_id.endswith(".done"):
            person.last_event_id = ""  # it would be answered 204
        if not person.is_here:
            self.world.connect(person, lane=lane, capacity=capacity, since=since)

    @rule(name=names, size=st.sampled_from((1, 50, 700, 10_000)))
    def read(self, name: str, size: int) -> None:
        self.world.read(self.someone(name), size)

    @rule(name=names)
    def disconnect(self, name: str) -> None:
        self.world.disconnect(self.someone(name))

    @precondition(lambda self: not self.world.journal.gated)
    @rule(name=names, reason=st.sampled_from((DRAIN, DONE)))
    def end(self, name: str, reason: str) -> None:
        client = self.someone(name).client
        if client is not None and client.reader is not None:
            self.world.idle()
            if not client.reader.is_closed:
                client.ledger.done_at = self.world.fanout.planned
            self.world.engine.bye(client.reader, reason)

    @rule(name=names, last_event_id=st.sampled_from(STRANGE_IDS))
    def forget_the_id(self, name: str, last_event_id: str) -> None:
        if not self.someone(name).is_here:
            self.someone(name).last_event_id = last_event_id

    @rule(name=names)
    def come_back_from_long_ago(self, name: str) -> None:
        person = self.someone(name)
        if not person.is_here and person.last_event_id.startswith(self.world.journal.epoch):
            person.last_event_id = f"{self.world.journal.epoch}-0"
            person.values.clear()  # that is from before any of them

    @rule(lane=st.sampled_from(("socket", "asgi", "moved")), capacity=st.sampled_from((60, 5_000)))
    def come_back_together(self, lane: str, capacity: int) -> None:
        self.world.journal.gated = True
        for person in self.world.people.values():
            if not person.is_here:
                person.last_event_id = f"{self.world.journal.epoch}-0"
                person.values.clear()
                self.world.connect(person, lane=lane, capacity=capacity)

    @rule()
    def settle(self) -> None:
        self.world.settle()


EXAMPLES = int(os.environ.get("CLARION_MODEL_EXAMPLES", "150"))
Readers.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=60, deadline=None, report_multiple_bugs=False
)
TestReaders = Readers.TestCase

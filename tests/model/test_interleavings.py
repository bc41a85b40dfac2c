"""A whole hub with sockets of tiny buffers: thousands of events, slow reads, drops, resumes, lost followers.

The order of what happens comes from a seed; what readers get is held against a plain list (`tests.model.ledger`).
"""

from __future__ import annotations

import asyncio
import random
import socket
from typing import NamedTuple

import pytest

from clarion import Hub, engine
from clarion.event import Draft, draft
from clarion.journals import memory_follow
from clarion.log import Log
from clarion.retention import LIVE, Retention, Since
from clarion.sinks import socket as socket_sink
from clarion.sinks.chunks import chunk
from clarion.sinks.socket import SocketReader
from clarion.subscription import DISCONNECTED, DRAIN, State
from clarion.topics import ALL, TopicSet
from tests.model.ledger import ChunkDecoder, Ledger, Truth, offsets
from tests.model.world import HandClock, WatchedJournal

STEPS = 2_000
READERS = 24
EAGER = 8  # of them read all the time
MAX_TURNS = 50_000  # of the loop, for the last of them to catch up
TOPIC_SETS = (("a/1",), ("a/*",), ("b",), ("a/1", "b"), ("**",), ("c",))


class Browser:
    """A client with a socket of its own, which remembers the last id that it has read."""

    def __init__(self, hub: Hub, truth: Truth, clock: HandClock, name: str, topics: TopicSet) -> None:
        self.hub = hub
        self.truth = truth
        self.clock = clock
        self.name = name
        self.topics = topics
        self.last_event_id = ""
        self.sock: socket.socket | None = None
        self.opening: asyncio.Task[None] | None = None
        self.reader: SocketReader | None = None
        self.received = 0
        self.gaps = 0

    async def connect(self, since: Since) -> None:
        core = self.hub._open_engine()
        assert core.sockets is not None
        reader = SocketReader(core.client_id(), self.name, core.audiences.of(self.topics, core.sockets.lane), 0, 0)
        reader.heartbeat_ms = 1_000
        start = await core.starts.find(reader, self.last_event_id or None, since)
        core.begin(reader, start)
        self.ledger = Ledger(
            self.truth,
            self.topics.union(ALL, *reader.personal_topics),
            self.last_event_id,
            began_ms=self.clock.wall_ms(),
            ephemeral_after=core.log.head,
        )
        self.decoder = ChunkDecoder()
        ours, self.sock = socket.socketpair()
        ours.setblocking(False)
        self.sock.setblocking(False)
        hello = core.hello(reader, start, self.last_event_id or None)
        ours.send(chunk(hello))
        core.sockets.adopt(reader, ours.detach())
        core.delivery.ready(reader)
        self.reader, self.opening = reader, None

    def read(self, size: int) -> bool:
        """Read at most so much. Whether there was anything."""
        assert self.sock is not None
        try:
            data = self.sock.recv(size)
        except BlockingIOError:
            return False
        before, gaps = len(self.ledger.received), len(self.ledger.gaps)
        self.ledger.feed(self.decoder.feed(data), self.clock.wall_ms())
        self.received += len(self.ledger.received) - before
        self.gaps += len(self.ledger.gaps) - gaps
        self.last_event_id = self.ledger.last_event_id
        if not data:
            assert self.reader is not None
            assert self.reader.is_closed, "the stream broke"
            self.disconnect()
        return True

    def disconnect(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    @property
    def is_complete(self) -> bool:
        if self.sock is None or self.reader is None:
            return True
        if self.ledger.position is None or self.reader.state is State.BEHIND:
            return False
        return not self.ledger.missing(self.truth.newest, self.clock.wall_ms())


class Play:
    """What happens, drawn from one seed."""

    def __init__(self, seed: int, hub: Hub, truth: Truth, clock: HandClock, room: Room) -> None:
        self.room = room
        self.random = random.Random(seed)
        self.hub = hub
        self.truth = truth
        self.clock = clock
        self.published = 0
        self.browsers = [
            Browser(hub, truth, clock, f"u{index % 7}", TopicSet(self.random.choice(TOPIC_SETS)))
            for index in range(READERS)
        ]

    async def step(self) -> None:
        chance = self.random.random()
        browser = self.random.choice(self.browsers)
        if chance < 0.35:
            await self._publish(self.random.choice(self.room.bursts))
        elif browser.sock is None and browser.opening is None:
            since = self.random.choice((LIVE, Since(earliest=True), Since(last=5)))
            browser.opening = asyncio.create_task(browser.connect(since))
        elif browser.sock is not None:
            if chance < 0.82:
                browser.read(self.random.choice((1, 100, 3_000, self.room.most_read)))
            elif chance < 0.90:
                browser.disconnect()
            elif chance < 0.92 and browser.reader is not None:
                self.hub._open_engine().bye(browser.reader, DRAIN)
            elif chance < 0.96:
                self.clock.advance(self.random.choice((100, 1_200)))
        for _ in range(self.random.choice((0, 0, 1, 3))):
            await asyncio.sleep(0)
            for eager in self.browsers[:EAGER]:
                if eager.sock is not None:
                    eager.read(1 << 16)

    async def _publish(self, count: int) -> None:
        drafts: list[Draft] = []
        for _ in range(count):
            self.published += 1
            user = self.random.choice(self.browsers).name
            topic = self.random.choice(("a/1", "a/2", "a/1", "b", "c", "@all", "@user/" + user))
            size = self.random.choice((0, 0, 200, 3_000))
            more = {"n": self.published, "more": "y" * size}
            ephemeral = self.random.random() < 0.1
            drafts.append(draft(topic, more, created_ms=self.clock.wall_ms(), ephemeral=ephemeral))
        await self.hub.journal.append(drafts)

    async def finish(self) -> None:
        """Let everybody read to the end; then nobody may lack anything."""
        for _ in range(MAX_TURNS):
            await asyncio.sleep(0)
            # No generator: every one of them has to read.
            busy = [browser.sock is not None and browser.read(1 << 16) for browser in self.browsers]
            if not any(busy) and all(b.is_complete and not b.opening for b in self.browsers):
                break
        for browser in self.browsers:
            if browser.sock is not None:
                lost = browser.ledger.missing(self.truth.newest, self.clock.wall_ms())
                assert browser.is_complete, f"{browser.name} at {browser.ledger.position} lacks {offsets(lost)}"


class Room(NamedTuple):
    """How much of everything there is."""

    log_entries: int
    log_bytes: int
    follower_entries: int
    kept_entries: int
    bursts: tuple[int, ...]  # events published together
    most_read: int  # bytes at once


# So little that pages, lost followers, overruns of the log and gaps happen all the time.
NARROW = Room(200, 60_000, 100, 1_500, (1, 1, 2, 5, 40, 90), 3_000)
# So much that readers are live, fall behind and catch up in the log; nothing may be lost.
WIDE = Room(5_000, 1 << 20, 100_000, 1_000_000, (1, 1, 1, 2, 3), 100_000)


def _make(room: Room, truth: Truth, clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setattr(engine, "Log", lambda: Log(max_entries=room.log_entries, max_bytes=room.log_bytes))
    monkeypatch.setattr("clarion.sinks.bounds.SEND_BUFFER_BYTES", 2_048)
    monkeypatch.setattr(socket_sink, "CLOCK_EVERY", 2)
    monkeypatch.setattr(memory_follow, "MOST_ENTRIES", room.follower_entries)
    monkeypatch.setattr("clarion.follower.MAX_UNPLANNED_ENTRIES", 50)
    return Hub(WatchedJournal(truth, clock), retention=Retention(max_count=room.kept_entries), clock=clock)


@pytest.mark.parametrize("room", [NARROW, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("seed", range(4))
async def test_everybody_gets_everything_once_and_in_order_or_is_told(
    seed: int, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, clock = Truth(), HandClock()
    async with _make(room, truth, clock, monkeypatch) as hub:
        play = Play(seed, hub, truth, clock, room)
        for _ in range(STEPS):
            await play.step()
        await play.finish()
        core = hub._open_engine()
        for browser in play.browsers:
            if browser.reader is not None:
                core.delivery.gone(browser.reader, DISCONNECTED)
            browser.disconnect()
        assert len(core.audiences) == 0, "somebody was not counted out"
        assert not core.audiences.clients
        assert not len(core.audiences.users)
    assert sum(browser.received for browser in play.browsers) > STEPS
    gaps = sum(browser.gaps for browser in play.browsers)
    assert gaps > 0 if room is NARROW else gaps == 0

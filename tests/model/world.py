"""A whole hub's inside without I/O, turned by hand: one turn of the loop, one byte, one page at a time.

Real are the engine, delivery, fan-out, log, pager, memory journal and both lanes. Made up are the clock, the file
descriptors that the socket lane writes to, the time that a slice thinks it takes, and the follower.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from clarion import delivery, engine
from clarion.changes import change_draft
from clarion.engine import Engine, Settings
from clarion.errors import JournalUnavailable, NoValue, ValueMismatch
from clarion.event import Draft, Entry, draft
from clarion.follower import prime
from clarion.journals.base import Page, Values
from clarion.journals.memory import MemoryJournal
from clarion.journals.skeleton import Skeleton
from clarion.limits import Limits
from clarion.log import Log
from clarion.observer import Observer
from clarion.orders import Orders
from clarion.presence import Callbacks
from clarion.retention import LIVE, Retention, RetentionRules, Since
from clarion.sinks import asgi
from clarion.sinks import socket as socket_sink
from clarion.sinks.asgi import AsgiReader
from clarion.sinks.chunks import chunk
from clarion.sinks.socket import SocketLane, SocketReader, SocketSink
from clarion.subscription import DISCONNECTED, STALLED, State, Subscription
from clarion.topics import ALL, TopicSet
from clarion.values import MISSING, Change
from tests.model.ledger import ChunkDecoder, Ledger, Truth, offsets

START_MS = 1_790_000_000_000
MAX_TURNS = 20_000  # of the loop until it must be idle


class HandClock:
    """Time that goes on when told to."""

    def __init__(self) -> None:
        self.now_ms = 1_000
        self._timers: list[_HandTimer] = []

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return START_MS + self.now_ms

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> _HandTimer:
        timer = _HandTimer(self.now_ms + delay_ms, callback)
        self._timers.append(timer)
        return timer

    def advance(self, ms: int) -> None:
        """Go on, and call what is due, in order."""
        until = self.now_ms + ms
        while due := [timer for timer in self._timers if not timer.cancelled and timer.due_ms <= until]:
            timer = min(due, key=lambda one: one.due_ms)
            self._timers.remove(timer)
            self.now_ms = max(self.now_ms, timer.due_ms)
            timer.callback()
        self._timers = [timer for timer in self._timers if not timer.cancelled]
        self.now_ms = until


@dataclass
class _HandTimer:
    due_ms: int
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class WatchedJournal(MemoryJournal):
    """A memory journal that tells the model what it does, and gives pages when it is told to."""

    def __init__(self, truth: Truth, clock: HandClock) -> None:
        super().__init__(now_ms=clock.wall_ms)
        self.truth = truth
        self.fresh: list[Entry] = []  # what the follower has not been given yet
        self.gated = False
        self.values_bytes = 1 << 20  # of one snapshot
        self.failing = 0
        self._waiting: list[asyncio.Future[None]] = []

    def _keep(self, entry: Entry) -> None:
        self.truth.add(entry)
        self.fresh.append(entry)
        super()._keep(entry)

    def _take_away(self, kept: Any, now_ms: int) -> None:
        entry = kept.run.first
        self.truth.taken[entry.offset] = entry.expires_ms is None or entry.expires_ms > now_ms
        super()._take_away(kept, now_ms)

    async def read(self, after: int, topics: TopicSet | None, **bounds: Any) -> Page:
        await self._gate()
        return await super().read(after, topics, **bounds)

    async def values(self, topics: TopicSet | None, *, max_bytes: int, **bounds: Any) -> Values:
        await self._gate()
        return await super().values(topics, max_bytes=min(max_bytes, self.values_bytes), **bounds)

    async def _gate(self) -> None:
        if self.gated:
            gate = asyncio.get_running_loop().create_future()
            self._waiting.append(gate)
            await gate
        if self.failing:
            self.failing -= 1
            raise JournalUnavailable("on purpose")

    def let_through(self, count: int) -> None:
        for gate in self._waiting[:count]:
            if not gate.done():
                gate.set_result(None)
        del self._waiting[:count]


class Wires:
    """The descriptors: stands where the socket lane has the `os` module."""

    def __init__(self) -> None:
        self.ends: dict[int, Client] = {}

    def write(self, fd: int, data: bytes | memoryview) -> int:
        client = self.ends.get(fd)
        if client is None:
            raise OSError(9, "bad descriptor")
        if client.hung_up:
            raise BrokenPipeError
        room = client.capacity - len(client.buffer)
        if room <= 0:
            client.was_full = True
            raise BlockingIOError
        taken = bytes(data[:room])
        client.was_full = len(taken) < len(data)
        client.buffer += taken
        return len(taken)

    def close(self, fd: int) -> None:
        self.ends.pop(fd).closed = True


class HandSockets(SocketSink):
    """The socket sink without a poller: the world says which socket has room."""

    def __init__(self, pump: Any, wires: Wires) -> None:
        self._wires = wires
        self._readers: dict[int, SocketReader] = {}
        self.lane = SocketLane(self, pump)

    def connect(self, reader: SocketReader, client: Client) -> None:
        fd = max(self._wires.ends, default=2) + 1
        self._wires.ends[fd] = client
        self._readers[fd] = reader
        reader.fd = fd

    def lift_bound(self, reader: SocketReader) -> None:
        """There is no kernel here."""

    def release(self, reader: SocketReader) -> None:
        fd, reader.fd, reader.rest = reader.fd, -1, None
        if fd >= 0:
            del self._readers[fd]
            self._wires.close(fd)

    def close(self) -> None:
        for reader in list(self._readers.values()):
            self.release(reader)


class Client:
    """The far end of one connection: a buffer of the kernels between, and what was read out of it."""

    def __init__(self, ledger: Ledger, capacity: int, chunked: bool) -> None:
        self.ledger = ledger
        self.capacity = capacity
        self.buffer = b""
        self.decoder = ChunkDecoder() if chunked else None
        self.hung_up = False
        self.closed = False
        self.was_full = False
        self.reader: Subscription | None = None
        self.serving: asyncio.Task[Any] | None = None
        self.room: asyncio.Future[None] | None = None

    def read(self, size: int, now_ms: int) -> None:
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        self.ledger.feed(self.decoder.feed(data) if self.decoder else data, now_ms)
        if self.room is not None and not self.room.done() and len(self.buffer) < self.capacity:
            self.room.set_result(None)


@dataclass
class Person:
    """Somebody who comes, goes and comes back; `last_event_id` is what their browser would remember."""

    name: str
    topics: TopicSet
    user: str | None
    last_event_id: str = ""
    interval_ms: int = 0
    values: dict[str, Any] = field(default_factory=dict)  # what their page shows, over all its connections
    client: Client | None = None
    opening: asyncio.Task[None] | None = None
    history: list[Ledger] = field(default_factory=list)

    @property
    def is_here(self) -> bool:
        return self.client is not None or self.opening is not None


class World:
    """A hub's inside. Call `close` at the end."""

    def __init__(
        self,
        *,
        log: Log | None = None,
        retention: Retention = Retention(),  # noqa: B008 - immutable
        skeleton: int | None = None,
        heartbeat_ms: int = 15_000,
    ) -> None:
        self.patch = pytest.MonkeyPatch()
        self.loop = asyncio.new_event_loop()
        self.clock = HandClock()
        self.truth = Truth()
        self.journal = WatchedJournal(self.truth, self.clock)
        self.wires = Wires()
        self.people: dict[str, Person] = {}
        self.heartbeat_ms = heartbeat_ms
        self.slice_step = 0.0  # how much of a slice's time every look at the clock takes
        self._slice_time = 0.0
        self._published = 0
        self._skeleton = skeleton
        self._patch()
        logging.disable(logging.CRITICAL)  # a journal fails on purpose, thousands of times
        self.run(self._open(Log() if log is None else log, retention))

    def _patch(self) -> None:
        for module in (delivery, socket_sink):
            self.patch.setattr(module, "monotonic", self._monotonic)
        self.patch.setattr(socket_sink, "CLOCK_EVERY", 1)
        self.patch.setattr(asgi, "WAKES_PER_TURN", 1)
        self.patch.setattr("clarion.plan.STEP_AUDIENCES", 1)
        self.patch.setattr("clarion.plan.SHARE_READERS", 1)
        self.patch.setattr(socket_sink, "os", self.wires)
        self.patch.setattr("clarion.paging.PAGE_RETRY_SECONDS", 0)
        self.patch.setattr(engine, "follow", _no_follower)
        self.patch.setattr(SocketSink, "make", lambda pump: None)

    async def _open(self, log: Log, retention: Retention) -> None:
        await self.journal.open(RetentionRules(retention))
        if self._skeleton is not None:
            self.journal._skeleton = Skeleton(self._skeleton)
        settings = Settings(Limits(max_readers=1_000_000), 0.0, self.clock, Observer())
        self.engine = Engine(self.journal, settings, Callbacks(), Orders())
        self.engine.log = log
        await self.engine.start()
        self.sockets = HandSockets(self.engine.delivery, self.wires)
        self.engine.sockets = None  # nothing for the loop to watch
        self.fanout = self.engine.delivery.fanout

    def _monotonic(self) -> float:
        self._slice_time += self.slice_step
        return self._slice_time

    def close(self) -> None:
        try:
            self.run(self._close())
        finally:
            self.loop.close()
            self.patch.undo()
            logging.disable(logging.NOTSET)

    async def _close(self) -> None:
        self.journal.gated = False
        self.journal.let_through(1_000_000)
        for person in self.people.values():
            if person.opening is not None:
                person.opening.cancel()
        for client in [person.client for person in self.people.values() if person.client]:
            client.hung_up = True
            if client.serving is not None:
                client.serving.cancel()
        await self.engine.close()
        self.sockets.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.journal.close()

    # Time.

    def run(self, call: Awaitable[Any]) -> Any:
        """Let the loop run until `call` is done."""
        return self.loop.run_until_complete(call)

    def turn(self) -> None:
        """One turn of the loop."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def idle(self) -> None:
        """Let the loop run until nothing is to be done but to wait."""
        for _ in range(MAX_TURNS):
            self.turn()
            if not self.loop._ready and not self.loop._scheduled:  # type: ignore[attr-defined]
                return
        raise AssertionError("the loop does not come to rest")

    # Publishing.

    def publish(self, *topics: str, size: int = 0, ttl_ms: int | None = None, ephemeral: bool = False) -> None:
        """Append one event for each topic, in one batch."""
        drafts: list[Draft] = []
        for topic in topics:
            self._published += 1
            drafts.append(
                draft(
                    topic,
                    {"n": self._published, "more": "x" * size},
                    created_ms=self.clock.wall_ms(),
                    ttl_seconds=None if ttl_ms is None else ttl_ms / 1000,
                    ephemeral=ephemeral,
                )
            )
        self.run(self.journal.append(drafts))

    def change(self, topic: str, change: Change, data: Any, subject: str | None = None) -> None:
        """Change a value; what does not fit it is refused, and nothing."""
        one = change_draft(topic, change, data, created_ms=self.clock.wall_ms(), subject=subject)
        try:
            self.run(self.journal.append([one]))
        except (ValueMismatch, NoValue):
            pass

    def follow(self, count: int = 1_000_000) -> None:
        """Give the log so many of the entries that the journal has for it."""
        batch, self.journal.fresh = self.journal.fresh[:count], self.journal.fresh[count:]
        if batch:
            self.engine.delivery.extend(batch)

    def overrun(self) -> None:
        """What a follower does that has lost its place: it begins anew with the journal's tail."""
        self.journal.fresh.clear()
        self.run(prime(self.engine.log, self.journal))
        self.engine.delivery.wake()

    def trim(self, keep: int) -> None:
        """Have retention take away all but the newest `keep` entries."""
        rules = self.journal._rules
        self.journal._rules = RetentionRules(Retention(max_count=keep))
        self.run(self.journal.bounds())
        self.journal._rules = rules

    # Readers.

    def person(self, name: str, *topics: str, user: str | None = None, interval_ms: int = 0) -> Person:
        self.people[name] = Person(name, TopicSet(topics), user, interval_ms=interval_ms)
        return self.people[name]

    def connect(self, person: Person, *, lane: str = "socket", capacity: int = 1 << 20, since: Since = LIVE) -> None:
        """Begin to connect somebody: `lane` is "socket", "asgi", or "moved" from one to the other."""
        person.opening = self.loop.create_task(self._connect(person, lane, capacity, since))

    async def _connect(self, person: Person, lane: str, capacity: int, since: Since) -> None:
        core = self.engine
        kind, own_lane = (AsgiReader, core.asgi) if lane == "asgi" else (SocketReader, self.sockets.lane)
        began_ms = self.clock.wall_ms()
        audience = core.audiences.of(person.topics, own_lane, person.interval_ms)
        reader = kind(core.client_id(), person.user, audience, 0, 0)
        reader.heartbeat_ms = self.heartbeat_ms
        start = await core.starts.find(reader, person.last_event_id or None, since)
        core.begin(reader, start)
        topics = person.topics.union(ALL, *reader.personal_topics)
        ledger = Ledger(
            self.truth,
            topics,
            person.last_event_id,
            began_ms=began_ms,
            ephemeral_after=core.log.head,
            values=person.values,
        )
        client = Client(ledger, capacity, lane == "socket")
        hello = core.hello(reader, start, person.last_event_id or None)
        client.buffer += chunk(hello) if lane == "socket" else hello
        if lane == "moved":
            audience = core.audiences.of(person.topics, core.asgi, person.interval_ms)
            other = AsgiReader(reader.id, person.user, audience, 0, 0)
            other.heartbeat_ms = reader.heartbeat_ms
            await asyncio.sleep(0)
            core.move(reader, other)
            reader = other
        client.reader = reader
        if isinstance(reader, SocketReader):
            self.sockets.connect(reader, client)
            core.delivery.ready(reader)
        else:
            client.serving = self.loop.create_task(self._serve(reader, client))
        person.client, person.opening = client, None
        person.history.append(ledger)

    async def _serve(self, reader: AsgiReader, client: Client) -> None:
        async def send(message: MutableMapping[str, Any]) -> None:
            while len(client.buffer) >= client.capacity and not client.hung_up:
                client.room = self.loop.create_future()
                await client.room
            if client.hung_up:
                raise OSError("hung up")
            client.buffer += message["body"]

        reader.task = asyncio.current_task()
        try:
            await self.engine.asgi.serve(reader, send)
            await send({"body": reader.bye or b""})
        except OSError:
            pass
        except asyncio.CancelledError:
            if reader.reason not in (STALLED, DISCONNECTED):
                raise
        finally:
            client.closed = True

    def read(self, person: Person, size: int = 1 << 30) -> None:
        """Have somebody read so many of the bytes that have arrived; the kernel tells the sink of the room."""
        client = person.client
        if client is None:
            return
        client.read(size, self.clock.wall_ms())
        person.last_event_id = client.ledger.last_event_id
        reader = client.reader
        if client.was_full and isinstance(reader, SocketReader) and len(client.buffer) < client.capacity:
            client.was_full = False
            if reader.state is State.BEHIND and not reader.waiting:  # as SocketSink.poll does it
                self.engine.delivery.ready(reader)

    def disconnect(self, person: Person) -> None:
        """Somebody's connection breaks; what is still on the way is lost. The hub notices now."""
        client, person.client = person.client, None
        if client is None or client.reader is None:
            return
        client.hung_up = True
        if client.room is not None and not client.room.done():
            client.room.set_result(None)
        self.engine.delivery.gone(client.reader, DISCONNECTED)

    def settle(self) -> None:
        """Let everything run to its end, with readers who read; then nobody may lack anything."""
        self.journal.gated = False
        self.journal.let_through(1_000_000)
        self.slice_step = 0.0
        self.follow()
        self.idle()
        self.clock.advance(600)  # values that are held back
        while True:
            self.idle()
            unread = [person for person in self.people.values() if person.client and person.client.buffer]
            if not unread:
                break
            for person in unread:
                self.read(person)
        for person in self.people.values():
            if (client := person.client) is None:
                continue
            assert client.reader is not None
            if client.reader.state is State.CLOSED:
                assert client.closed, "a stream is over, and its connection is not"
                person.client = None
                continue
            assert client.reader.state is State.LIVE, f"{person.name} is {client.reader.state} at rest"
            lost = client.ledger.missing(self.truth.newest, self.clock.wall_ms())
            assert not lost, f"{person.name} has {client.ledger.position}, and never got {offsets(lost)}"
            real = {
                subject: value
                for subject, (_, value) in self.truth.values_at(self.truth.newest, client.ledger.topics).items()
                if value is not MISSING
            }
            assert person.values == real, f"{person.name} shows {person.values}, not {real}"


async def _no_follower(journal: object, delivery: object) -> None:
    """The world gives the log its entries by hand."""

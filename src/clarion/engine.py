"""The engine: everything that exists while a hub is open, put together, and the readers' way in and out of it."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from clarion import wire
from clarion.audience import Audiences
from clarion.clock import Clock
from clarion.delivery import SLICE_SECONDS, Delivery
from clarion.fanout import Fanout
from clarion.follower import follow, prime
from clarion.journals.base import Journal
from clarion.limits import Admission, Limits
from clarion.log import Log
from clarion.observer import Observer, guarded
from clarion.orders import Orders
from clarion.pager import Pager
from clarion.position import Position, text_of
from clarion.presence import Callbacks, Client, client_of
from clarion.retention import Since, parse_since
from clarion.sinks.asgi import AsgiLane
from clarion.sinks.socket import SocketSink
from clarion.start import Start, Starts
from clarion.subscription import (
    BYE_REASONS,
    DONE,
    DRAIN,
    KICKED,
    LIMIT,
    STALLED,
    State,
    Subscription,
)
from clarion.timers import Timers
from clarion.topics import CONTROL_PREFIX

KICK: Final = "kick"
RETRY_MS: Final = (1_500, 3_000)  # between these, anew for each reader, so that a crash does not make a storm
DRAIN_RETRY_MS: Final = 1_000  # the least that a reader who is sent away waits before it comes back
DRAIN_SPREAD_MS: Final = (2_000, 30_000)  # over how long they come back: by their number, within these
CLOSE_GRACE_SECONDS: Final = 2.0  # for coroutines of streams to write their last frame when the hub closes

logger = logging.getLogger("clarion.hub")


class Settings(NamedTuple):
    """What the engine takes from the hub."""

    limits: Limits
    drain_seconds: float
    clock: Clock
    observer: Observer


class Engine:
    """An open hub. Belongs to the event loop in which `start` ran."""

    def __init__(self, journal: Journal, settings: Settings, callbacks: Callbacks, orders: Orders) -> None:
        self.journal = journal
        self.clock = settings.clock
        self.observer = guarded(settings.observer)
        self.callbacks = callbacks
        self._orders = orders
        self.loop = asyncio.get_running_loop()
        self.audiences = Audiences()
        self.admission = Admission(settings.limits)
        self.draining = False
        self.closed = False
        self._draining: asyncio.Task[None] | None = None
        self._drain_seconds = settings.drain_seconds
        self.writers: set[asyncio.Task[Any]] = set()  # the coroutines of ASGI streams
        self._drain_spread_ms = DRAIN_SPREAD_MS[0]
        self.log = Log()
        self.limits = settings.limits

    async def start(self) -> None:
        """Begin to follow the journal, which is open. Raises `JournalError`."""
        await prime(self.log, self.journal)
        self.pager = Pager(self.journal, self.clock.wall_ms)
        self.delivery = Delivery(
            Fanout(self.log, self.audiences, self.journal.epoch),
            self.pager,
            clock=self.clock,
            observer=self.observer,
            ended=self._ended,
            control=self._orders.tell,
            exhausted=lambda reader: self.bye(reader, LIMIT),
        )
        self.starts = Starts(self.journal, self.log, self.pager, self.limits.max_replay_events)
        self.timers = Timers(
            self.clock,
            silent=self.delivery.say_heartbeat,
            stalled=lambda readers: self._end_all(readers, STALLED),
            over=self._over,
        )
        self.asgi = AsgiLane(self.delivery)
        self.local = AsgiLane(self.delivery, streams=False)
        self.sockets = SocketSink.make(self.delivery)
        if self.sockets is not None:
            self.loop.add_reader(self.sockets.fileno(), self.sockets.poll)
        self._unlisten = self._orders.listen(CONTROL_PREFIX + KICK, self._kick)
        self._follower = self.loop.create_task(follow(self.journal, self.delivery), name="clarion follower")
        await asyncio.sleep(0)  # it follows from here on, also what is published before the loop turns again

    async def close(self) -> None:
        """End every stream and let go of everything. The journal is the hub's to close."""
        if self._draining is not None:
            await self._draining
        await self.drain(0)
        self._unlisten()
        self._follower.cancel()
        await asyncio.gather(self._follower, return_exceptions=True)
        self._end_all(list(self.audiences.clients.values()), DRAIN)
        self.closed = True
        await self.callbacks.join(CLOSE_GRACE_SECONDS)
        self.timers.close()
        await self.delivery.close()
        await self.pager.close()
        if self.sockets is not None:
            self.loop.remove_reader(self.sockets.fileno())
            self.sockets.close()

    # Readers.

    def position(self, offset: int) -> Position:
        """An offset of this hub's journal as a position."""
        return Position(self.journal.epoch, offset)

    def client_id(self) -> str:
        """A new id for a connection; nobody can guess it."""
        return secrets.token_urlsafe(12)

    def asked(self, choice: Any, queried: str | None) -> Since:
        """Where a reader without an id wants to start: as the query says, else as the app does. Raises `ValueError`.

        What a query may ask for is bounded, since finding the n-th newest event costs by n.
        """
        now_ms = self.clock.wall_ms()
        if queried is None:
            return parse_since(choice, now_ms)
        since = parse_since(queried, now_ms)
        return since if since.last is None else Since(last=min(since.last, self.limits.max_last_events))

    def begin(self, reader: Subscription, start: Start) -> None:
        """Count a reader in that starts there. Raises `TooManyReaders`."""
        self.starts.begin(reader, start)
        self.join(reader)

    def join(self, reader: Subscription) -> None:
        """Count a reader in, from its cursor. Raises `TooManyReaders`."""
        if reader.audience.lane.streams:
            self.admission.admit(reader.user, reader.address)
        reader.connected_at = self.clock.wall_ms() / 1000
        reader.written_ms = self.clock.monotonic_ms()
        reader.joined = self.log.head
        self.delivery.fanout.join(reader)
        self.timers.add(reader)
        if reader.audience.lane.streams:
            self.observer.connected(self.audiences.streams)

    def move(self, reader: Subscription, other: Subscription) -> None:
        """Let `other`, the same client on another lane, take the place of `reader`, which has not begun yet."""
        self.timers.discard(reader)
        other.connected_at = reader.connected_at
        other.written_ms = reader.written_ms
        other.joined = reader.joined
        other.reached(reader.cursor, reader.told)
        other.exact = reader.exact
        other.lenient_until = reader.lenient_until
        self.delivery.replace(reader, other)
        self.timers.add(other)

    def client(self, reader: Subscription) -> Client:
        """What is known of a reader now."""
        planned = self.delivery.fanout.planned
        offset = planned if reader.state is State.LIVE else reader.cursor
        return client_of(reader, self.position(offset), self.log.head)

    def hello(self, reader: Subscription, start: Start, requested: str | None) -> bytes:
        """The first bytes of a stream: `connected`, and a gap if one is known already."""
        self.observer.replayed(start.mode)
        frame = wire.connected(
            self._here(reader),
            client_id=reader.id,
            mode=start.mode,
            to=self.position(max(self.log.head, reader.cursor)),
            heartbeat_ms=reader.heartbeat_ms,
            retry_ms=random.randint(*RETRY_MS),
            values="all" if start.is_new else "changed",
        )
        return frame if start.gap is None else frame + self.gap(reader, start.gap, requested)

    def gap(self, reader: Subscription, reason: str, requested: str | None) -> bytes:
        """A gap that is known before a stream begins, not how large it is: it goes on from the reader's cursor."""
        self.observer.gap(reason, None)
        oldest = self.position(reader.cursor + 1)
        return wire.gap(self._here(reader), reason=reason, requested=requested, oldest=oldest, missed=None)

    def _here(self, reader: Subscription) -> str:
        return text_of(self.journal.epoch, reader.cursor, reader.told)

    def bye(self, reader: Subscription, reason: str, detail: str | None = None) -> None:
        """End a stream on purpose: now, or, with `done`, when its reader has everything said before."""

        def frame() -> bytes:
            return wire.bye(
                reason,
                retry_ms=self._retry_ms(reason),
                detail=detail,
                position=self.position(self.delivery.fanout.planned),
            )

        if reason == DONE:
            self.delivery.finish(reader, reason, frame)
        else:
            self.delivery.end(reader, reason, frame())

    def find(self, user: str | None = None, client: str | None = None) -> list[Subscription]:
        """The clients of a user, or the one with an id, or all."""
        found: Iterable[Subscription]
        if client is not None:
            reader = self.audiences.clients.get(client)
            found = [reader] if reader is not None and user in (None, reader.user) else []
        elif user is not None:
            found = self.audiences.users.get(user)
        else:
            found = self.audiences.clients.values()
        return [reader for reader in found if reader.audience.lane.streams]

    def begin_drain(self) -> None:
        """The server shuts down: send every reader away, so that it need not wait for them."""
        if not self.draining:
            self.draining = True
            self._draining = self.loop.create_task(self.drain(self._drain_seconds), name="clarion drain")

    async def drain(self, seconds: float) -> None:
        """Send every reader away, evenly over so many seconds, and let no new one in."""
        self.draining = True
        readers = self.find()
        self._drain_spread_ms = min(max(DRAIN_SPREAD_MS[0], 2 * len(readers)), DRAIN_SPREAD_MS[1])
        began = self.loop.time()
        turn = began
        for index, reader in enumerate(readers):
            self.bye(reader, DRAIN)
            pause = began + seconds * (index + 1) / len(readers) - self.loop.time()
            if pause > 0 or self.loop.time() - turn > SLICE_SECONDS:
                await asyncio.sleep(max(0.0, pause))
                turn = self.loop.time()
        await self._last_words()

    async def _last_words(self) -> None:
        """Wait, not for long, for the coroutines of ended streams to write their last frame."""
        if writing := [task for task in self.writers if not task.done()]:
            _, stuck = await asyncio.wait(writing, timeout=CLOSE_GRACE_SECONDS)
            for task in stuck:
                task.cancel()

    def _retry_ms(self, reason: str) -> int:
        if reason != DRAIN:
            return random.randint(*RETRY_MS)
        return DRAIN_RETRY_MS + random.randint(0, self._drain_spread_ms)

    # What delivery and timers tell.

    def _ended(self, reader: Subscription) -> None:
        self.timers.discard(reader)
        if not reader.audience.lane.streams:
            return
        self.admission.release(reader.user, reader.address)
        seconds = self.clock.wall_ms() / 1000 - reader.connected_at
        self.observer.disconnected(self.audiences.streams, reader.reason or "", max(0.0, seconds))
        self.callbacks.disconnected(self.client(reader))

    def _over(self, readers: Sequence[Subscription]) -> None:
        for reader in readers:
            self.bye(reader, reader.deadline_reason)

    def _end_all(self, readers: Iterable[Subscription], reason: str) -> None:
        for reader in readers:
            self.delivery.end(reader, reason)

    def _kick(self, _: str, order: Any) -> None:
        user, client, reason = order["user"], order["client"], str(order["reason"])
        if user is None and client is None:
            return
        for reader in self.find(user, client):
            if reason in BYE_REASONS:
                self.bye(reader, reason)
            else:
                self.bye(reader, KICKED, reason)

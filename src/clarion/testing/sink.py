"""A sink that writes to a list, with readers that stall and go on when the test says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from clarion.event import Entry
from clarion.fanout import Fanout, Wait
from clarion.hub import Hub
from clarion.local import Received
from clarion.parser import Parser
from clarion.sinks.base import Block, Telling, is_exact
from clarion.sinks.chunks import plain_block
from clarion.subscription import State, Subscription
from clarion.topics import TopicSet


class Pump(Protocol):
    """What the sink needs of the delivery around it: `clarion.delivery.Delivery` has it all."""

    fanout: Fanout

    def now_ms(self) -> int: ...
    def wall_ms(self) -> int: ...
    def ready(self, reader: Any) -> None: ...
    def values(self, reader: Any) -> None: ...
    def page(self, reader: Any) -> None: ...
    def delivered(self, readers: int, events: int, size: int) -> None: ...
    def caught_up(self, reader: Subscription) -> None: ...


class RecordingReader(Subscription):
    """A reader of a `RecordingSink`.

    written: the bytes that it took, one item for each write. bye: its last frame. room: how many more events it takes
    before it stalls; None for any number.
    """

    __slots__ = ("bye", "queued", "room", "waiting", "written")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.written: list[bytes] = []
        self.bye: bytes | None = None
        self.room: int | None = None
        self.queued = False  # for a turn
        self.waiting = False  # for a page

    def received(self) -> list[Received]:
        """What it has got so far, its last frame included, as a client reads it."""
        messages = Parser().feed(b"".join(self.written) + (self.bye or b""))
        return [Received(one.last_event_id, one.type, one.topic, one.data, one.change) for one in messages]


class RecordingSink:
    """A `clarion.sinks.base.Lane` without I/O: it keeps what each reader gets.

        async with Hub() as hub:
            sink = RecordingSink(hub)
            reader = sink.join("ann", "news")
            sink.stall(reader)           # from now on it takes nothing, and falls behind
            ...
            sink.resume(reader)          # it reads on from its cursor
            assert [event.data for event in reader.received()] == [1, 2, 3]

    pump: an open hub, or the delivery alone. streams: whether its readers count as clients.
    """

    def __init__(self, pump: Hub | Pump, *, streams: bool = True) -> None:
        self._join: Callable[[Subscription], None]
        if isinstance(pump, Hub):
            engine = pump._open_engine()
            self._pump: Pump = engine.delivery
            self._join = engine.join
        else:
            self._pump = pump
            self._join = pump.fanout.join
        self.streams = streams

    def join(self, client_id: str, *topics: str, user: str | None = None, after: int | None = None) -> RecordingReader:
        """Add a reader of some topics and patterns. after: the offset that it has reached; None for the newest."""
        fanout = self._pump.fanout
        audience = fanout.audiences.of(TopicSet(topics), self)
        cursor = fanout.log.head if after is None else after
        reader = RecordingReader(client_id, user, audience, cursor, fanout.log.head)
        reader.written_ms = self._pump.now_ms()
        self._join(reader)
        self._pump.ready(reader)
        return reader

    def stall(self, reader: RecordingReader, after: int = 0) -> None:
        """Have a reader take no more, or only `after` more events, and then be cut off."""
        reader.room = after

    def resume(self, reader: RecordingReader) -> None:
        """Have a reader take everything again."""
        reader.room = None
        reader.blocked = False
        if reader.state is State.BEHIND:
            self._pump.ready(reader)

    # The lane.

    def block(
        self, entries: Sequence[Entry], after: int, through: int, prefix: bytes = b"", telling: Telling = None
    ) -> Block:
        return plain_block(entries, after, through, prefix, telling)

    def deliver(self, readers: Sequence[Subscription], start: int, block: Block, until: float) -> int:
        """See `clarion.sinks.base.Lane`. Takes no time, so it always comes to the end of the readers."""
        for reader in readers[start:]:
            assert isinstance(reader, RecordingReader)
            if reader.state is State.LIVE and (reached := self._write(reader, block)) is not None:
                self._pump.fanout.fell_behind(reader, *reached, exact=is_exact(block, *reached))
        return len(readers)

    def feed(self, reader: Subscription) -> None:
        assert isinstance(reader, RecordingReader)
        if reader.state is not State.BEHIND or reader.waiting:
            return
        found = self._pump.fanout.take(reader, self._pump.wall_ms())
        if isinstance(found, Block):
            self._catch_up(reader, found)
        elif found is Wait.PAGE:
            reader.waiting = True
            self._pump.page(reader)
        elif found is Wait.VALUES:
            reader.waiting = True
            self._pump.values(reader)
        elif found is Wait.TURN:
            self._pump.ready(reader)
        elif found is Wait.LIVE:
            self._pump.caught_up(reader)

    def feed_page(self, reader: RecordingReader, block: Block) -> None:
        """The page that a reader waited for is here."""
        reader.waiting = False
        if reader.state is State.BEHIND:
            self._catch_up(reader, block)

    def feed_values(self, reader: RecordingReader) -> None:
        """The values that a reader waited for are here."""
        reader.waiting = False
        if reader.state is State.BEHIND:
            self._pump.ready(reader)

    def end(self, reader: Subscription, bye: bytes | None) -> None:
        assert isinstance(reader, RecordingReader)
        reader.bye = bye

    def _catch_up(self, reader: RecordingReader, block: Block) -> None:
        reached = self._write(reader, block)
        if reached is None:
            reader.reached(block.through, block.told)
            self._pump.ready(reader)
        else:
            reader.reached(*reached)

    def _write(self, reader: RecordingReader, block: Block) -> tuple[int, int] | None:
        """Take as much of a block as there is room for. None for all of it, else what is reached."""
        taken, reached, events = block.data, None, block.events
        if reader.room is not None and reader.room < block.events:
            events = reader.room
            end, *reached_there = block.marks[events - 1] if events else (0, block.after, block.told_before)
            reached = (reached_there[0], reached_there[1])
            taken = block.data[:end]
        if reader.room is not None:
            reader.room -= events
        reader.blocked = reached is not None
        if taken:
            reader.written.append(taken)
            reader.written_ms = self._pump.now_ms()
            self._pump.delivered(1, events, len(taken))
        return reached

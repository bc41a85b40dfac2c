"""The ASGI sink: streams that leave through the server's `send`. Works with every ASGI server, TLS and HTTP/2 too.

One coroutine per connection, which waits, takes everything its subscription has, and awaits one `send`. A pass of
delivery only hands it the shared bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final, Protocol

from clarion.event import Entry
from clarion.fanout import Fanout, Wait
from clarion.sinks.base import Block, Telling
from clarion.sinks.chunks import plain_block
from clarion.subscription import State, Subscription

WAKES_PER_TURN: Final = 48  # readers woken in one turn of the loop: a millisecond of their coroutines' work

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Pump(Protocol):
    """What the sink needs of the delivery around it."""

    fanout: Fanout

    def now_ms(self) -> int: ...
    def wall_ms(self) -> int: ...
    def delivered(self, readers: int, events: int, size: int) -> None: ...
    def exhausted(self, reader: Subscription, /) -> None: ...
    def caught_up(self, reader: Subscription) -> None: ...
    async def read_page(self, reader: Subscription) -> Block: ...
    async def read_values(self, reader: Subscription) -> None: ...


class AsgiReader(Subscription):
    """A reader whose coroutine writes for it.

    budget_bytes: what it may still be sent before it has to come back; None for no bound.
    handed: the block that a pass gave it. bye: its last frame, once it is closed. task: its coroutine.
    """

    __slots__ = ("budget_bytes", "bye", "handed", "task", "waiter")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.budget_bytes: int | None = None
        self.handed: Block | None = None
        self.bye: bytes | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.task: asyncio.Task[Any] | None = None

    def wake(self) -> None:
        """Let its coroutine look at what is new."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class AsgiLane:
    """See `clarion.sinks.base.Lane`. `streams=False` makes the lane of readers inside the process."""

    def __init__(self, pump: Pump, *, streams: bool = True) -> None:
        self._pump = pump
        self.streams = streams
        self._woken = 0

    def block(
        self, entries: Sequence[Entry], after: int, through: int, prefix: bytes = b"", telling: Telling = None
    ) -> Block:
        return plain_block(entries, after, through, prefix, telling)

    def deliver(self, readers: Sequence[Subscription], start: int, block: Block, until: float) -> int:
        fell_behind = self._pump.fanout.fell_behind
        for index in range(start, len(readers)):
            if self._woken == WAKES_PER_TURN:
                return index
            reader = readers[index]
            if reader.state is State.LIVE:
                assert isinstance(reader, AsgiReader)
                fell_behind(reader, block.after, block.told_before)
                reader.handed = block
                reader.wake()
                if not self._woken:
                    asyncio.get_running_loop().call_soon(self._next_turn)
                self._woken += 1
        return len(readers)

    def _next_turn(self) -> None:
        self._woken = 0

    def feed(self, reader: Subscription) -> None:
        assert isinstance(reader, AsgiReader)
        reader.wake()

    def end(self, reader: Subscription, bye: bytes | None) -> None:
        assert isinstance(reader, AsgiReader)
        reader.bye = bye
        if bye is None and reader.blocked and reader.task is not None:
            reader.task.cancel()  # nothing else gets it out of a `send` that nobody reads
        reader.wake()

    async def serve(self, reader: AsgiReader, send: Send) -> None:
        """Write what the reader gets until it is closed. Raises what `send` raises."""
        while not reader.is_closed:
            found = self.look(reader)
            block = found if isinstance(found, Block) else await found
            if block is None:
                continue
            if block.data:
                reader.blocked = True
                reader.written_ms = self._pump.now_ms()  # that it was silent before is not that it stalls
                try:
                    await send({"type": "http.response.body", "body": block.data, "more_body": True})
                finally:
                    reader.blocked = False
                reader.written_ms = self._pump.now_ms()
                self._pump.delivered(1, block.events, len(block.data))
            reader.reached(block.through, block.told)
            if reader.budget_bytes is not None:
                reader.budget_bytes -= len(block.data)
                if reader.budget_bytes <= 0:
                    self._pump.exhausted(reader)
            if reader.snapshot is not None or reader.cursor != self._pump.fanout.planned:
                await asyncio.sleep(0)  # `send` need not wait for anything, and others want their turn

    def look(self, reader: AsgiReader) -> Block | Awaitable[Block | None]:
        """The next block, or what to wait for; after None the caller has to look at the reader's state and ask again.

        The caller waits in its own coroutine: a frame less for every idle reader.
        """
        block = reader.handed
        if block is not None:
            reader.handed = None
            return block
        found = self._pump.fanout.take(reader, self._pump.wall_ms())
        if isinstance(found, Block):
            return found
        if found is Wait.PAGE:
            return self._pump.read_page(reader)
        if found is Wait.VALUES:
            return self._pump.read_values(reader)
        if found is Wait.TURN:
            return asyncio.sleep(0)
        reader.waiter = asyncio.get_running_loop().create_future()
        if found is Wait.LIVE:
            self._pump.caught_up(reader)  # may be its end, and wakes it then
        return reader.waiter

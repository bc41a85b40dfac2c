"""Subscribing inside the process: the same subscription and the same stream as a client's, without a connection."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Any, NamedTuple, Self

from clarion import json
from clarion.engine import Engine
from clarion.parser import Message, Parser
from clarion.retention import Since
from clarion.sinks.asgi import AsgiReader
from clarion.sinks.base import Block
from clarion.start import Start
from clarion.subscription import DONE, State
from clarion.topics import TopicSet


class Received(NamedTuple):
    """An event as a reader gets it.

    id: its position as text. type: the SSE event type, "message" if the publisher named none, "gap" for a gap.
    topic: where it was published; None for a gap. text: the data as it stands on the wire.
    change: what it does to the topic's value, "set", "append", "merge" or "delete"; None for a plain event. The type of
        all but "set" ends in it (spec/stream.md, section 10).
    """

    id: str
    type: str
    topic: str | None
    text: str
    change: str | None = None

    @property
    def data(self) -> Any:
        """The data that the publisher gave. Raises `ValueError` if it is raw text that is not JSON."""
        return json.decode(self.text)


class LocalStream:
    """An asynchronous iterator of the events of some topics. What is published from its making on is not missed.
    With a `since`, it begins with what that finds when the iteration begins.

    Belongs to one task at a time. Slowness costs nobody else: it reads the log from its own cursor. It ends when the
    hub closes. Close it (`aclose`, or `async with`) when it is not read to its end.
    """

    def __init__(self, engine: Engine, topics: TopicSet, since: Since, user: str | None = None) -> None:
        self._engine = engine
        self._since = since
        self._parser = Parser(max_event_bytes=engine.limits.max_event_bytes)
        self._received: deque[Message] = deque()
        audience = engine.audiences.of(topics, engine.local)
        self._reader = AsgiReader(engine.client_id(), user, audience, engine.log.head, 0)
        self._joined = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        reader, lane = self._reader, self._engine.local
        if not self._joined:
            await self._join()
        while not self._received:
            if reader.state is State.CLOSED:
                raise StopAsyncIteration
            found = lane.look(reader)
            block = found if isinstance(found, Block) else await found
            if block is not None:
                reader.reached(block.through, block.told)
                self._received.extend(self._parser.feed(block.data))
        message = self._received.popleft()
        return Received(message.last_event_id, message.type, message.topic, message.data, message.change)

    async def _join(self) -> None:
        reader, engine = self._reader, self._engine
        start = Start(reader.cursor, "live")
        if not self._since.live and not engine.closed:
            start = await engine.starts.find(reader, None, self._since)
        if engine.closed:
            raise StopAsyncIteration
        engine.begin(reader, start)
        self._joined = True
        if start.gap is not None:
            self._received.extend(self._parser.feed(engine.gap(reader, start.gap, None)))

    async def aclose(self) -> None:
        """Stop. Twice is once."""
        if self._joined:
            self._engine.delivery.end(self._reader, DONE)
        else:
            self._reader.state = State.CLOSED
            self._joined = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if self._joined and self._reader.state is not State.CLOSED and not self._engine.loop.is_closed():
            self._engine.loop.call_soon_threadsafe(self._engine.delivery.end, self._reader, DONE)

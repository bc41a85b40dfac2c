"""The asynchronous source."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Self, Unpack

from clarion.client.base import SourceBase
from clarion.client.buffer import Buffer
from clarion.client.errors import CursorNotSaved
from clarion.client.feed import Feed
from clarion.client.httpx import HttpxTransport
from clarion.client.intake import Call, Taken
from clarion.client.options import SourceOptions
from clarion.client.reader import Reader
from clarion.client.received import Item, ReceivedEvent
from clarion.client.transport import Transport
from clarion.clock import SystemClock


class AsyncSource(SourceBase):
    """Events of a stream, over any number of connections: each once and in order, or a gap is told.

    `async with AsyncSource(url, topics=[...]) as source: async for event in source: ...`. The options are described at
    `SourceOptions`. The loop ends when the stream is complete or the source is closed; it raises `StreamRefused`,
    `NotAStream`, `StreamKicked` or `RequestImpossible` when there is nothing to come back for. Everything else is
    waited out.

    An event counts as dealt with when the next one is asked for, or when the `async with` block is left without an
    exception. Waiting for an event may be cancelled (a timeout around it, for one); nothing is lost by that. Callbacks
    may be coroutine functions; they are called where the next event is asked for, so without a loop or `run` none is
    called. One that is cancelled is called again. One task at a time may ask; everything is used in one event loop.
    """

    def __init__(self, url: str, **options: Unpack[SourceOptions]) -> None:
        super().__init__(url, options)
        self._clock = self._settings.clock or SystemClock()
        self._transport: Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._buffer: Buffer | None = None
        self._woken: asyncio.Event | None = None
        self._taken: Taken | None = None
        self._saving: asyncio.Future[None] | None = None
        self._asked = False  # somebody waits for an event
        self._loaded = False

    async def open(self) -> None:
        """Begin to connect. Raises `RuntimeError` if it is open, and what loading the cursor raises.

        After `aclose` it goes on where events were dealt with.
        """
        if self._task is not None:
            raise RuntimeError("the source is open already")
        start, self._taken = await self._load(), None
        transport = self._settings.transport
        if transport is None:
            transport = await asyncio.to_thread(HttpxTransport)  # it reads certificates
        self._transport = transport
        woken = self._woken = asyncio.Event()
        self._buffer = Buffer(woken.set, lambda call: call())
        reader = Reader(start, max_event_bytes=self._settings.max_event_bytes)
        self._feed = Feed(self._settings, reader, self._buffer, transport, self._clock)
        self._task = asyncio.create_task(self._feed.run(), name="clarion source")

    async def aclose(self) -> None:
        """Let go of the connection; may be called twice. Who waits for an event gets the end of the loop."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        try:
            await asyncio.wait((task,))
        finally:
            if self._buffer is not None:
                self._buffer.discard()
            if self._transport is not None and self._settings.transport is None:
                await self._transport.aclose()
            if self._saving is not None:
                await asyncio.wait((self._saving,))

    async def commit(self) -> None:
        """Say that the event given out last is dealt with, and store the cursor at once."""
        self._intake.commit()
        await self._store(now=True)

    async def run(self) -> None:
        """Read to the end, for the callbacks alone."""
        async for _ in self:
            pass

    async def events(self, *types: str) -> AsyncGenerator[ReceivedEvent, None]:
        """Only the events of these types; the others are dealt with by the callbacks alone."""
        async for event in self:
            if event.type in types:
                yield event

    def pause(self) -> None:
        """Let go of the connection until `resume`; the place is kept."""
        if self._task is not None and self._feed is not None:
            self._feed.pause()

    def resume(self) -> None:
        """Connect again after `pause`, or without waiting any longer: the network is back, say."""
        self._reconnect()

    def reconnect(self) -> None:
        """Leave this connection and make another at once, with fresh headers; the place is kept."""
        self._reconnect()

    def subscribe(self, *topics: str) -> None:
        """Ask for more topics, by a new connection; the place is kept, and their values are told."""
        if self._chosen(topics):
            self._reconnect(values_anew=True)

    def unsubscribe(self, *topics: str) -> None:
        """Do not ask for topics any more, by a new connection; the place is kept."""
        if self._unchosen(topics):
            self._reconnect(values_anew=True)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self.commit()
        finally:
            await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ReceivedEvent:
        if self._asked:
            raise RuntimeError("another task waits for the next event of this source")
        self._asked = True
        try:
            self._intake.commit()
            await self._store()
            event = await self._next_event()
        finally:
            self._asked = False
        if event is None:
            raise StopAsyncIteration
        return event

    async def _next_event(self) -> ReceivedEvent | None:
        """The next event, None at the end. Wherever it is cancelled, the next call goes on from there."""
        while True:
            if self._task is None:
                self._taken = None
            if self._taken is None:
                item = await self._next_item()
                if item is None:
                    await self._store(now=True)
                    self._raise_end()
                    return None
                self._taken = self._intake.take(item)
                if self._taken.values_lost and self._feed is not None:
                    self._feed.refetch_values()
            taken = self._taken
            await self._carry_out(taken.calls)
            self._taken = None
            self._intake.give(taken.last_event_id)
            if taken.event is not None:
                return taken.event
            self._intake.commit()
            await self._store()

    async def _next_item(self) -> Item | None:
        buffer, woken = self._buffer, self._woken
        if buffer is None or woken is None:
            raise RuntimeError("the source is not open: async with AsyncSource(...) as source")
        while True:
            woken.clear()
            item = buffer.pop()
            if item is not None or buffer.closed:
                return item
            await woken.wait()

    def _raise_end(self) -> None:
        """Nothing more will come: raise what there is to say about that."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()  # raises if the source itself, or a transport, is at fault
        if self._task is not None and self.status.error is not None:
            raise self.status.error

    async def _carry_out(self, calls: deque[Call]) -> None:
        """Make the calls; each is taken off when it is over, so that none is made twice or left out."""
        while calls:
            call = calls[0]
            try:
                result = call.function(call.argument)
                if inspect.isawaitable(result):
                    await result
            except Exception as error:
                calls.popleft()
                calls.extendleft(reversed(self._intake.failed(call, error)))
            else:
                calls.popleft()

    async def _load(self) -> str:
        if self._loaded:
            return self._intake.begin_again()
        store = self._settings.cursor
        if store is not None:
            loaded = await asyncio.to_thread(store.load) if store.blocking else store.load()
            self._intake.begin(loaded or self._settings.last_event_id)
        self._loaded = True
        return self._intake.committed

    async def _store(self, *, now: bool = False) -> None:
        text, store = self._intake.due(self._clock.monotonic_ms(), now=now), self._settings.cursor
        if text is None or store is None:
            return
        try:
            if store.blocking:
                await self._save_in_thread(text)
            else:
                store.save(text)
        except Exception as error:
            unsaved = CursorNotSaved("the cursor could not be stored")
            unsaved.__cause__ = error
            await self._carry_out(deque(self._intake.report(unsaved)))
        else:
            self._intake.stored(text, self._clock.monotonic_ms())

    async def _save_in_thread(self, text: str) -> None:
        """One save at a time, also if the wait for one is cancelled: it ends, and then the next may begin."""
        assert self._settings.cursor is not None
        if self._saving is not None:
            await asyncio.wait((self._saving,))
        self._saving = asyncio.ensure_future(asyncio.to_thread(self._settings.cursor.save, text))
        self._saving.add_done_callback(_look_at)
        await asyncio.wait((self._saving,))
        self._saving.result()

    def _reconnect(self, *, values_anew: bool = False) -> None:
        if self._task is not None and self._feed is not None:
            self._feed.reconnect(values_anew=values_anew)


def _look_at(saving: asyncio.Future[None]) -> None:
    """Nobody may be left to hear of a save that failed: the next one tries again."""
    if not saving.cancelled():
        saving.exception()

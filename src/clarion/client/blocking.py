"""The synchronous source: for threads and scripts."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self, Unpack

from clarion.client.base import Function, SourceBase
from clarion.client.buffer import Buffer
from clarion.client.errors import CursorNotSaved
from clarion.client.feed import Feed
from clarion.client.httpx import HttpxTransport
from clarion.client.intake import Call, Callback, Taken
from clarion.client.options import SourceOptions
from clarion.client.reader import Reader
from clarion.client.received import Item, ReceivedEvent
from clarion.client.transport import Transport
from clarion.clock import SystemClock

CLOSE_SECONDS: Final = 5.0  # waited for the connection to be let go
LOOK_SECONDS: Final = 1.0  # between two looks for a Ctrl-C, where the system does not interrupt a waiting thread


class Source(SourceBase):
    """`AsyncSource` for code that blocks: `with Source(url) as source: for event in source: ...`.

    The same options and promises. The connection is kept by a thread of its own; callbacks are plain functions and are
    called in the thread that asks for events, which is one at a time. All other methods may be called from any thread:
    `close` from another thread ends the loop once the event in work is done. Functions for headers and the token are
    called in other threads.
    """

    def __init__(self, url: str, **options: Unpack[SourceOptions]) -> None:
        super().__init__(url, options)
        self._clock = self._settings.clock or SystemClock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._buffer: Buffer | None = None
        self._woken = threading.Event()
        self._ready = threading.Event()
        self._closing = threading.Lock()
        self._failure: BaseException | None = None
        self._taken: Taken | None = None
        self._asked = False
        self._loaded = False

    def open(self) -> None:
        """Begin to connect, in a thread. Raises `RuntimeError` if it is open, and what loading the cursor raises."""
        if self._thread is not None:
            raise RuntimeError("the source is open already")
        start = self._load()
        transport = self._settings.transport or HttpxTransport()
        self._failure, self._taken = None, None
        self._ready.clear()
        self._thread = threading.Thread(
            target=self._run, args=(start, transport), name="clarion source", daemon=True
        )  # a script that forgets to close can still end
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """Let go of the connection; from any thread, and twice is once. Waits up to 5 s for that."""
        with self._closing:
            thread, self._thread = self._thread, None
        if thread is None:
            return
        self._soon(self._cancel)
        self._woken.set()
        if thread is not threading.current_thread():
            thread.join(CLOSE_SECONDS)

    def commit(self) -> None:
        """Say that the event given out last is dealt with, and store the cursor; in the thread that asks for events."""
        self._intake.commit()
        self._store(now=True)

    def receive(self, timeout_seconds: float | None = None) -> ReceivedEvent | None:
        """The next event, None if there will be no more. Raises `TimeoutError` if none came in time."""
        if self._asked:
            raise RuntimeError("another thread waits for the next event of this source")
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._asked = True
        try:
            self._intake.commit()
            self._store()
            return self._next_event(deadline)
        finally:
            self._asked = False

    def run(self) -> None:
        """Read to the end, for the callbacks alone."""
        for _ in self:
            pass

    def events(self, *types: str) -> Iterator[ReceivedEvent]:
        """Only the events of these types; the others are dealt with by the callbacks alone."""
        for event in self:
            if event.type in types:
                yield event

    def pause(self) -> None:
        """Let go of the connection until `resume`; the place is kept."""
        self._tell(lambda feed: feed.pause())

    def resume(self) -> None:
        """Connect again after `pause`, or without waiting any longer."""
        self._tell(lambda feed: feed.reconnect())

    def reconnect(self) -> None:
        """Leave this connection and make another at once, with fresh headers; the place is kept."""
        self._tell(lambda feed: feed.reconnect())

    def subscribe(self, *topics: str) -> None:
        """Ask for more topics, by a new connection; the place is kept, and their values are told."""
        if self._chosen(topics):
            self._tell(lambda feed: feed.reconnect(values_anew=True))

    def unsubscribe(self, *topics: str) -> None:
        """Do not ask for topics any more, by a new connection; the place is kept."""
        if self._unchosen(topics):
            self._tell(lambda feed: feed.reconnect(values_anew=True))

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ReceivedEvent:
        event = self.receive()
        if event is None:
            raise StopIteration
        return event

    def _run(self, start: str, transport: Transport) -> None:
        try:
            asyncio.run(self._feed_from(start, transport))
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # a fault of the source or of a transport: raised where events are asked for
            self._failure = error
        finally:
            self._ready.set()
            self._woken.set()

    async def _feed_from(self, start: str, transport: Transport) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            self._buffer = Buffer(self._woken.set, self._soon)
            reader = Reader(start, max_event_bytes=self._settings.max_event_bytes)
            self._feed = Feed(self._settings, reader, self._buffer, transport, self._clock)
            self._ready.set()
            await self._feed.run()
        finally:
            if self._settings.transport is None:
                await transport.aclose()

    def _next_event(self, deadline: float | None) -> ReceivedEvent | None:
        while True:
            if self._taken is None:
                item = self._next_item(deadline)
                if item is None:
                    self._store(now=True)
                    self._raise_end()
                    return None
                self._taken = self._intake.take(item)
                if self._taken.values_lost:
                    self._tell(lambda feed: feed.refetch_values())
            self._carry_out(self._taken.calls)
            taken, self._taken = self._taken, None
            self._intake.give(taken.last_event_id)
            if taken.event is not None:
                return taken.event
            self._intake.commit()
            self._store()

    def _next_item(self, deadline: float | None) -> Item | None:
        buffer = self._buffer
        if buffer is None:
            raise RuntimeError("the source is not open: with Source(...) as source")
        while True:
            self._woken.clear()
            if self._thread is None:
                return None
            item = buffer.pop()
            if item is not None or buffer.closed:
                return item
            left = LOOK_SECONDS if deadline is None else min(LOOK_SECONDS, deadline - time.monotonic())
            if left <= 0:
                raise TimeoutError("no event came in time")
            self._woken.wait(left)

    def _raise_end(self) -> None:
        """Nothing more will come: raise what there is to say about that."""
        thread = self._thread
        if thread is None:  # closed by its owner
            return
        thread.join(CLOSE_SECONDS)  # it is at its end
        if self._failure is not None:
            raise self._failure
        if self.status.error is not None:
            raise self.status.error

    def _carry_out(self, calls: deque[Call]) -> None:
        while calls:
            call = calls[0]
            try:
                call.function(call.argument)
            except Exception as error:
                calls.popleft()
                calls.extendleft(reversed(self._intake.failed(call, error)))
            else:
                calls.popleft()

    def _load(self) -> str:
        if self._loaded:
            return self._intake.begin_again()
        if self._settings.cursor is not None:
            self._intake.begin(self._settings.cursor.load() or self._settings.last_event_id)
        self._loaded = True
        return self._intake.committed

    def _store(self, *, now: bool = False) -> None:
        text = self._intake.due(self._clock.monotonic_ms(), now=now)
        if text is None or self._settings.cursor is None:
            return
        try:
            self._settings.cursor.save(text)
        except Exception as error:
            unsaved = CursorNotSaved("the cursor could not be stored")
            unsaved.__cause__ = error
            self._carry_out(deque(self._intake.report(unsaved)))
        else:
            self._intake.stored(text, self._clock.monotonic_ms())

    def _registered(self, listed: list[Callback], function: Function) -> Function:
        if inspect.iscoroutinefunction(function):
            raise TypeError("a Source calls plain functions; AsyncSource takes coroutine functions as well")
        return super()._registered(listed, function)

    def _tell(self, order: Callable[[Feed], None]) -> None:
        """Tell the feed something, in its own thread."""
        feed = self._feed
        if feed is not None and self._thread is not None:
            self._soon(lambda: order(feed))

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _soon(self, call: Callable[[], None]) -> None:
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop has ended, and so has everything that could be told
            pass

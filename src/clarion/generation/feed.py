"""The feed: one generation's value as it changes, read once in a process for all viewers who hear it in a format.

A viewer is not given changes but what differs from what it was told, made once for all who were told the same. So a
viewer that is slow or late costs no more than the value, and is told the newest when its turn comes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from clarion.clock import Clock
from clarion.errors import ClarionError
from clarion.generation.formats.base import Encoder, Frames
from clarion.generation.view import View, view
from clarion.local import LocalStream, Received
from clarion.sinks.asgi import WAKES_PER_TURN, AsgiReader
from clarion.values import MISSING, Change, applied

LOOK_MS: Final = 1_000  # how long the journal may take to give a value that was there a moment ago

_CHANGES: Final = {"set": Change.SET, "append": Change.APPEND, "merge": Change.MERGE, "delete": Change.DELETE}

Subscribe = Callable[[str, str | None], LocalStream]
Get = Callable[[str, str | None], Awaitable[Any]]

logger = logging.getLogger("clarion.generation")


class Feed:
    """The value at one topic, of one user or of the topic's readers. Belongs to the hub's event loop."""

    def __init__(self, topic: str, user: str | None, subscribe: Subscribe, get: Get, clock: Clock) -> None:
        self.topic = topic
        self.user = user
        self.viewers = 0
        self.version = 0
        self.left = asyncio.Event()  # the last viewer has gone
        self.over = False  # nothing more is heard: the hub closes, or the stream failed
        self._get = get
        self._clock = clock
        self._value: Any = MISSING
        self._view: View | None = None
        self._made: dict[tuple[Encoder, Any], Frames] = {}
        self._waiting: dict[AsgiReader, None] = {}
        self._arrived = asyncio.Event()
        self._stream = subscribe(topic, user)
        self._reading = asyncio.get_running_loop().create_task(self._read(), name=f"clarion feed {topic}")

    @property
    def view(self) -> View | None:
        """The generation now; None if the topic has none."""
        return self._view

    async def first(self) -> View | None:
        """The generation, as soon as it is known; None if the topic has none. Raises `JournalError`."""
        while self._value is MISSING and not self.over:
            if view(await self._get(self.topic, self.user)) is None:
                return None
            self._arrived.clear()
            timer = self._clock.call_later(LOOK_MS, self._arrived.set)
            try:
                await self._arrived.wait()
            finally:
                timer.cancel()
        return self._view

    def frames(self, encoder: Encoder, told: Any) -> Frames:
        """What one who was told `told` has to be told now; the same object for all of them."""
        key = (encoder, told)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = encoder.frames(told, self._view)
        return made

    def join(self, reader: AsgiReader) -> None:
        """Have a reader woken when there is more."""
        self._waiting[reader] = None

    def leave(self, reader: AsgiReader) -> None:
        self._waiting.pop(reader, None)

    async def close(self) -> None:
        """Stop reading."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._stream.aclose()

    async def _read(self) -> None:
        try:
            async for received in self._stream:
                self._take(received)
        except ClarionError as error:
            logger.error("the generation on %s cannot be followed: %s", self.topic, error)
        finally:
            self.over = True
            self._changed()

    def _take(self, received: Received) -> None:
        change = _CHANGES.get(received.change or "")
        if change is None or received.topic != self.topic:
            return
        self._value = applied(self._value, change, received.data)
        self._view = view(self._value)
        self._changed()

    def _changed(self) -> None:
        self.version += 1
        self._made.clear()
        self._arrived.set()
        self._wake(list(self._waiting))

    def _wake(self, readers: list[AsgiReader]) -> None:
        """Wake those that wait, some in each turn of the loop, so that others have theirs."""
        for reader in readers[:WAKES_PER_TURN]:
            reader.wake()
        if len(readers) > WAKES_PER_TURN:
            asyncio.get_running_loop().call_soon(self._wake, readers[WAKES_PER_TURN:])


class Feeds:
    """The feeds of a hub: each exists while somebody looks at it."""

    def __init__(self, subscribe: Subscribe, get: Get, clock: Clock) -> None:
        self._subscribe = subscribe
        self._get = get
        self._clock = clock
        self._feeds: dict[tuple[str, str | None], Feed] = {}

    async def drained(self, values: Iterable[tuple[str, str | None]]) -> None:
        """Wait until nobody looks at these values, each a topic and a user, any more: they have ended."""
        for key in values:
            if (feed := self._feeds.get(key)) is not None:
                await feed.left.wait()

    @asynccontextmanager
    async def feed(self, topic: str, user: str | None) -> AsyncGenerator[Feed]:
        """The feed of a value, for as long as it is used. Raises `InvalidTopic`, `HubClosed`."""
        found = self._feeds.get((topic, user))
        if found is None or found.over:
            found = self._feeds[topic, user] = Feed(topic, user, self._subscribe, self._get, self._clock)
        found.viewers += 1
        try:
            yield found
        finally:
            found.viewers -= 1
            if not found.viewers:
                found.left.set()
                if self._feeds.get((topic, user)) is found:
                    del self._feeds[topic, user]
                await found.close()

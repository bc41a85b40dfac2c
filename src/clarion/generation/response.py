"""A generation as an HTTP response in the format of an existing front end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from clarion.engine import Engine
from clarion.errors import HubClosed, JournalError, TooManyReaders
from clarion.generation.feed import Feed, Feeds
from clarion.generation.formats.base import Encoder
from clarion.generation.view import View
from clarion.limits import RETRY_AFTER_SECONDS
from clarion.sinks.asgi import AsgiReader
from clarion.start import Start
from clarion.stream import HEADERS, refuse
from clarion.subscription import DISCONNECTED
from clarion.takeover import EXTENSION
from clarion.topics import TopicSet

REPLAY_ENDED_SECONDS: Final = 60.0  # after its end: who lost the connection shortly before needs the rest

logger = logging.getLogger("clarion.generation")


class Wanted(NamedTuple):
    """What the app asks for with `hub.generation_stream`."""

    topic: str
    user: str | None
    encoder: Encoder
    replay_ended_ms: int | None
    keep_alive_ms: int
    meta: Any


class GenerationResponse(Response):
    """What `Hub.generation_stream` returns: the whole so far, joined, and then the rest as it comes.

    204 if there is no generation on the topic, or none that ended a short while ago. Viewers are counted, limited and
    sent away as those of every stream; but a stream that is cut off by the server breaks instead of ending: these
    formats have no word for "come back", and a clean end would look complete.
    """

    media_type = "text/event-stream"  # for FastAPI's OpenAPI

    def __init__(
        self, engine: Engine | None, feeds: Feeds, wanted: Wanted, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self.raw_headers = list(HEADERS)
        for name, value in {**wanted.encoder.headers, **(headers or {})}.items():
            self.headers[name] = value
        self._engine = engine
        self._feeds = feeds
        self._wanted = wanted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._open(scope, receive, send)
        if answer is not None:
            await answer(scope, receive, send)
        if self.background is not None:
            await self.background()

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """Serve the stream, or return what is to be answered instead."""
        engine, wanted = self._engine, self._wanted
        if engine is None or engine.draining:
            return refuse(503, "not open for streams now", RETRY_AFTER_SECONDS)
        client = scope.get("client")
        try:
            engine.admission.check(wanted.user, client[0] if client else None)
            async with self._feeds.feed(wanted.topic, wanted.user) as feed:
                generation = await feed.first()
                if generation is None or not self._is_recent(engine, generation):
                    return Response(status_code=204, headers={"cache-control": "no-store"})
                if scope["method"] == "HEAD":
                    await self._send_head(send)
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                else:
                    viewer = _Viewer(engine, wanted, feed, client[0] if client else None)
                    viewer.begin()
                    if (offer := (scope.get("extensions") or {}).get(EXTENSION)) is not None:
                        offer.on_shutdown(engine.begin_drain)
                    await viewer.serve(self._send_head, receive, send)
        except TooManyReaders as error:
            engine.observer.refused(error.scope)
            return refuse(error.status, "too many streams", error.retry_after_seconds)
        except (JournalError, HubClosed) as error:
            logger.error("a generation's stream is refused, the journal does not answer: %s", error)
            return refuse(503, "not available now", RETRY_AFTER_SECONDS)
        return None

    def _is_recent(self, engine: Engine, generation: View) -> bool:
        limit_ms = self._wanted.replay_ended_ms
        if not generation.ended or limit_ms is None:
            return True
        return generation.ended_ms is not None and engine.clock.wall_ms() - generation.ended_ms <= limit_ms

    async def _send_head(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})


class _Viewer:
    """One who looks at a generation. To the hub a client like others, who is told nothing through the log."""

    def __init__(self, engine: Engine, wanted: Wanted, feed: Feed, address: str | None) -> None:
        self._engine = engine
        self._feed = feed
        self._encoder = wanted.encoder
        self._keep_alive_ms = wanted.keep_alive_ms
        topics = TopicSet((wanted.topic,) if wanted.user is None else ())
        audience = engine.audiences.of(topics, engine.asgi)
        self._reader = AsgiReader(engine.client_id(), wanted.user, audience, 0, 0)
        self._reader.address = address
        self._reader.meta = wanted.meta

    def begin(self) -> None:
        """Count it in. Raises `TooManyReaders`."""
        self._engine.begin(self._reader, Start(self._engine.log.head, "live"))

    async def serve(self, send_head: Any, receive: Receive, send: Send) -> None:
        """Tell the generation until it has ended, or the viewer is gone, or is sent away."""
        engine, reader = self._engine, self._reader
        task = reader.task = asyncio.current_task()
        assert task is not None
        engine.writers.add(task)
        self._feed.join(reader)
        listening = asyncio.create_task(self._listen(receive))
        try:
            await engine.callbacks.connected(engine.client(reader))
            await send_head(send)
            if await self._tell(send):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:
            pass  # the client is gone; ASGI servers may say so from `send`
        except asyncio.CancelledError:
            if not reader.is_closed or task.uncancel():  # else this hub got it out of a `send` that nobody reads
                raise
        finally:
            engine.writers.discard(task)
            listening.cancel()
            self._feed.leave(reader)
            engine.delivery.end(reader, DISCONNECTED)

    async def _tell(self, send: Send) -> bool:
        """Whether it has told the end. If not, the response must not end as if it had."""
        told: Any = None
        reader, feed = self._reader, self._feed
        while not reader.is_closed:
            version = feed.version
            made = feed.frames(self._encoder, told)
            told = made.told
            if made.data:
                await self._write(send, made.data)
            if made.ended:
                return True
            if feed.over:
                return False
            if feed.version == version:
                await self._rest(send)
        return False

    async def _rest(self, send: Send) -> None:
        """Wait for more, or until it is time to say that the connection is alive."""
        engine, reader = self._engine, self._reader
        reader.cursor = engine.delivery.fanout.planned
        engine.delivery.caught_up(reader)
        if reader.is_closed:
            return
        reader.waiter = asyncio.get_running_loop().create_future()
        due_ms = reader.written_ms + self._keep_alive_ms
        timer = None
        if self._keep_alive_ms:
            timer = engine.clock.call_later(max(0, due_ms - engine.clock.monotonic_ms()), reader.wake)
        try:
            await reader.waiter
        finally:
            if timer is not None:
                timer.cancel()
        if self._keep_alive_ms and engine.clock.monotonic_ms() >= due_ms and not reader.is_closed:
            await self._write(send, self._encoder.keep_alive)

    async def _write(self, send: Send, data: bytes) -> None:
        reader, clock = self._reader, self._engine.clock
        reader.blocked = True
        reader.written_ms = clock.monotonic_ms()  # that it was silent before is not that it stalls
        try:
            await send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            reader.blocked = False
        reader.written_ms = clock.monotonic_ms()
        self._engine.delivery.delivered(1, 1, len(data))

    async def _listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._engine.delivery.gone(self._reader, DISCONNECTED)

"""A stream as an HTTP response: who may have it, where it starts, and which sink writes it."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from clarion.engine import Engine
from clarion.errors import JournalError, TooManyReaders
from clarion.limits import RETRY_AFTER_SECONDS
from clarion.position import parse
from clarion.sinks.asgi import AsgiReader
from clarion.sinks.socket import SocketReader
from clarion.start import Start
from clarion.subscription import DISCONNECTED, DRAIN, EXPIRED, LIMIT, State, Subscription
from clarion.takeover import EXTENSION, Offer
from clarion.topics import TopicSet

LAST_EVENT_ID: Final = b"last-event-id"
LAST_EVENT_ID_QUERIES: Final = ("last_event_id", "lastEventId", "Last-Event-ID")
# Servers of HTTP/2 take what they are given also for a stream whose window is shut, and keep it. So such a stream is
# ended after so much, with `bye` "limit"; a healthy client resumes, a stuck one costs this and no more.
MULTIPLEXED_BYTES: Final = 16 * 1024 * 1024
LAST_FRAME_SECONDS: Final = 1.0  # to write it in, when the server gives a stream up
MAX_QUERY_FIELDS: Final = 1_000  # more are not looked at
HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx and what follows it: do not hold events back
)

logger = logging.getLogger("clarion.hub")


class Request(NamedTuple):
    """What the app asks for with `hub.stream`."""

    topics: TopicSet
    user: str | None
    since: Any
    expires_at_ms: int | None
    heartbeat_seconds: float
    max_age_seconds: float | None
    interval_ms: int
    meta: Any


class StreamResponse(Response):
    """The response that `Hub.stream` returns. Answers HEAD, refuses with real HTTP statuses, or streams."""

    media_type = "text/event-stream"  # for FastAPI's OpenAPI

    def __init__(self, engine: Engine | None, request: Request, headers: Mapping[str, str] | None = None) -> None:
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self.raw_headers = list(HEADERS)  # the bytes themselves are shared by all streams
        for name, value in (headers or {}).items():
            self.headers[name] = value
        self._engine = engine
        self._request = request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        presented, since = _presented(scope)
        refusal = self._refusal(scope, presented)
        if refusal is not None:
            await refusal(scope, receive, send)
        elif scope["method"] == "HEAD":
            await self.send_head(send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            assert self._engine is not None
            opening = _Opening(self._engine, self._request, scope, send)
            try:
                reader = await opening.run(self, presented, since)
            except _Refused as refused:
                await refused.response(scope, receive, send)
            else:
                del opening, scope, presented, since  # an idle stream holds what it needs, and no more
                if reader is not None:
                    await self._serve(self._engine, reader, receive, send)
        if self.background is not None:
            await self.background()

    async def _serve(self, engine: Engine, reader: AsgiReader, receive: Receive, send: Send) -> None:
        """Write through the server's `send` until the stream is over."""
        task = reader.task = asyncio.current_task()
        assert task is not None
        engine.writers.add(task)
        listening = asyncio.create_task(_listen(engine, reader, receive))
        try:
            await engine.asgi.serve(reader, send)
            if reader.reason != DISCONNECTED:
                await send({"type": "http.response.body", "body": reader.bye or b"", "more_body": False})
        except OSError:
            pass  # the client is gone; ASGI servers may say so from `send`
        except asyncio.CancelledError:
            if reader.is_closed:  # by this hub, which got it out of a `send` that nobody reads
                if task.uncancel():
                    raise
            elif not await _give_up(engine, reader, send):
                raise
        finally:
            engine.writers.discard(task)
            listening.cancel()
            engine.delivery.end(reader, DISCONNECTED)

    async def send_head(self, send: Send) -> None:
        """Send the status and the headers."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

    def _refusal(self, scope: Scope, presented: str | None) -> Response | None:
        engine = self._engine
        if engine is None:
            logger.error("a stream is refused, the hub is not open: give the app `lifespan=hub.lifespan`")
            return refuse(503, "not open for streams now", RETRY_AFTER_SECONDS)
        if engine.draining:
            engine.observer.refused("draining")
            return refuse(503, "not open for streams now", RETRY_AFTER_SECONDS)
        if presented and (ours := parse(presented)) is not None and ours.done:
            return Response(status_code=204)
        try:
            engine.admission.check(self._request.user, _address(scope))
        except TooManyReaders as error:
            engine.observer.refused(error.scope)
            return refuse(error.status, "too many streams", error.retry_after_seconds)
        return None


def refuse(status: int, detail: str, retry_after_seconds: int | None = None) -> Response:
    """An answer that is no stream; `Retry-After` is jittered, so that those sent away do not come back as one."""
    headers = {"cache-control": "no-store"}
    if retry_after_seconds is not None:
        headers["retry-after"] = str(retry_after_seconds + random.randint(0, retry_after_seconds))
    return JSONResponse({"detail": detail}, status_code=status, headers=headers)


class _Refused(Exception):
    """The stream is refused after all; carries the answer to give."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


async def _listen(engine: Engine, reader: AsgiReader, receive: Receive) -> None:
    """Wait for the client to go away."""
    while (await receive())["type"] != "http.disconnect":
        pass
    engine.delivery.gone(reader, DISCONNECTED)


async def _give_up(engine: Engine, reader: AsgiReader, send: Send) -> bool:
    """The server cancels the stream, which is all that hypercorn's workers say at their end: say bye at least.

    Whether the response is complete now, so that there is nothing left to cancel.
    """
    engine.bye(reader, DRAIN)
    if reader.blocked:
        return False
    try:
        async with asyncio.timeout(LAST_FRAME_SECONDS):
            await send({"type": "http.response.body", "body": reader.bye or b"", "more_body": False})
    except OSError:
        return False
    return True


class _Opening:
    """What happens to a stream until it has its first bytes and its sink."""

    def __init__(self, engine: Engine, request: Request, scope: Scope, send: Send) -> None:
        self._engine = engine
        self._request = request
        self._scope = scope
        self._send = send
        self._client_id = engine.client_id()

    async def run(self, response: StreamResponse, presented: str | None, since: str | None) -> AsgiReader | None:
        """Open the stream. Returns the reader to be served through ASGI; None if its socket was handed over."""
        offer: Offer | None = (self._scope.get("extensions") or {}).get(EXTENSION)
        reader = self._asgi_reader() if offer is None else self._socket_reader()
        start = await self._join(reader, presented, since)
        opened = False
        try:
            await self._engine.callbacks.connected(self._engine.client(reader))
            hello = self._engine.hello(reader, start, presented)
            await response.send_head(self._send)
            await self._send({"type": "http.response.body", "body": hello, "more_body": True})
            if isinstance(reader, SocketReader):
                assert offer is not None
                if await self._hand_over(reader, offer, hello):
                    opened = True
                    return None
                reader = self._on_asgi(reader)
            if offer is not None:
                offer.on_shutdown(self._engine.begin_drain)
            opened = True
            assert isinstance(reader, AsgiReader)
            return reader
        finally:
            if not opened:
                self._engine.delivery.end(reader, DISCONNECTED)

    async def _join(self, reader: Subscription, presented: str | None, since: str | None) -> Start:
        """Find where the stream starts and count its reader in. Raises `_Refused`."""
        engine, request = self._engine, self._request
        try:
            asked = engine.asked(request.since, since)
        except ValueError as error:  # its text is meant for who asked
            raise _Refused(refuse(422, str(error))) from None
        try:
            start = await engine.starts.find(reader, presented, asked)
            if engine.draining:  # since then; the others have been sent away already
                raise _Refused(refuse(503, "not open for streams now", RETRY_AFTER_SECONDS))
            engine.begin(reader, start)
        except TooManyReaders as error:
            engine.observer.refused(error.scope)
            raise _Refused(refuse(error.status, "too many streams", error.retry_after_seconds)) from None
        except JournalError as error:
            logger.error("a stream is refused, the journal does not answer: %s", error)
            engine.observer.refused("journal")
            raise _Refused(refuse(503, "not available now", RETRY_AFTER_SECONDS)) from None
        return start

    async def _hand_over(self, reader: SocketReader, offer: Offer, hello: bytes) -> bool:
        """Have Clarion write to the socket itself from now on. Whether that is so, or the stream is over."""
        sockets = self._engine.sockets
        fd = await offer.take(hello)
        if fd is None or sockets is None:
            return False
        if reader.state is State.CLOSED:  # it was sent away meanwhile
            sockets.dismiss(reader, fd)
            return True
        try:
            sockets.adopt(reader, fd)
        except OSError as error:
            logger.warning("client %s went while its connection was taken over: %s", reader.id, error)
            os.close(fd)
            self._engine.delivery.end(reader, DISCONNECTED)
            return True
        self._engine.delivery.ready(reader)
        return True

    def _on_asgi(self, reader: SocketReader) -> AsgiReader:
        other = self._asgi_reader()
        if reader.state is State.CLOSED:
            other.state, other.reason, other.bye = State.CLOSED, reader.reason, reader.unsaid
        else:
            self._engine.move(reader, other)
        return other

    def _asgi_reader(self) -> AsgiReader:
        audience = self._engine.audiences.of(self._request.topics, self._engine.asgi, self._request.interval_ms)
        reader = AsgiReader(self._client_id, self._request.user, audience, 0, 0)
        if self._scope["http_version"][:1] in ("2", "3"):
            reader.budget_bytes = MULTIPLEXED_BYTES
        self._describe(reader)
        return reader

    def _socket_reader(self) -> Subscription:
        sockets = self._engine.sockets
        if sockets is None:
            return self._asgi_reader()
        audience = self._engine.audiences.of(self._request.topics, sockets.lane, self._request.interval_ms)
        reader = SocketReader(self._client_id, self._request.user, audience, 0, 0)
        self._describe(reader)
        return reader

    def _describe(self, reader: Subscription) -> None:
        request, clock = self._request, self._engine.clock
        reader.address = _address(self._scope)
        reader.meta = request.meta
        reader.heartbeat_ms = round(request.heartbeat_seconds * 1000)
        now_ms = clock.monotonic_ms()
        if request.max_age_seconds is not None:
            reader.deadline_ms, reader.deadline_reason = now_ms + round(request.max_age_seconds * 1000), LIMIT
        if request.expires_at_ms is not None:
            due_ms = now_ms + request.expires_at_ms - clock.wall_ms()
            if reader.deadline_ms is None or due_ms < reader.deadline_ms:
                reader.deadline_ms, reader.deadline_reason = due_ms, EXPIRED


def _address(scope: Scope) -> str | None:
    client = scope.get("client")
    return sys.intern(client[0]) if client else None


def _presented(scope: Scope) -> tuple[str | None, str | None]:
    """What the client presents: its last event id, and a start choice. The header is newer than a query."""
    last_event_id: str | None = None
    since: str | None = None
    try:
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), max_num_fields=MAX_QUERY_FIELDS))
    except ValueError:
        query = {}
    for name in LAST_EVENT_ID_QUERIES:
        last_event_id = last_event_id or query.get(name)
    since = query.get("since") or None
    for name, value in scope["headers"]:
        if name == LAST_EVENT_ID and value:
            last_event_id = value.decode("utf-8", "replace")
    return last_event_id, since

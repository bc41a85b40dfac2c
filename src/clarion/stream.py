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

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from clarion.engine import Engine
from clarion.errors import JournalError, TooManyReaders
from clarion.limits import RETRY_AFTER_SECONDS
from clarion.position import parse
from clarion.retention import parse_since
from clarion.sinks.asgi import AsgiReader
from clarion.sinks.socket import SocketReader
from clarion.subscription import DISCONNECTED, EXPIRED, LIMIT, STALLED, State, Subscription
from clarion.takeover import EXTENSION, Offer
from clarion.topics import TopicSet

LAST_EVENT_ID: Final = b"last-event-id"
LAST_EVENT_ID_QUERIES: Final = ("last_event_id", "lastEventId", "Last-Event-ID")
MAX_QUERY_FIELDS: Final = 1_000  # more are not looked at
HEADERS: Final = {
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx and what follows it: do not hold events back
}

logger = logging.getLogger("clarion.hub")


class Request(NamedTuple):
    """What the app asks for with `hub.stream`."""

    topics: TopicSet
    user: str | None
    since: Any
    expires_at_ms: int | None
    heartbeat_seconds: float
    max_age_seconds: float | None
    meta: Any


class StreamResponse(Response):
    """The response that `Hub.stream` returns. Answers HEAD, refuses with real HTTP statuses, or streams."""

    media_type = "text/event-stream"

    def __init__(self, engine: Engine | None, request: Request, headers: Mapping[str, str] | None = None) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({**HEADERS, **(headers or {})})
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
            try:
                await _Streaming(self._engine, self._request, scope, receive, send).run(self, presented, since)
            except _Refused as refused:
                await refused.response(scope, receive, send)
        if self.background is not None:
            await self.background()

    async def send_head(self, send: Send) -> None:
        """Send the status and the headers."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

    def _refusal(self, scope: Scope, presented: str | None) -> Response | None:
        engine = self._engine
        if engine is None or engine.draining:
            if engine is not None:
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


class _Streaming:
    """One stream, from its admission until it is over or its socket is all that is left of it."""

    def __init__(self, engine: Engine, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        self._engine = engine
        self._request = request
        self._scope = scope
        self._receive = receive
        self._send = send
        self._client_id = engine.client_id()

    async def run(self, response: StreamResponse, presented: str | None, since: str | None) -> None:
        offer: Offer | None = (self._scope.get("extensions") or {}).get(EXTENSION)
        reader = self._asgi_reader() if offer is None else self._socket_reader()
        try:
            hello = await self._join(reader, presented, since)
            await response.send_head(self._send)
            await self._send({"type": "http.response.body", "body": hello, "more_body": True})
            if offer is not None:
                if isinstance(reader, SocketReader):
                    if await self._hand_over(reader, offer, hello):
                        return
                    reader = self._on_asgi(reader)
                offer.on_shutdown(self._engine.begin_drain)
            assert isinstance(reader, AsgiReader)
            await self._serve(reader)
        finally:
            if not (isinstance(reader, SocketReader) and reader.fd >= 0):
                self._engine.delivery.end(reader, DISCONNECTED)

    async def _join(self, reader: Subscription, presented: str | None, since: str | None) -> bytes:
        """Find where the stream starts and count its reader in. Returns the first bytes."""
        engine, request = self._engine, self._request
        try:
            asked = parse_since(request.since if since is None else since, engine.clock.wall_ms())
            start = await engine.starts.find(reader, presented, asked)
            reader.cursor = start.cursor
            engine.join(reader)
        except ValueError as error:
            raise _Refused(refuse(422, str(error))) from None
        except TooManyReaders as error:
            engine.observer.refused(error.scope)
            raise _Refused(refuse(error.status, "too many streams", error.retry_after_seconds)) from None
        except JournalError as error:
            logger.error("a stream is refused, the journal does not answer: %s", error)
            engine.observer.refused("journal")
            raise _Refused(refuse(503, "not available now", RETRY_AFTER_SECONDS)) from None
        await engine.callbacks.connected(engine.client(reader))
        return engine.hello(reader, start.mode, start.gap, start.missed, presented)

    async def _hand_over(self, reader: SocketReader, offer: Offer, hello: bytes) -> bool:
        """Have Clarion write to the socket itself from now on. Whether that is so, or the stream is over."""
        sockets = self._engine.sockets
        fd = await offer.take(hello)
        if fd is None or sockets is None:
            return False
        if reader.state is State.CLOSED:
            os.close(fd)
            return True
        try:
            sockets.adopt(reader, fd)
        except OSError as error:
            logger.warning("client %s went while its connection was taken over: %s", reader.id, error)
            os.close(fd)
            return True
        self._engine.delivery.ready(reader)
        return True

    def _on_asgi(self, reader: SocketReader) -> AsgiReader:
        other = self._asgi_reader()
        if reader.state is State.CLOSED:
            other.state, other.reason = State.CLOSED, reader.reason
        else:
            self._engine.move(reader, other)
        return other

    async def _serve(self, reader: AsgiReader) -> None:
        """Write through the server's `send` until the stream is over."""
        reader.task = asyncio.current_task()
        assert reader.task is not None
        self._engine.writers.add(reader.task)
        listening = asyncio.create_task(self._listen(reader))
        try:
            await self._engine.asgi.serve(reader, self._write)
            if reader.reason != DISCONNECTED:
                await self._send({"type": "http.response.body", "body": reader.bye or b"", "more_body": False})
        except OSError:
            pass  # the client is gone; ASGI servers may say so from `send`
        except asyncio.CancelledError:
            if reader.reason != STALLED or reader.task.uncancel():
                raise
        finally:
            self._engine.writers.discard(reader.task)
            listening.cancel()

    async def _listen(self, reader: AsgiReader) -> None:
        """Wait for the client to go away."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._engine.delivery.gone(reader, DISCONNECTED)

    async def _write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    def _asgi_reader(self) -> AsgiReader:
        audience = self._engine.audiences.of(self._request.topics, self._engine.asgi)
        reader = AsgiReader(self._client_id, self._request.user, audience, 0, 0)
        self._describe(reader)
        return reader

    def _socket_reader(self) -> Subscription:
        sockets = self._engine.sockets
        if sockets is None:
            return self._asgi_reader()
        audience = self._engine.audiences.of(self._request.topics, sockets.lane)
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
        last_event_id = query.get(name) or last_event_id
    since = query.get("since") or None
    for name, value in scope["headers"]:
        if name == LAST_EVENT_ID and value:
            last_event_id = value.decode("utf-8", "replace")
    return last_event_id, since

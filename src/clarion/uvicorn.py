"""An HTTP protocol for uvicorn that hands streams over: `uvicorn module:app --http clarion.uvicorn:Protocol`.

The one file that knows uvicorn. It is a subclass of uvicorn's httptools protocol, chosen by uvicorn's own option;
nothing of uvicorn is patched. When a stream's first bytes have been written, the connection's descriptor is
duplicated, uvicorn is told that the connection is gone, and its transport closes the original descriptor only.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from clarion.sinks.bounds import set_peer_timeouts
from clarion.takeover import EXTENSION

WRITTEN_SECONDS: Final = 2.0  # how long a stream waits for middleware to let its first bytes through
SHUTDOWN_SECONDS: Final = 3.0  # for a reader to take its last bytes; uvicorn would wait for a frozen one for ever
FLUSH_TURNS: Final = 50  # of the loop, for the transport to write them

Message = dict[str, Any]


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with an offer to hand the connection over in every request's scope."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._app = self.app
        self.app = self._offering
        self._offer: ConnectionOffer | None = None
        self._streams = False  # a stream runs here, or ran and its last bytes may still be unsent

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and isinstance(transport.get_extra_info("peername"), tuple):
            set_peer_timeouts(sock)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.app = self._app  # no cycle of references: the connection is freed at once
        if self._offer is not None:
            self._offer.lost()

    def shutdown(self) -> None:
        """uvicorn stops: say so to a stream that runs on this connection, since uvicorn waits for its end."""
        if self._offer is not None and self._offer.shutdown_callback is not None:
            self._offer.shutdown_callback()
        super().shutdown()
        if self._streams:
            self.loop.call_later(SHUTDOWN_SECONDS, self.transport.abort)

    def note_stream(self) -> None:
        """A stream runs on this connection, and is not taken over."""
        self._streams = True

    async def _offering(self, scope: Any, receive: Any, send: Any) -> None:
        """The app as uvicorn calls it, outside of all middleware."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        offer = self._offer = ConnectionOffer(self, send, encrypted=scope["scheme"] != "http")
        scope.setdefault("extensions", {})[EXTENSION] = offer
        try:
            await self._app(scope, receive, offer.send)
        finally:
            self._offer = None
            scope["extensions"].pop(EXTENSION, None)


class ConnectionOffer:
    """The offer to hand over one connection. See `clarion.takeover.Offer`."""

    def __init__(self, protocol: Protocol, send: Any, *, encrypted: bool) -> None:
        self.shutdown_callback: Callable[[], None] | None = None
        self._protocol = protocol
        # Not `protocol.cycle`: that is the newest request's, and a client may send several at once (pipelining).
        self._cycle: RequestResponseCycle = send.__self__
        self._send = send
        self._written = asyncio.Event()
        self._body = b""
        self._plain = not encrypted  # and nothing encodes the body on its way
        self._taken = False

    async def send(self, message: Message) -> None:
        """What the server's `send` is for the app: notes what was really written, and is silent once it is taken."""
        if self._taken:
            return
        await self._send(message)
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            self._plain = self._plain and b"content-encoding" not in names
        elif not self._written.is_set() and message.get("body"):
            self._body = message["body"]
            self._written.set()

    def lost(self) -> None:
        """The connection is gone."""
        self._written.set()

    def on_shutdown(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when uvicorn shuts down while this request runs."""
        self.shutdown_callback = callback
        self._protocol.note_stream()

    async def take(self, first: bytes) -> int | None:
        try:
            async with asyncio.timeout(WRITTEN_SECONDS):
                await self._written.wait()
        except TimeoutError:
            return None
        transport = self._protocol.transport
        if not self._plain or self._body != first or not await self._is_flushed(transport):
            return None
        cycle = self._cycle
        if cycle.disconnected or cycle.more_body or cycle.response_complete or transport.is_closing():
            return None
        if not cycle.chunked_encoding:
            return None
        try:
            fd = os.dup(transport.get_extra_info("socket").fileno())
        except OSError:  # no descriptor is left: it stays with the server
            return None
        self._taken = True
        cycle.disconnected = True
        self._protocol.server_state.total_requests += 1
        transport.abort()
        return fd

    async def _is_flushed(self, transport: asyncio.Transport) -> bool:
        """Whether the transport has given everything to the socket; loops write at their next turn."""
        for _ in range(FLUSH_TURNS):
            if transport.is_closing() or self._cycle.disconnected:
                return False
            if not transport.get_write_buffer_size():
                return True
            await asyncio.sleep(0)
        return False

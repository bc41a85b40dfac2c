"""An ASGI app called as a server calls it, in the test's own loop: nothing between, nothing buffered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from clarion.parser import Message, Parser

SECONDS = 10


async def until(condition: Callable[[], Any]) -> None:
    """Wait until it is true; each turn of the loop counts, so nothing is slept over."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - conditions of any kind
            await asyncio.sleep(0)


class Exchange:
    """One request and what comes back."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = b""
        self.complete = False
        self.hung = asyncio.Event()  # set: the client is gone
        self.task: asyncio.Task[None] | None = None
        self._parser = Parser()
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self._asked = False

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.hung.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            assert self.status is None
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        assert self.status is not None
        assert not self.complete
        self.body += message.get("body", b"")
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            for one in self._parser.feed(message.get("body", b"")):
                self._messages.put_nowait(one)
        if not message.get("more_body", False):
            self.complete = True
            self._messages.put_nowait(None)

    async def next(self) -> Message | None:
        """The next event, None at the end of the response."""
        async with asyncio.timeout(SECONDS):
            return await self._messages.get()

    async def until(self, kind: str) -> list[Message]:
        """The events up to the next of a type, that one included."""
        found: list[Message] = []
        while message := await self.next():
            found.append(message)
            if message.type == kind:
                return found
        raise AssertionError(f"the stream ended without {kind}: {found}")

    async def connected(self) -> dict[str, Any]:
        message = await self.next()
        assert message is not None
        assert message.type == "connected"
        data: dict[str, Any] = json.loads(message.data)
        return data

    async def bye(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((await self.until("bye"))[-1].data)
        assert await self.next() is None
        return data

    async def end(self) -> None:
        """Wait for the end of the app's coroutine; raises what it raised."""
        assert self.task is not None
        async with asyncio.timeout(SECONDS):
            await self.task

    async def hang_up(self) -> None:
        """Go away, as a client does."""
        self.hung.set()
        await self.end()

    @property
    def last_event_id(self) -> str:
        return self._parser.last_event_id


def request(
    app: Any,
    path: str = "/",
    *,
    method: str = "GET",
    query: bytes = b"",
    headers: Sequence[tuple[bytes, bytes]] = (),
    address: str | None = "127.0.0.1",
    extensions: Any = None,
) -> Exchange:
    """Begin a request."""
    exchange = Exchange()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query,
        "headers": list(headers),
        "client": None if address is None else (address, 12345),
        "server": ("127.0.0.1", 80),
        "extensions": extensions or {},
        "state": {},
    }
    exchange.task = asyncio.get_running_loop().create_task(app(scope, exchange.receive, exchange.send))
    return exchange


async def answer(app: Any, **options: Any) -> Exchange:
    """A request whose response is no stream, with its whole response."""
    exchange = request(app, **options)
    await exchange.end()
    assert exchange.complete
    return exchange


@asynccontextmanager
async def stream(app: Any, **options: Any) -> AsyncIterator[Exchange]:
    """A stream; the client hangs up at the end."""
    exchange = request(app, **options)
    try:
        yield exchange
    finally:
        await exchange.hang_up()

"""Reading an event stream of an ASGI app in process: no server, no socket, and nothing that hangs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final, Self
from urllib.parse import unquote, urlencode

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Scope

from clarion import json
from clarion.local import Received
from clarion.parser import Parser
from clarion.testing.lifespan import running

SKIPPED: Final = ("connected", "heartbeat")  # what a Clarion stream says of itself, and few tests are about
OPEN_SECONDS: Final = 5.0  # for the app to begin its answer
LEAVE_SECONDS: Final = 5.0  # for the app to end once its reader has gone
FIRST_BYTES_TURNS: Final = 100  # of the event loop, for the first bytes to come through middleware
MAX_UNREAD_EVENTS: Final = 10_000  # then the app's `send` waits, as it would for a slow client
TOLD_EVENTS: Final = 10  # the newest events, told when the one that was awaited does not come
TOLD_CHARS: Final = 200

Params = Mapping[str, str | Sequence[str]]


class StreamEnded(EOFError):
    """The stream has ended, and what was awaited cannot come any more."""


class Events:
    """A stream that is being read. For one task at a time.

    status, headers: of the response. connected: what Clarion's `connected` event said (`clientId`, `mode`, ...), or
    None if there was none yet. body: the first bytes of an answer that is not an event stream, such as a refusal's.
    """

    def __init__(self, app: ASGIApp, scope: Scope, skip: Collection[str]) -> None:
        self.status = 0
        self.headers = Headers()
        self.connected: dict[str, Any] | None = None
        self.body = b""
        self._app = app
        self._scope = scope
        self._skip = frozenset(skip)
        self._parser = Parser()
        self._unread: deque[Received] = deque()
        self._told: deque[str] = deque(maxlen=TOLD_EVENTS)
        self._count = 0
        self._complete = False
        self._asked = False
        self._gone = asyncio.Event()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._reported = False

    # For tests.

    @property
    def ended(self) -> bool:
        """Whether the app has ended the stream; events that came before may still be unread."""
        return self._complete or (self._task is not None and self._task.done())

    async def next(self, timeout: float = 1.0, *, skip: Collection[str] | None = None) -> Received:
        """The next event, within so many seconds.

        skip: event types to pass over, instead of those given to `read_events`; `()` for none.

        Raises `TimeoutError`, which says what came instead; `StreamEnded` if there will be no more; and what the app
        itself raised.
        """
        skipped = self._skip if skip is None else skip
        try:
            async with asyncio.timeout(timeout):
                while True:
                    received = await self._take()
                    if received.type not in skipped:
                        return received
        except TimeoutError:
            raise TimeoutError(f"no event within {timeout} s. {self._story()}") from None

    async def none(self, seconds: float) -> None:
        """Wait so long and see that no event comes (those that are skipped aside).

        Raises `AssertionError` if one does, and `StreamEnded` if the stream ends meanwhile.
        """
        try:
            received = await self.next(seconds)
        except TimeoutError:
            return
        raise AssertionError(f"an event came within {seconds} s: {_shown(received)}")

    async def end(self, timeout: float = 1.0) -> list[Received]:
        """Wait for the app to end the stream. Returns the events that came before, those that are skipped left out."""
        rest: list[Received] = []
        try:
            async with asyncio.timeout(timeout):
                while True:
                    received = await self._take()
                    if received.type not in self._skip:
                        rest.append(received)
        except StreamEnded:
            return rest
        except TimeoutError:
            raise TimeoutError(f"the stream did not end within {timeout} s. {self._story()}") from None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        """The next event, however long it takes, until the stream ends."""
        while True:
            try:
                received = await self._take()
            except StreamEnded:
                raise StopAsyncIteration from None
            if received.type not in self._skip:
                return received

    # The client's side of the connection.

    async def open(self) -> None:
        """Send the request and wait for the head of the answer. `read_events` does it."""
        self._task = asyncio.create_task(self._app(self._scope, self._receive, self._send))  # type: ignore[arg-type]
        self._task.add_done_callback(lambda _: self._news.set())
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                while not self.status and not self._task.done():
                    await self._wait()
        except TimeoutError:
            raise TimeoutError(f"the app did not answer {self._scope['path']} within {OPEN_SECONDS} s") from None
        for _ in range(FIRST_BYTES_TURNS):
            if self._count or self.body or self.ended:
                break
            await asyncio.sleep(0)
        if self._task.done():
            self._raise_what_the_app_raised()
            if not self.status:
                raise RuntimeError(f"the app returned without an answer to {self._scope['path']}")

    async def leave(self) -> None:
        """Hang up, and wait until the app has noticed. Raises what the app raised, unless that was told before."""
        assert self._task is not None
        self._gone.set()
        self._room.set()
        _, stuck = await asyncio.wait([self._task], timeout=LEAVE_SECONDS)
        if stuck:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=LEAVE_SECONDS)
            raise TimeoutError(f"the app still ran {LEAVE_SECONDS} s after its reader had gone, and was cancelled")
        error = None if self._task.cancelled() else self._task.exception()
        if isinstance(error, OSError | ClientDisconnect):  # from `send`, or made of it
            self._reported = True
        self._raise_what_the_app_raised()

    async def _take(self) -> Received:
        while not self._unread:
            if self.ended:
                self._raise_what_the_app_raised()
                raise StreamEnded(f"there will be no more events. {self._story()}")
            await self._wait()
        self._room.set()
        return self._unread.popleft()

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()

    def _raise_what_the_app_raised(self) -> None:
        task = self._task
        if self._reported or task is None or not task.done() or task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._reported = True
            raise error

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        # A server's `send` gives the loop a turn now and then, and raises once its client is gone (ASGI 2.4).
        await asyncio.sleep(0)
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = Headers(raw=list(message.get("headers", ())))
        elif message["type"] == "http.response.body":
            self._read(message.get("body", b""))
            self._complete = self._complete or not message.get("more_body", False)
        self._news.set()
        while len(self._unread) >= MAX_UNREAD_EVENTS and not self._gone.is_set():
            self._room.clear()
            await self._room.wait()
        if self._gone.is_set():
            raise OSError("the client has gone")

    def _read(self, data: bytes) -> None:
        if not self.headers.get("content-type", "").startswith("text/event-stream"):
            self.body += data
            return
        for message in self._parser.feed(data):
            received = Received(message.last_event_id, message.type, message.topic, message.data, message.change)
            self._count += 1
            self._told.append(_shown(received))
            self._unread.append(received)
            if message.type == "connected" and self.connected is None:
                self.connected = _object(message.data)

    def _story(self) -> str:
        """What the stream has given so far, for whoever expected something else."""
        if self.body or not self.headers.get("content-type", "").startswith("text/event-stream"):
            return f"The answer is no event stream: status {self.status}, {self.body[:TOLD_CHARS]!r}"
        state = "has ended" if self.ended else "is open"
        if not self._count:
            return f"The stream {state} and has given no event"
        more = "the last of them " if self._count > len(self._told) else ""
        return f"The stream {state} and has given {self._count} in all, {more}in order: {', '.join(self._told)}"


@asynccontextmanager
async def read_events(
    app: ASGIApp,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    params: Params | None = None,
    last_event_id: str | None = None,
    lifespan: bool = True,
    skip: Collection[str] = SKIPPED,
    client: tuple[str, int] = ("127.0.0.1", 50_000),
) -> AsyncGenerator[Events]:
    """Read an event stream of an ASGI app, of Clarion's or any other, inside a test.

        async with read_events(app, "/events") as events:
            await hub.publish("news", {"n": 1})
            event = await events.next(timeout=1)
            assert event.data == {"n": 1}

    Entering waits for the head of the answer; leaving hangs up, and waits until the app has noticed.

    params: more for the query of `path`; a list gives a name several times. last_event_id: sent as the header.
    lifespan: have the app's lifespan run meanwhile; streams of the same app that are read at the same time share it,
    also with `running(app)`. False if something else has started the app.
    skip: event types that `next` passes over. client: the address that the app sees.

    Raises what the app raises, on entering, in `next` or on leaving; `TimeoutError` if it does not answer, or does not
    end after its reader has gone.
    """
    async with AsyncExitStack() as stack:
        state = await stack.enter_async_context(running(app)) if lifespan else {}
        events = Events(app, _scope(path, headers, params, last_event_id, client, state), skip)
        try:
            await events.open()
            yield events
        except BaseException:
            with suppress(Exception):  # what came first is what is told
                await events.leave()
            raise
        else:
            await events.leave()


def _scope(
    path: str,
    headers: Mapping[str, str] | None,
    params: Params | None,
    last_event_id: str | None,
    client: tuple[str, int],
    state: dict[str, Any],
) -> Scope:
    path, _, query = path.partition("?")
    if params:
        query = "&".join(filter(None, (query, urlencode(params, doseq=True))))
    told = {"host": "testserver", "accept": "text/event-stream"}
    if last_event_id is not None:
        told["last-event-id"] = last_event_id
    told.update({name.lower(): value for name, value in (headers or {}).items()})
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},  # with 2.4 Starlette would not listen for the disconnect
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in told.items()],
        "client": client,
        "server": ("testserver", 80),
        "state": state.copy(),
        "extensions": {},
    }


def _shown(received: Received) -> str:
    text = received.text if len(received.text) <= TOLD_CHARS else received.text[:TOLD_CHARS] + "..."
    return f"{received.type} {text}" if received.topic is None else f"{received.type} on {received.topic} {text}"


def _object(text: str) -> dict[str, Any] | None:
    try:
        said = json.decode(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None

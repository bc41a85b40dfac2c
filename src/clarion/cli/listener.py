"""Listening: connect, read, notice that the stream is dead, wait, resume (spec/stream.md, section 9)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from clarion import json
from clarion.cli.show import printable
from clarion.cli.web import told
from clarion.parser import Message, MessageTooLarge, Parser

OPEN_SECONDS: Final = 30.0  # for a server to begin its answer
RETRY_MS: Final = 3_000  # until a stream says another
MAX_RETRY_SECONDS: Final = 30.0  # between attempts that fail again and again, unless the stream asks for more
MAX_DOUBLINGS: Final = 10
JITTER: Final = 0.25  # of a wait, on top of it
SILENT_HEARTBEATS: Final = 2  # without a byte: the connection is dead
REFUSAL_BYTES: Final = 64 * 1024  # read of a refusal's body


class Stop(Exception):
    """There is nothing to come back for. code: the exit status."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Lost(Exception):
    """The stream broke or could not be had now. at_least_seconds: what the server asks to wait."""

    def __init__(self, why: str, at_least_seconds: float = 0.0) -> None:
        super().__init__(why)
        self.at_least_seconds = at_least_seconds


class Listener:
    """Reads a stream, over any number of connections, until it is over for good.

    show: gets each event, those left out that the stream says of itself (but a gap is shown). tell: gets a line about
    the connection. sleep, uniform: for tests.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        params: Sequence[tuple[str, str]] = (),
        last_event_id: str = "",
        show: Callable[[Message], None],
        tell: Callable[[str], None],
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._client = client
        self._url = httpx.URL(url)
        for name, value in params:
            self._url = self._url.copy_add_param(name, value)
        self._headers = [(b"accept", b"text/event-stream"), (b"accept-encoding", b"identity"), *headers]
        self._last_event_id = last_event_id
        self._show = show
        self._tell = tell
        self._sleep = sleep
        self._uniform = uniform
        self._retry_ms = RETRY_MS
        self._failures = 0  # in a row
        self._silence_seconds: float | None = None  # after which the stream is dead; None: it did not say

    async def run(self) -> int:
        """Read until the stream is over for good. Returns the exit status."""
        while True:
            try:
                await self._read_once()
                lost = Lost("the stream broke off")
            except Stop as stop:
                self._tell(str(stop))
                return stop.code
            except Lost as error:
                lost = error
            except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
                self._tell(f"this cannot be asked for: {error}")
                return 1
            except httpx.RequestError as error:
                lost = Lost(str(error) or type(error).__name__)
            seconds = self._wait_seconds(lost)
            self._failures += 1
            self._tell(f"{lost}; again in {seconds:.1f} s")
            await self._sleep(seconds)

    def _wait_seconds(self, lost: Lost) -> float:
        retry = self._retry_ms / 1000
        doubled = min(retry * (1 << min(self._failures, MAX_DOUBLINGS)), max(retry, MAX_RETRY_SECONDS))
        return max(doubled, lost.at_least_seconds) * self._uniform(1.0, 1.0 + JITTER)

    async def _read_once(self) -> None:
        headers = list(self._headers)
        if self._last_event_id:
            headers.append((b"last-event-id", self._last_event_id.encode()))
        request = self._client.build_request("GET", self._url, headers=headers)
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                response = await self._client.send(request, stream=True, follow_redirects=True)
        except TimeoutError:
            raise Lost(f"no answer within {OPEN_SECONDS:.0f} s") from None
        try:
            await _judge(response)
            await self._read(response)
        finally:
            await response.aclose()

    async def _read(self, response: httpx.Response) -> None:
        parser = Parser(last_event_id=self._last_event_id)
        chunks = response.aiter_bytes()
        while True:
            try:
                async with asyncio.timeout(self._silence_seconds):
                    data = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise Lost(f"not a byte for {self._silence_seconds:.0f} s, the connection is dead") from None
            try:
                for message in self._messages(parser, data):
                    self._take(message)
            finally:
                self._last_event_id = parser.last_event_id
                self._retry_ms = self._retry_ms if parser.retry_milliseconds is None else parser.retry_milliseconds

    def _messages(self, parser: Parser, data: bytes) -> list[Message]:
        messages: list[Message] = []
        while True:
            try:
                return messages + parser.feed(data)
            except MessageTooLarge as error:
                self._tell(f"an event is skipped: {error}")
                messages += error.messages
                data = b""

    def _take(self, message: Message) -> None:
        self._failures = 0
        if message.topic is None and message.type in ("connected", "heartbeat", "bye"):
            said = _object(message.data)
            if message.type == "connected" and "clientId" in said:
                heartbeat = said.get("heartbeat")
                if isinstance(heartbeat, int):
                    self._silence_seconds = SILENT_HEARTBEATS * heartbeat / 1000 or None
                self._tell(f"connected ({printable(str(said.get('mode')))})")
                return
            if message.type == "heartbeat" and "timestamp" in said:
                return
            if message.type == "bye" and "reason" in said:
                self._bye(printable(str(said["reason"])), printable(str(said.get("detail") or "")))
        self._show(message)

    def _bye(self, reason: str, detail: str) -> None:
        if reason == "done":
            raise Stop(0, "the stream is complete")
        if reason == "kicked":
            raise Stop(1, f"the server has ended this stream{': ' if detail else ''}{detail}")
        raise Lost(f"the server says bye ({reason})")


async def _judge(response: httpx.Response) -> None:
    """Go on with an event stream; else raise what has to be done."""
    status, kind = response.status_code, response.headers.get("content-type", "")
    if status == 200 and kind.partition(";")[0].strip().lower() == "text/event-stream":
        return
    if status == 204:
        raise Stop(0, "the stream is complete (204)")
    if status == 200:
        raise Stop(1, f"this is no event stream, but {printable(kind) or 'of no named kind'}")
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > REFUSAL_BYTES:
            break
    line = told(status, response.reason_phrase, body)
    if status == 429 or status >= 500:
        raise Lost(line, _retry_after(response.headers.get("retry-after", "")))
    raise Stop(1, f"refused: {line}")


def _retry_after(text: str) -> float:
    """`Retry-After`, in seconds from now: a number of them or a date (RFC 9110 section 10.2.3)."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        due = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (due.replace(tzinfo=due.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _object(text: str) -> dict[str, Any]:
    try:
        said = json.decode(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}

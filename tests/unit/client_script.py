"""A source in a test: a transport that answers from a script, a clock that is turned by hand, and no chance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from clarion.client import AsyncSource
from clarion.client.received import ReceivedEvent, Status
from clarion.client.request import Request
from clarion.testing import ManualClock

SECONDS = 10  # for what takes no time
URL = "http://hub.test/events"
TYPE = ("content-type", "text/event-stream")


class Hang:
    """The server says nothing more. `ends` tells what the script knows of it."""

    def __repr__(self) -> str:
        return "HANG"


HANG = Hang()
EMPTY: tuple[Any, ...] = ()


def connected(
    id: str = "k3v9-4",  # noqa: A002
    *,
    mode: str = "live",
    heartbeat: int = 0,
    retry: int | None = None,
    values: str | None = "all",
) -> bytes:
    """The first frame of a hub's stream."""
    told = "" if values is None else f',"values":"{values}"'
    said = f'{{"clientId":"c1","mode":"{mode}","from":"{id}","to":"{id}","heartbeat":{heartbeat}{told}}}'
    first = "" if retry is None else f"retry: {retry}\n"
    return f"{first}id: {id}\nevent: connected\ndata: {said}\n\n".encode()


def event(number: int, data: str | None = None, *, type: str | None = None, topic: str = "news") -> bytes:  # noqa: A002
    """An event at an offset; its data is that number, unless there is other."""
    named = "" if type is None else f"event: {type}\n"
    return f"id: k3v9-{number}\n{named}topic: {topic}\ndata: {number if data is None else data}\n\n".encode()


def change(id: str, what: str, data: str, *, topic: str = "task") -> bytes:  # noqa: A002
    """A change of a topic's value."""
    name = "value" if what == "set" else f"value.{what}"
    return f"id: {id}\nevent: {name}\ntopic: {topic}\nchange: {what}\ndata: {data}\n\n".encode()


def gap(id: str, reason: str = "expired", missed: str = "4") -> bytes:  # noqa: A002
    said = f'{{"reason":"{reason}","requested":"k3v9-1","oldest":"k3v9-9","missed":{missed}}}'
    return f"id: {id}\nevent: gap\ndata: {said}\n\n".encode()


def bye(reason: str, retry: int = 1000, *, id: str | None = None, detail: str | None = None) -> bytes:  # noqa: A002
    named = "" if id is None else f"id: {id}\n"
    more = "" if detail is None else f',"detail":"{detail}"'
    return f'retry: {retry}\n{named}event: bye\ndata: {{"reason":"{reason}","retry":{retry}{more}}}\n\n'.encode()


def heartbeat(id: str) -> bytes:  # noqa: A002
    return f'id: {id}\nevent: heartbeat\ndata: {{"timestamp":1}}\n\n'.encode()


class Reply:
    """One answer: a status, headers, and the parts of its body. A part may be bytes, `HANG`, an error, or a call."""

    def __init__(self, *parts: Any, status: int = 200, headers: Sequence[tuple[str, str]] = (TYPE,)) -> None:
        self.status = status
        self.closed = False
        self._parts = parts
        self._headers = {name.lower(): value for name, value in headers}

    def header(self, name: str) -> str | None:
        return self._headers.get(name.lower())

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        for part in self._parts:
            if part is HANG:
                await asyncio.Event().wait()
            elif isinstance(part, Exception):
                raise part
            elif isinstance(part, bytes):
                yield part
            else:
                part()

    async def aclose(self) -> None:
        self.closed = True


def refuse(status: int, *parts: Any, **headers: str) -> Reply:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Reply(*parts, status=status, headers=named)


class Script:
    """A transport: the answers in order. After the last one nobody answers."""

    def __init__(self, *replies: Any) -> None:
        self.requests: list[Request] = []
        self.replies = list(replies)
        self.given: list[Reply] = []
        self.closed = False

    async def send(self, request: Request) -> Reply:
        self.requests.append(request)
        reply: Any = self.replies.pop(0) if self.replies else HANG
        if reply is HANG:
            await asyncio.Event().wait()
        if isinstance(reply, Exception):
            raise reply
        assert isinstance(reply, Reply)
        self.given.append(reply)
        return reply

    async def aclose(self) -> None:
        self.closed = True

    @property
    def ids(self) -> list[str | None]:
        """The last event ids that were sent."""
        headers = [request.header("last-event-id") for request in self.requests]
        return [None if value is None else value.decode() for value in headers]


class World:
    """A source, its script and its clock; and what it told."""

    def __init__(self, *replies: Any, chance: float = 0.0, url: str = URL, **options: Any) -> None:
        self.script = Script(*replies)
        self.clock = ManualClock()
        self.errors: list[Any] = []
        self.gaps: list[Any] = []
        self.statuses: list[Status] = []
        self.source = AsyncSource(url, transport=self.script, clock=self.clock, random=lambda: chance, **options)
        self.source.on_error(self.errors.append)
        self.source.on_gap(self.gaps.append)
        self.source.on_status(self.statuses.append)

    @property
    def waits(self) -> list[float | None]:
        """How long it waited between attempts, as it said."""
        return [status.delay_seconds for status in self.statuses if status.state == "waiting"]

    @property
    def reasons(self) -> list[str]:
        return [status.reason for status in self.statuses if status.reason]

    async def read(self, count: int) -> list[ReceivedEvent]:
        """So many events; the clock runs whenever nothing happens."""
        events: list[ReceivedEvent] = []
        while len(events) < count:
            events.append(await self.next())
        return events

    async def next(self) -> ReceivedEvent:
        return await self.run(anext(self.source))

    async def rest(self) -> list[ReceivedEvent]:
        """All events up to the end."""

        async def collect() -> list[ReceivedEvent]:
            return [event async for event in self.source]

        return await self.run(collect())

    async def run(self, work: Any) -> Any:
        """Await something while time passes: as soon as nothing can happen without, to the next timer."""
        task = asyncio.ensure_future(work)
        async with asyncio.timeout(SECONDS):
            while not task.done():
                before = len(self.script.requests)
                await idle()
                if not task.done() and before == len(self.script.requests) and self.source.status.state == "waiting":
                    self.clock.advance((self.source.status.delay_seconds or 0) + 0.001)
        return task.result()


async def idle(turns: int = 20) -> None:
    """Let everything happen that needs no time."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def until(condition: Callable[[], Any]) -> None:
    """Wait until it is true; work in other threads may be part of it."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - conditions of any kind
            await asyncio.sleep(0)

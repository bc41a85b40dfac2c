"""A transport in the hands of a test: requests wait until they are answered, and bodies go on as they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from clarion.client.request import Request


class Answer:
    """What a request was answered with, and its body, in the hands of the network."""

    def __init__(self, status: int, **headers: str) -> None:
        self.status = status
        self.was_read = self.closed = False
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self._parts: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    def header(self, name: str) -> str | None:
        return self._headers.get(name)

    def say(self, part: bytes | Exception | None) -> None:
        """Bytes; or an error, where the connection breaks; or None, where the body ends."""
        self._parts.put_nowait(part)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        self.was_read = True
        while (part := await self._parts.get()) is not None:
            if isinstance(part, Exception):
                raise part
            yield part

    async def aclose(self) -> None:
        self.closed = True


class Wire:
    """A transport whose answers are given by a run. It keeps requests that nobody has answered."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Request, asyncio.Future[Answer]]] = []

    async def send(self, request: Request) -> Answer:
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting.append((request, answered))
        return await answered

    async def aclose(self) -> None:
        pass

    def next(self) -> tuple[Request, asyncio.Future[Answer]] | None:
        while self.waiting:
            request, answered = self.waiting.pop(0)
            if not answered.done():  # nor cancelled
                return request, answered
        return None

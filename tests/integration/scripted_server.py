"""A server that plays the cases of spec/vectors/http on real connections, and notes what a client asks wrongly."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.unit.test_vectors_parse import as_bytes, as_text

VECTORS: Final = Path(__file__).parents[2] / "spec" / "vectors" / "http"
STREAM: Final = {"content-type": "text/event-stream"}
BETWEEN_PIECES: Final = 5  # turns of the loop, so that each piece is a read of its own
BODILESS: Final = (204, 304)


def cases() -> list[tuple[str, dict[str, Any]]]:
    """All cases, each with a name for pytest."""
    files = sorted(VECTORS.glob("*.json"))
    return [(f"{file.stem}: {case['name']}", case) for file in files for case in json.loads(file.read_text())["cases"]]


class ScriptedServer:
    """Gives the answers of a case, in their order, on any number of connections.

    base: its address. asked: how many requests came. problems: what was wrong with them. activity: changes whenever
    something happens.
    """

    def __init__(self, case: dict[str, Any]) -> None:
        self.base = ""
        self.asked = 0
        self.problems: list[str] = []
        self.activity = 0
        self._path: str = case.get("path", "/events")
        self._exchanges: list[dict[str, Any]] = case["exchanges"]
        self._writers: list[asyncio.StreamWriter] = []
        self._serving: set[asyncio.Task[Any] | None] = set()

    @property
    def has_more(self) -> bool:
        """Whether another request is expected."""
        return self.asked < len(self._exchanges)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        while self._serving:  # noqa: ASYNC110 - they end with their connections
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        task = asyncio.current_task()
        self._serving.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, OSError):  # the client hung up
            pass
        finally:
            self.activity += 1
            self._serving.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer. Whether the connection can have another."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.activity += 1
        first, *lines = head.decode().removesuffix("\r\n\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        number = self.asked
        self.asked += 1
        if number >= len(self._exchanges):
            self.problems.append(f"nobody expects {first}")
            return False
        self._judge(self._exchanges[number]["expect"], first, headers, body.decode())
        return await self._give(self._exchanges[number]["answer"], reader, writer)

    def _judge(self, expected: dict[str, Any], first: str, headers: dict[str, str], body: str) -> None:
        method, path, _ = first.split(" ")
        wanted = {
            name: None if value is None else as_text(value) for name, value in expected.get("headers", {}).items()
        }
        asked = (method, unescaped(path), {name: headers.get(name) for name in wanted}, body)
        right = (
            expected.get("method", "GET"),
            unescaped(expected.get("path", self._path)),
            wanted,
            as_text(expected.get("body", "")),
        )
        if asked != right:
            self.problems.append(f"request {self.asked} is {asked}, and should be {right}")

    async def _give(self, answer: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if answer.get("no_answer"):
            return False
        status = answer.get("status", 200)
        lines = [f"{name}: {value}\r\n" for name, value in answer.get("headers", STREAM).items()]
        has_body = status not in BODILESS
        if has_body:
            lines.append("transfer-encoding: chunked\r\n")
        writer.write(f"HTTP/1.1 {status} Said\r\n{''.join(lines)}\r\n".encode())
        for piece in answer.get("body", ()):
            data = as_bytes(piece)
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await writer.drain()
            for _ in range(BETWEEN_PIECES):
                await asyncio.sleep(0)
            self.activity += 1
        then = answer.get("then", "end")
        if then == "hang":
            await reader.read(1)  # nothing comes before the client hangs up
        if then == "end" and has_body:
            writer.write(b"0\r\n\r\n")
        return bool(then == "end")


def unescaped(path: str) -> tuple[Any, ...]:
    """Path and query, without escapes."""
    parts = urlsplit(path)
    return (unquote(parts.path), *parse_qsl(parts.query, keep_blank_values=True))

"""A TCP proxy that is out of order on purpose: it cuts at any byte, stalls, dribbles, answers 503 and loses headers.

What it does to which connection comes from a seed, so that a run can be had again. It knows HTTP only as far as to
answer itself and to take a line out of a request.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

FAULTS: Final = ("cut", "reset", "stall", "dribble", "busy", "garbage", "lost-id")
DRIBBLED_BYTES: Final = 500  # one at a time, and then the connection is cut
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbusy"
GARBAGE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\nid: x"
_LAST_EVENT_ID = re.compile(rb"\r\nlast-event-id:[^\r]*", re.IGNORECASE)


@dataclass
class Trouble:
    """What happens to one connection: the fault, and after how many bytes to the client it does."""

    fault: str
    after_bytes: int


@dataclass
class FaultyProxy:
    """Listens on a port of its own and passes on to `target_port`, which may change at any time.

    seed: where the faults come from. faults: which there are. mean_bytes: how many go through before, on the average;
    sooner or later every connection has its fault. troubles: what happens to the first ones, in place of chance. In an
    event loop and a thread of its own, from `with` to its end.
    """

    target_port: int
    seed: int = 0
    faults: tuple[str, ...] = FAULTS
    mean_bytes: int = 4_000
    troubles: list[Trouble] = field(default_factory=list)
    port: int = 0
    connections: int = 0
    seen: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._ready = threading.Event()
        self._calm = False
        self._open: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name=f"faulty proxy {self.seed}")

    def calm(self) -> None:
        """From now on nothing happens to new connections; the old ones are cut."""
        self._calm = True
        self.cut()

    def cut(self) -> None:
        """Cut every connection now."""
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve_one, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ending.wait()
        server.close()
        self._cut()
        await asyncio.sleep(0.01)  # those just accepted become tasks, which end with this one

    def _next_trouble(self) -> Trouble | None:
        self.connections += 1
        if self._calm or not self.faults:
            return None
        trouble = Trouble(self._chance.choice(self.faults), int(self._chance.expovariate(1 / self.mean_bytes)))
        if self.troubles:
            trouble = self.troubles.pop(0)
        self.seen[trouble.fault] = self.seen.get(trouble.fault, 0) + 1
        return trouble

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        trouble = self._next_trouble()
        self._open.add(writer)
        try:
            await self._pass(reader, writer, trouble)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, trouble: Trouble | None) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        fault = None if trouble is None else trouble.fault
        if fault in ("busy", "garbage"):
            writer.write(BUSY if fault == "busy" else GARBAGE)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            return
        if fault == "lost-id":
            head = _LAST_EVENT_ID.sub(b"", head)
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self.target_port)
        self._open.add(to_server)
        try:
            to_server.write(head)
            upstream = asyncio.ensure_future(_copy(reader, to_server))
            try:
                await self._downstream(from_server, writer, trouble)
            finally:
                upstream.cancel()
        finally:
            self._open.discard(to_server)
            to_server.transport.abort()

    async def _downstream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, trouble: Trouble | None
    ) -> None:
        left = None if trouble is None else trouble.after_bytes
        while data := await reader.read(65_536):
            if left is None or len(data) <= left:
                writer.write(data)
                await writer.drain()
                left = None if left is None else left - len(data)
                continue
            assert trouble is not None
            writer.write(data[:left])
            await writer.drain()
            if trouble.fault in ("cut", "lost-id"):
                writer.close()
                await writer.wait_closed()
                return
            if trouble.fault == "reset":
                _reset(writer)
                return
            if trouble.fault == "stall":
                await asyncio.Event().wait()  # until somebody else ends it
            for byte in data[left:][:DRIBBLED_BYTES]:
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0)
            return


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the peer gets a reset, not an end."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

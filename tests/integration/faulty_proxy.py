"""A TCP proxy that is out of order on purpose: it cuts at any byte, stalls, delays, dribbles, repeats, answers 5xx.

What it does to which connection comes from a seed, so that a run can be had again. It knows HTTP only as far as to
answer itself, to change a line of a request, and to tell where a frame ends.

| fault | what happens to a connection |
|---|---|
| cut, reset | it ends, as it should or not, after any byte |
| stall | nothing more comes, and nobody says so |
| delay | what comes is held back for a while, again and again; then it is cut |
| dribble | what comes is a byte at a time; then it is cut |
| repeat | its last events are said again, after a whole frame; later it is cut |
| busy | it is answered with a 5xx |
| garbage | it is answered with what is no HTTP |
| old-id | it is asked for with an id from before, so that the hub says again what was had; then it is cut |
| lost-id | it is asked for without an id; then it is cut |
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

FAULTS: Final = ("cut", "reset", "stall", "delay", "dribble", "repeat", "busy", "garbage", "old-id", "lost-id")
# Of which a client notices nothing but its waits: it has every event, and the values are the hub's. An older id than
# its own makes the hub fold changes that it has with those that it has not, so with that values are not.
LOSSLESS: Final = tuple(fault for fault in FAULTS if fault not in ("old-id", "lost-id"))
DELAY_SECONDS: Final = (0.01, 0.15)  # well below what clients take for death, at the speed of their clocks
DELAYED_PARTS: Final = 8
DELAYED_BYTES: Final = 300  # of a part
DRIBBLED_BYTES: Final = 500
REPEATED_FRAMES: Final = 20  # at most
OLD_IDS: Final = 5  # that many requests may lie between
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbusy",
    b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: no\n\n",
)
GARBAGE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\nid: x"
_LAST_EVENT_ID = re.compile(rb"\r\nlast-event-id:[^\r]*", re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9a-f]+)\r\n", re.IGNORECASE)


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
        self._ids: deque[bytes] = deque(maxlen=OLD_IDS)  # that were asked with
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None] | None] = set()  # the loop does not keep what waits for nothing
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
        trouble, task = self._next_trouble(), asyncio.current_task()
        self._open.add(writer)
        self._serving.add(task)
        try:
            await self._pass(reader, writer, trouble)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(writer)
            self._serving.discard(task)
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, trouble: Trouble | None) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        fault = None if trouble is None else trouble.fault
        if fault in ("busy", "garbage"):
            writer.write(self._chance.choice(BUSY) if fault == "busy" else GARBAGE)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            return
        asked = _LAST_EVENT_ID.search(head)
        if fault == "lost-id":
            head = _LAST_EVENT_ID.sub(b"", head)
        elif fault == "old-id" and asked is not None and self._ids:
            head = head.replace(asked[0], self._chance.choice(self._ids))
        if asked is not None:
            self._ids.append(asked[0])
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
        repeating = Repeating() if trouble is not None and trouble.fault == "repeat" else None
        while data := await reader.read(65_536):
            if repeating is not None:
                data = repeating.read(data)
            if left is None or len(data) <= left:
                writer.write(data)
                await writer.drain()
                left = None if left is None else left - len(data)
                continue
            assert trouble is not None
            if repeating is not None and repeating.frames:
                # All of this goes on; the bytes after which something happens are counted anew, until the cut.
                data += repeating.again(self._chance.randint(1, REPEATED_FRAMES))
                writer.write(data)
                await writer.drain()
                left, repeating = trouble.after_bytes, None
                continue
            writer.write(data[:left])
            await writer.drain()
            await self._end(trouble.fault, data[left:], reader, writer)
            return

    async def _end(self, fault: str, rest: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What happens after the bytes that went through. rest: of the read in which it does."""
        if fault == "reset":
            _reset(writer)
            return
        if fault == "stall":
            await asyncio.Event().wait()  # until somebody else ends it
        if fault == "delay":
            for _ in range(DELAYED_PARTS):
                await asyncio.sleep(self._chance.uniform(*DELAY_SECONDS))
                writer.write(rest[:DELAYED_BYTES])
                await writer.drain()
                rest = rest[DELAYED_BYTES:] or await reader.read(DELAYED_BYTES)
        elif fault == "dribble":
            for byte in rest[:DRIBBLED_BYTES]:
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0)
            return
        writer.close()
        await writer.wait_closed()


class Repeating:
    """Reads along: `frames` are the events that were said since the last gap, and can be said again."""

    def __init__(self) -> None:
        self.frames: deque[bytes] = deque(maxlen=REPEATED_FRAMES)
        self._is_chunked = False
        self._data = b""  # from the beginning of a chunk that is not complete

    def read(self, data: bytes) -> bytes:
        """Takes what came; returns what goes on: whole chunks, so that something can be said after them."""
        self._data += data
        on = b""
        if not self._is_chunked:
            head, found, _ = self._data.partition(b"\r\n\r\n")
            if not found:
                return b""
            on, self._is_chunked = head + found, b"transfer-encoding: chunked" in head.lower()
            self._data = self._data[len(on) :]
        if not self._is_chunked:
            data, self._data = on + self._data, b""
            return data
        while (chunk := _CHUNK.match(self._data)) and len(self._data) >= (
            end := chunk.end() + int(chunk[1], 16) + len(b"\r\n")
        ):
            self._note(self._data[chunk.end() : end - 2])
            on += self._data[:end]
            self._data = self._data[end:]
        return on

    def again(self, count: int) -> bytes:
        """The last so many events, as a chunk."""
        said = b"".join(list(self.frames)[-count:])
        return b"%x\r\n%s\r\n" % (len(said), said)

    def _note(self, body: bytes) -> None:
        for frame in body.split(b"\n\n")[:-1]:
            if b"\ntopic: " in frame:
                self.frames.append(frame + b"\n\n")
            elif b"event: gap\n" in frame:
                self.frames.clear()  # those before it may be of another numbering


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the peer gets a reset, not an end."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

"""A restless crowd of readers, a process of its own: they come, read, dawdle, freeze, drop out and come back.

Each reader keeps its last id over its connections, as an EventSource does, and checks the numbers of each
topic: after number n of a topic comes n + 1, on this connection or on the next, or the server has told a gap.
"""

import argparse
import asyncio
import contextlib
import random
import re
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Final

from clarion.bench.ledger import end_of_frames, unchunk
from clarion.bench.orders import Order, Reply, say, serve_one

FRAME_ID: Final = re.compile(rb"^id: ?([^\r\n]*)", re.MULTILINE)
FRAME_TYPE: Final = re.compile(rb"^event: ?([^\r\n]*)", re.MULTILINE)
FRAME_TOPIC: Final = re.compile(rb"^topic: ?([^\r\n]*)", re.MULTILINE)
FRAME_NUMBER: Final = re.compile(rb'^data: ?\{"n":(\d+),', re.MULTILINE)

READ_BYTES: Final = 65_536
DAWDLE_BYTES: Final = 512
"""What a slow reader takes at a time."""

STAY_SECONDS: Final = 2.0
"""How long a connection lasts on average."""

PATIENCE_SECONDS: Final = 30.0
"""How long a reader waits for an answer."""

SMALL_BUFFER_BYTES: Final = 8_192
"""Receive buffer of readers that will be slow: so that the server feels it soon."""


@dataclass(slots=True)
class Tally:
    """What the whole crowd did and saw."""

    connects: int = 0
    resumes: int = 0
    drops: int = 0
    dawdles: int = 0
    freezes: int = 0
    events: int = 0
    gaps: int = 0
    lost: int = 0
    duplicated: int = 0
    byes: int = 0
    refused: int = 0
    examples: list[str] = field(default_factory=list)


class Reader:
    """One reader over all its connections."""

    def __init__(self, port: int, topics: list[str], tally: Tally, chance: random.Random) -> None:
        self._port, self._tally, self._chance = port, tally, chance
        self._query = "&".join(f"topic={topic}" for topic in topics)
        self._last_id = b""
        self._wanted: dict[bytes, int] = {}

    async def live(self) -> None:
        """Connect again and again, until cancelled."""
        while True:
            with contextlib.suppress(OSError):
                await self._visit()
            await asyncio.sleep(self._chance.expovariate(2.0))

    async def _visit(self) -> None:
        """One connection, of some length and some manner, with a sudden end."""
        manner = self._chance.choices(("reads", "dawdles", "freezes"), (8, 1, 1))[0]
        with self._connect(manner) as connection:
            await asyncio.get_running_loop().sock_sendall(connection, self._request())
            tally = self._tally
            tally.connects += 1
            tally.resumes += bool(self._last_id)
            tally.dawdles += manner == "dawdles"
            tally.freezes += manner == "freezes"
            await self._stay(connection, manner)
            tally.drops += 1
            # A reset, as of a phone that left the network: nothing more is read, nothing is said.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def _stay(self, connection: socket.socket, manner: str) -> None:
        loop, stream = asyncio.get_running_loop(), Incoming()
        length = self._chance.expovariate(1 / STAY_SECONDS)
        if manner == "freezes":
            await asyncio.sleep(length)
            return
        take = DAWDLE_BYTES if manner == "dawdles" else READ_BYTES
        # The stay begins with the answer: who leaves before it would only make a slow server slower.
        end = time.monotonic() + PATIENCE_SECONDS
        while (left := end - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(left):
                    run = await loop.sock_recv(connection, take)
            except TimeoutError:
                return
            if not run:
                return
            if not stream.is_answered:
                end = time.monotonic() + length
            for frame in stream.frames(run):
                self._take(frame)
            if stream.refused:
                self._tally.refused += 1
                return
            if manner == "dawdles":
                await asyncio.sleep(0.02)

    def _connect(self, manner: str) -> socket.socket:
        connection = socket.socket()
        try:
            if manner != "reads":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
            # Loopback answers at once, and a blocking connect never half-succeeds.
            connection.connect(("127.0.0.1", self._port))
            connection.setblocking(False)
        except OSError:
            connection.close()
            raise
        return connection

    def _request(self) -> bytes:
        last = b"Last-Event-ID: " + self._last_id + b"\r\n" if self._last_id else b""
        return f"GET /events?{self._query} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode() + last + b"\r\n"

    def _take(self, frame: bytes) -> None:
        """Check one whole frame, as a client that remembers only what a browser does."""
        kind = found(FRAME_TYPE, frame)
        if kind == b"gap":
            self._tally.gaps += 1
            self._wanted.clear()
        elif kind == b"bye":
            self._tally.byes += 1
        elif kind not in (b"connected", b"heartbeat") and (number := FRAME_NUMBER.search(frame)):
            self._count(found(FRAME_TOPIC, frame), int(number[1]))
        self._last_id = found(FRAME_ID, frame) or self._last_id

    def _count(self, topic: bytes, number: int) -> None:
        self._tally.events += 1
        wanted = self._wanted.get(topic, number)
        if number != wanted:
            if number > wanted:
                self._tally.lost += number - wanted
            else:
                self._tally.duplicated += 1
            if len(self._tally.examples) < 10:
                self._tally.examples.append(f"{topic.decode()}: wanted {wanted}, got {number} after {self._last_id!r}")
        self._wanted[topic] = max(number, wanted - 1) + 1


class Incoming:
    """One connection's bytes, as whole frames."""

    def __init__(self) -> None:
        self._head: bytes | None = b""
        self._due, self._line, self._rest = 0, b"", b""
        self.refused = False

    @property
    def is_answered(self) -> bool:
        """Whether the response head has come."""
        return self._head is None

    def frames(self, run: bytes) -> list[bytes]:
        """Return the frames that `run` completes."""
        if self._head is not None:
            head, end, run = (self._head + run).partition(b"\r\n\r\n")
            self._head = None if end else head
            self.refused = bool(end) and not head.startswith(b"HTTP/1.1 200")
            if not end or self.refused:
                return []
        body, self._due, self._line = unchunk(self._due, self._line, run)
        text = self._rest + body
        end_at = end_of_frames(text)
        self._rest = text[end_at:]
        return [frame for frame in text[:end_at].split(b"\n\n") if frame]


def found(what: re.Pattern[bytes], frame: bytes) -> bytes:
    match = what.search(frame)
    return match[1] if match else b""


async def crowd(port: int, readers: int, topics: int, seconds: float, seed: int) -> Tally:
    """Let them all live for a while."""
    tally, chance = Tally(), random.Random(seed)
    names = [f"topic-{number}" for number in range(topics)]
    tasks = []
    for number in range(readers):
        own = chance.sample(names, chance.randint(1, min(4, topics)))
        # Some follow everything under a pattern, as people do.
        chosen = ["*"] if chance.random() < 0.1 else own
        tasks.append(asyncio.create_task(Reader(port, chosen, tally, random.Random(seed + number)).live()))
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return tally


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    options = parser.parse_args()

    def live(order: Order) -> Reply:
        tally = asyncio.run(
            crowd(options.port, order["readers"], order["topics"], float(order["seconds"]), order["seed"])
        )
        return {name: getattr(tally, name) for name in Tally.__dataclass_fields__}

    say({"ready": True})
    while serve_one({"live": live}):
        pass


if __name__ == "__main__":
    main()

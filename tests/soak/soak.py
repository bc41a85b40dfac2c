"""Hours of a hub's life in minutes: `python -m tests.soak.soak --hours-equivalent 2`.

A server of its own, real sockets, and people who come, read eagerly, slowly, not at all or byte by byte, drop without
a word, and come back with the last id that they have read, while all is published. Each stream is held against the
list of what was published, event by event; the server's memory has to stay flat. Exits with 1 if either is not so.

A connection lives for seconds here, and for minutes in an app: forty times as fast.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import httpx

from clarion.event import Entry, draft
from clarion.topics import ALL, CLIENT_PREFIX, TopicSet
from clarion.wire import event_frame
from tests.model.ledger import ChunkDecoder, Ledger, Truth
from tests.soak.server import KEPT_ENTRIES

ACCELERATION = 40
PEOPLE = 150
SAMPLE_SECONDS = 0.5
WARM_UP_SHARE = 0.4  # of the run, in which windows and caches fill
GROWTH_MIB = 6.0  # after it: what an allocator's fragmentation may be
SETTLE_SECONDS = 60
TOPICS = ("a/1", "a/2", "a/3", "b", "c/1/x")
TOPIC_SETS = (("a/1",), ("a/*",), ("b",), ("a/2", "b"), ("**",), ("c/**",), ())
PAGE_BYTES = 4096


class Published(Truth):
    """What was published. There is one publisher, so that it knows each offset before the server says it."""

    def __init__(self, epoch: str) -> None:
        super().__init__()
        self.epoch = epoch
        self.durable: list[int] = []
        self.taken = Taken(self)

    def add(self, topic: str, data: object, ephemeral: bool) -> None:
        one = draft(topic, data, created_ms=0, ephemeral=ephemeral)
        offset = self.newest + 1
        self.entries.append(Entry(offset, topic, event_frame(self.epoch, offset, one.body), 0, ephemeral=ephemeral))
        if not ephemeral:
            self.durable.append(offset)


class Taken(dict[int, bool]):
    """The offsets that retention may have taken away by now."""

    def __init__(self, published: Published) -> None:
        super().__init__()
        self._published = published

    def get(self, offset: int, default: object = None) -> bool:  # type: ignore[override]
        return offset in self

    def __contains__(self, offset: object) -> bool:
        durable = self._published.durable
        return len(durable) > KEPT_ENTRIES and isinstance(offset, int) and offset <= durable[-KEPT_ENTRIES - 1]


class Soak:
    """One run."""

    def __init__(self, port: int, epoch: str, seed: int, seconds: float) -> None:
        self.port = port
        self.seed = seed
        self.random = random.Random(seed)
        self.until = time.monotonic() + seconds
        self.published = Published(epoch)
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.ids: set[str] = set()  # of those who are connected
        self.over = asyncio.Event()  # nothing more is published: everybody reads to the end, and stops

    async def publish(self) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=30) as client:
            while time.monotonic() < self.until:
                batch = [self._one() for _ in range(self.random.choice((1, 1, 3, 10, 60)))]
                first = self.published.newest + 1
                for one in batch:
                    self.published.add(one["topic"], one["data"], one["ephemeral"])
                answer = (await client.post("/publish", json=batch)).json()
                assert answer["offsets"] == list(range(first, first + len(batch))), "not the only publisher"
                await asyncio.sleep(self.random.choice((0.0, 0.01, 0.03, 0.1)))

    def _one(self) -> dict[str, object]:
        topic = self.random.choice((*TOPICS, *TOPICS, ALL, f"@user/u{self.random.randrange(20)}"))
        if self.ids and self.random.random() < 0.05:
            topic = CLIENT_PREFIX + self.random.choice(sorted(self.ids))
        self.counts["published"] += 1
        size = self.random.choice((0, 0, 50, 50, 400, 5_000))
        ephemeral = topic in TOPICS and self.random.random() < 0.05
        return {"topic": topic, "data": {"n": self.counts["published"], "s": "z" * size}, "ephemeral": ephemeral}


class Someone:
    """A reader who comes again and again."""

    def __init__(self, soak: Soak, number: int) -> None:
        self.soak = soak
        self.random = random.Random(f"{soak.seed}-{number}")
        self.topics = TopicSet(self.random.choice(TOPIC_SETS))
        self.user = self.random.choice((None, f"u{number % 20}"))
        self.last_event_id = ""

    async def live(self) -> None:
        await asyncio.sleep(self.random.random() * 2)
        while not self.soak.over.is_set():
            try:
                await self._visit()
            except AssertionError as fault:
                self.soak.faults.append(str(fault)[:500])
                self.last_event_id = ""
            away = self.random.choice((0.0, 0.1, 0.1, 1.0, 1.0, 20.0))
            try:
                await asyncio.wait_for(self.soak.over.wait(), away)
            except TimeoutError:
                pass
        # The last visit is read to the end: nothing may be missing then.
        try:
            await asyncio.wait_for(self._visit(last=True), SETTLE_SECONDS)
        except TimeoutError:
            self.soak.faults.append(f"a reader of {self.topics} did not come to the end in {SETTLE_SECONDS} s")
        except AssertionError as fault:
            self.soak.faults.append(str(fault)[:500])

    async def _visit(self, last: bool = False) -> None:
        manner = "eager" if last else self.random.choice(("eager", "eager", "eager", "slow", "frozen", "crumbs"))
        if not last and self.random.random() < 0.1:
            self.last_event_id = self.random.choice(("", "", "zzzz-7", "nonsense"))
        aged = not last and self.random.random() < 0.25
        sock = await self._connect(manner, aged)
        try:
            body = await self._head(sock)
            self.soak.counts["connections"] += 1
            self.soak.counts[manner] += 1
            self.soak.counts["resumed"] += bool(self.last_event_id)
            ledger = Ledger(self.soak.published, self.topics.union(ALL), self.last_event_id, began_ms=0)
            try:
                await self._read(sock, body, ledger, manner, aged, last)
            finally:
                self.last_event_id = ledger.last_event_id
                self.soak.ids.discard(_client_id(ledger))
                self.soak.counts["delivered"] += len(ledger.received)
                self.soak.counts["gaps"] += len(ledger.gaps)
        finally:
            sock.close()

    async def _connect(self, manner: str, aged: bool) -> socket.socket:
        sock = socket.socket()
        if manner != "eager":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        if self.random.random() < 0.5:  # a reset instead of a goodbye
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", self.soak.port))
        query = f"topics={quote(','.join(self.topics.names))}&user={self.user or ''}"
        query += self.random.choice(("", "", "&sink=asgi"))
        query += "&age=2" if aged else ""
        query += "" if self.last_event_id else self.random.choice(("", "&since=earliest", "&since=50"))
        head = f"GET /events?{query} HTTP/1.1\r\nHost: soak\r\n"
        if self.last_event_id:
            head += f"Last-Event-ID: {self.last_event_id}\r\n"
        await loop.sock_sendall(sock, head.encode() + b"\r\n")
        return sock

    async def _head(self, sock: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            more = await asyncio.get_running_loop().sock_recv(sock, 4_096)
            assert more, f"no answer, only {data!r}"
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        return body

    async def _read(
        self, sock: socket.socket, data: bytes, ledger: Ledger, manner: str, aged: bool, last: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        decoder = ChunkDecoder()
        until = time.monotonic() + self.random.choice((0.1, 1.0, 3.0, 8.0))
        while True:
            self._note(decoder.feed(data), ledger)
            if decoder.ended:
                assert ledger.bye is not None, "the stream ended without a bye"
                assert aged, f"the stream ended with {ledger.bye}"
                self.soak.counts["byes"] += 1
                return
            if last and ledger.position is not None and not ledger.missing(self.soak.published.newest, 0):
                return
            if not last and (time.monotonic() > until or self.soak.over.is_set()):
                return
            if manner == "frozen":
                await asyncio.sleep(max(0.0, until - time.monotonic()))
            elif manner == "slow":
                await asyncio.sleep(self.random.random() / 5)
            size = {"eager": 1 << 16, "slow": 2_048, "frozen": 512, "crumbs": 1}[manner]
            try:
                data = await asyncio.wait_for(loop.sock_recv(sock, size), 5)
            except TimeoutError:
                raise AssertionError("silence: not even a heartbeat in 5 seconds") from None
            if not data:
                # Who does not take its last frame is cut off; nothing but an age ends a stream here.
                assert aged, "the stream broke"
                self.soak.counts["cut off"] += 1
                return

    def _note(self, body: bytes, ledger: Ledger) -> None:
        if ledger.position is None and (client_id := _said_id(body)):
            own = (CLIENT_PREFIX + client_id, *(("@user/" + self.user,) if self.user else ()))
            ledger.topics = ledger.topics.union(*own)
            ledger.client_id = client_id  # type: ignore[attr-defined]
            self.soak.ids.add(client_id)
        ledger.feed(body, 0)


def _said_id(body: bytes) -> str:
    return body.partition(b'"clientId":"')[2].partition(b'"')[0].decode()


def _client_id(ledger: Ledger) -> str:
    return getattr(ledger, "client_id", "")


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


async def sample(pid: int, samples: list[int]) -> None:
    while True:
        samples.append(resident_bytes(pid))
        await asyncio.sleep(SAMPLE_SECONDS)


async def run(pid: int, port: int, seconds: float, seed: int) -> int:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        epoch = (await client.post("/publish", json=[])).json()["epoch"]
        soak = Soak(port, epoch, seed, seconds)
        samples: list[int] = []
        sampling = asyncio.create_task(sample(pid, samples))
        people = [asyncio.create_task(Someone(soak, number).live()) for number in range(PEOPLE)]
        await soak.publish()
        sampling.cancel()
        soak.over.set()
        await asyncio.gather(*people)
        await asyncio.sleep(1)
        left = (await client.get("/stats")).json()
    settled = samples[int(len(samples) * WARM_UP_SHARE) :]
    quarter = max(1, len(settled) // 4)
    growth = (statistics.median(settled[-quarter:]) - statistics.median(settled[:quarter])) / 2**20
    if growth > GROWTH_MIB:
        soak.faults.append(f"memory grew by {growth:.1f} MiB after it had settled, at most {GROWTH_MIB} is flat")
    if left["clients"]:
        soak.faults.append(f"{left['clients']} clients are counted, and all have gone")
    _report(soak, samples, growth, left["tasks"], seconds)
    return 1 if soak.faults else 0


def _report(soak: Soak, samples: list[int], growth: float, tasks: int, seconds: float) -> None:
    mib = [size / 2**20 for size in samples]
    print(f"soak: {seconds:.0f} s, {PEOPLE} people, seed {soak.seed}")
    for name, count in sorted(soak.counts.items()):
        print(f"  {name:<12} {count}")
    middle = mib[int(len(mib) * WARM_UP_SHARE)]
    print(f"  memory MiB   start {mib[0]:.1f}, settled {middle:.1f}, end {mib[-1]:.1f}, most {max(mib):.1f}")
    eighths = [statistics.median(mib[at : at + len(mib) // 8 + 1]) for at in range(0, len(mib), len(mib) // 8 + 1)]
    print("  each eighth  " + " ".join(f"{size:.1f}" for size in eighths))
    print(f"  growth MiB   {growth:+.2f} after warm-up; tasks left {tasks}")
    for fault in soak.faults[:10]:
        print(f"  FAULT        {fault}")
    print(f"  {len(soak.faults)} faults")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours-equivalent", type=float, default=2.0, help="of an app's life (default: 2)")
    parser.add_argument("--journal", default="memory://", help="such as sqlite:///soak.db (default: memory://)")
    parser.add_argument("--seed", type=int, default=None, help="repeat a run's choices")
    options = parser.parse_args()
    seconds = options.hours_equivalent * 3600 / ACCELERATION
    seed = random.SystemRandom().randrange(2**31) if options.seed is None else options.seed
    command = [sys.executable, "-m", "tests.soak.server", options.journal]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            return asyncio.run(run(server.pid, port, seconds, seed))
        finally:
            server.stdin.close()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                raise


if __name__ == "__main__":
    sys.exit(main())

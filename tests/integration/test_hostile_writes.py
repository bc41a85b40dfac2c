"""The socket sink when the kernel takes less than all: what a reader gets is the same bytes, wherever they were cut."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import socket
import types
from collections.abc import Callable
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clarion import Hub
from clarion.parser import Message, Parser
from clarion.sinks import bounds
from clarion.sinks import socket as sink
from clarion.sinks.base import Block
from clarion.sinks.chunks import CHUNK_BYTES
from clarion.subscription import State
from clarion.takeover import EXTENSION
from tests.integration.in_process import SECONDS, request, until

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

Limit = Callable[[int], int]


class Handing:
    """Offers one end of a socket pair, as a server offers its connection."""

    def __init__(self, family: int = socket.AF_UNIX) -> None:
        self.ours, self._theirs = socket.socketpair() if family == socket.AF_UNIX else _tcp_pair()
        self.ours.setblocking(False)
        self._theirs.setblocking(False)
        self.fd = -1
        self.received = bytearray(HEAD)

    async def take(self, first: bytes) -> int | None:
        self._theirs.send(b"%x\r\n%b\r\n" % (len(first), first))
        self.fd = os.dup(self._theirs.fileno())
        self._theirs.close()
        return self.fd

    def on_shutdown(self, callback: Callable[[], None]) -> None: ...

    def read(self) -> None:
        """Take in what is there."""
        try:
            while data := self.ours.recv(1_000_000):
                self.received += data
        except BlockingIOError:
            pass

    def messages(self) -> list[Message]:
        """What it is, by the rules of HTTP/1.1 and of SSE, and that it ends well. Without the first and the last."""
        http, parser = h11.Connection(h11.CLIENT), Parser()
        http.send(h11.Request(method="GET", target="/", headers=[("Host", "test")]))
        http.send(h11.EndOfMessage())
        http.receive_data(bytes(self.received))
        found: list[Message] = []
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            assert event is not h11.NEED_DATA, "the response is cut"
            if isinstance(event, h11.Data):
                found += parser.feed(bytes(event.data))
        assert (found[0].type, found[-1].type) == ("connected", "bye")
        return found[1:-1]

    def close(self) -> None:
        self.ours.close()


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        return client, listening.accept()[0]


def limit_writes(patch: pytest.MonkeyPatch) -> dict[int, Limit]:
    """Per descriptor: how much of a write of so many bytes the kernel takes; 0 for none now."""
    limits: dict[int, Limit] = {}

    def write(fd: int, data: Any) -> int:
        limit = limits.get(fd)
        if limit is None:
            return os.write(fd, data)
        size = min(limit(len(data)), len(data))
        if size == 0:
            raise BlockingIOError(errno.EAGAIN, "made up")
        return os.write(fd, data[:size])

    patch.setattr(sink, "os", types.SimpleNamespace(write=write, read=os.read, close=os.close))
    return limits


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> dict[int, Limit]:
    return limit_writes(monkeypatch)


def once(cut: int) -> Limit:
    """The first write is cut there; all that follow are taken whole."""
    cuts = [cut]
    return lambda size: cuts.pop() if cuts else size


async def open_stream(hub: Hub, handing: Handing, **options: Any) -> None:
    response = hub.stream(topics=["news"], **options)
    exchange = request(response, extensions={EXTENSION: handing})
    await exchange.end()
    await until(lambda: handing.fd >= 0 and not any(client.lag for client in hub.clients()))


async def catch_up(hub: Hub, handings: list[Handing]) -> None:
    """Until all are live; the kernel would say that there is room, here nothing was really full."""
    engine = hub._open_engine()
    async with asyncio.timeout(SECONDS):
        while behind := [one for one in engine.audiences.clients.values() if one.state is State.BEHIND]:
            for reader in behind:
                engine.delivery.ready(reader)  # type: ignore[arg-type]
            for handing in handings:
                handing.read()
            await asyncio.sleep(0)


async def run(hub: Hub, limited: dict[int, Limit], limits: list[Limit], bodies: list[str]) -> None:
    """A reader for each limit; all get all bodies, in one pass."""
    handings = [Handing() for _ in limits]
    try:
        for handing, limit in zip(handings, limits, strict=True):
            await open_stream(hub, handing)
            limited[handing.fd] = limit
        await hub.publish_many([("news", body) for body in bodies])
        await hub.settle()
        await catch_up(hub, handings)
        limited.clear()
        await hub.drain(0)
        for handing in handings:
            handing.read()
            assert [json.loads(message.data) for message in handing.messages()] == bodies
            handing.close()
    finally:
        for handing in handings:
            handing.close()


async def test_a_cut_at_every_byte(limited: dict[int, Limit]) -> None:
    bodies = ["a", "b" * 40, "c"]
    async with Hub() as hub:
        await run(hub, limited, [once(cut) for cut in range(500)], bodies)


async def test_a_cut_around_every_chunk(limited: dict[int, Limit]) -> None:
    """Blocks of several chunks; one event larger than a chunk."""
    bodies = ["a" * 1_500] * 7 + ["b" * (CHUNK_BYTES * 3)] + ["c" * 100] * 5
    async with Hub() as hub:
        lane = hub._open_engine().sockets.lane  # type: ignore[union-attr]
        blocks: list[Block] = []
        made = lane.block
        lane.block = lambda *args: blocks.append(made(*args)) or blocks[-1]  # type: ignore[method-assign,func-returns-value]
        await run(hub, limited, [once(10**9)], bodies)
    ends = [end for end, _, _ in max(blocks, key=lambda block: len(block.data)).marks]
    assert len(ends) > 3
    cuts = sorted({end + near for end in ends for near in (-8, -2, -1, 0, 1, 2, 5, 8)})
    async with Hub() as hub:
        await run(hub, limited, [once(cut) for cut in cuts], bodies)


async def test_a_byte_at_a_time(limited: dict[int, Limit]) -> None:
    async with Hub() as hub:
        await run(hub, limited, [lambda size: 1, lambda size: 3], ["x" * 50, "y" * 200, "z"])


@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 9_000), min_size=1, max_size=25))
@settings(max_examples=25)
def test_any_cuts(seed: int, sizes: list[int]) -> None:
    chance = random.Random(seed)

    async def main() -> None:
        with pytest.MonkeyPatch.context() as patch:
            limited = limit_writes(patch)
            async with Hub() as hub:
                limits = [lambda size: chance.choice([0, 1, 7, size // 2, size - 1, size]) for _ in range(5)]
                await run(hub, limited, limits, [str(n) * size for n, size in enumerate(sizes)])

    asyncio.run(main())


async def test_a_reader_with_nothing_left_to_take_is_not_waited_for(limited: dict[int, Limit]) -> None:
    """What it did not take has expired meanwhile. It would be let go as stalled if it stayed quiet."""
    handing = Handing()
    async with Hub() as hub:
        await open_stream(hub, handing)
        (reader,) = hub._open_engine().audiences.clients.values()
        limited[handing.fd] = lambda size: 0
        await hub.publish("news", 1, ttl=0.001)
        await hub.settle()
        assert reader.state is State.BEHIND
        assert reader.blocked
        del limited[handing.fd]
        await asyncio.sleep(0.005)
        await catch_up(hub, [handing])
        assert not reader.blocked
    handing.close()


async def read_until(handing: Handing, condition: Callable[[], bool]) -> None:
    """Take in a little at a time."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0)
            try:
                handing.received += handing.ours.recv(3_000)
            except BlockingIOError:
                pass


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET], ids=lambda family: family.name)
async def test_small_kernel_buffers(family: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing made up: the kernel cuts, and says when there is room."""
    monkeypatch.setattr(bounds, "SEND_BUFFER_BYTES", 4_096)
    bodies = [chr(97 + n % 26) * (n * 331 % 9_000) for n in range(60)]
    handing = Handing(family)
    handing.ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    async with Hub() as hub:
        await open_stream(hub, handing)
        await hub.publish_many([("news", body) for body in bodies])
        await hub.settle()
        await read_until(handing, lambda: not any(client.lag for client in hub.clients()))
        await hub.drain(0)
        await read_until(handing, lambda: handing.received.endswith(b"\r\n0\r\n\r\n"))
    assert [json.loads(message.data) for message in handing.messages()] == bodies
    handing.close()


async def test_a_frozen_reader_holds_its_rest_and_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "SEND_BUFFER_BYTES", 4_096)
    handing = Handing()
    async with Hub() as hub:
        await open_stream(hub, handing)
        engine = hub._open_engine()
        (reader,) = engine.audiences.clients.values()
        for n in range(200):
            await hub.publish("news", f"{n}" + "x" * 1_000)
            await hub.settle()
        assert reader.state is State.BEHIND
        assert len(reader.rest or b"") <= CHUNK_BYTES + 2_000  # type: ignore[attr-defined]
        assert not reader.queued  # type: ignore[attr-defined]
    handing.close()


async def test_a_peer_that_vanishes_is_found_by_the_kernel() -> None:
    handing = Handing(socket.AF_INET)
    async with Hub() as hub:
        await open_stream(hub, handing)
        peer = socket.socket(fileno=os.dup(handing.fd))
        try:
            assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == bounds.USER_TIMEOUT_MS
            assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == bounds.KEEPALIVE_IDLE_SECONDS
            assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * bounds.SEND_BUFFER_BYTES
        finally:
            peer.close()
    handing.close()

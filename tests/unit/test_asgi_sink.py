"""The ASGI lane: one coroutine for each stream, which writes what a pass hands it, then what it has missed since."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from clarion.audience import Audiences
from clarion.fanout import Fanout
from clarion.log import Log
from clarion.sinks.asgi import AsgiLane, AsgiReader
from clarion.sinks.base import Block
from clarion.subscription import DISCONNECTED, DRAIN, State, Subscription
from clarion.topics import TopicSet
from tests.unit.core import NOW_MS, entry

FOREVER = float("inf")


class Server:
    """What the lane asks of delivery, and a server's `send` that waits when it is told to."""

    def __init__(self) -> None:
        self.fanout = Fanout(Log(), Audiences())
        self.lane = AsgiLane(self)
        self.now = 5
        self.sent: list[bytes] = []
        self.free = asyncio.Event()
        self.free.set()
        self.live: list[str] = []
        self.pages: list[Block] = []
        self.spent: list[str] = []

    def now_ms(self) -> int:
        return self.now

    def wall_ms(self) -> int:
        return NOW_MS

    def delivered(self, readers: int, events: int, size: int) -> None:
        """Figures are not what is tested here."""

    def caught_up(self, reader: Subscription) -> None:
        self.live.append(reader.id)

    def exhausted(self, reader: Subscription) -> None:
        self.spent.append(reader.id)
        self.close(reader)

    async def read_page(self, reader: Subscription) -> Block:
        return self.pages.pop(0)

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await self.free.wait()
        assert message["more_body"]
        self.sent.append(message["body"])

    def connect(self, *, after: int | None = None) -> AsgiReader:
        audience = self.fanout.audiences.of(TopicSet(["t"]), self.lane)
        head = self.fanout.log.head
        reader = AsgiReader("r", None, audience, head if after is None else after, head)
        self.fanout.join(reader)
        reader.task = asyncio.create_task(self.lane.serve(reader, self.send))
        return reader

    def close(self, reader: Subscription, reason: str = DRAIN, bye: bytes | None = b"<bye>") -> None:
        self.fanout.leave(reader, reason)
        self.lane.end(reader, bye)

    async def publish(self, *offsets: int) -> None:
        self.fanout.log.extend([entry(offset, "t") for offset in offsets])
        while (plan := self.fanout.plan()) is not None:
            for share in plan.shares():
                if share is None:
                    continue
                block = share.lane.block([plan.entries[n] for n in share.indexes], plan.after, plan.through)
                share.lane.deliver(share.readers, 0, block, FOREVER)
        for reader in self.fanout.released():
            self.lane.feed(reader)
        await quiet()


async def quiet() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_live_reader_is_handed_the_shared_bytes() -> None:
    server = Server()
    reader = server.connect()
    await quiet()
    assert server.live == ["r"]
    await server.publish(1, 2)
    await server.publish(3)
    assert server.sent == [b"<1><2>", b"<3>"]
    assert reader.state is State.LIVE
    assert reader.written_ms == 5
    server.close(reader)
    await quiet()
    assert reader.task is not None
    assert reader.task.done()
    assert reader.bye == b"<bye>"


async def test_while_it_waits_in_send_it_is_behind_and_then_reads_on() -> None:
    server = Server()
    reader = server.connect()
    await quiet()
    server.free.clear()
    await server.publish(1)
    assert reader.state is State.BEHIND
    assert reader.blocked
    await server.publish(2, 3)
    await server.publish(4)
    server.free.set()
    await quiet()
    assert server.sent == [b"<1>", b"<2><3><4>"]
    assert reader.state is State.LIVE
    assert not reader.blocked
    server.close(reader)


async def test_who_is_ahead_waits_for_the_plan() -> None:
    server = Server()
    server.fanout.log.extend([entry(1, "t"), entry(2, "t")])
    reader = server.connect()
    await quiet()
    assert server.live == []
    await server.publish(3)
    assert server.sent == [b"<3>"]
    server.close(reader)


async def test_pages_come_before_the_log() -> None:
    server = Server()
    server.fanout = Fanout(Log(max_entries=1), Audiences())
    server.fanout.log.extend([entry(1, "t"), entry(2, "t"), entry(3, "t")])
    server.fanout.plan()
    server.pages = [server.lane.block([entry(1, "t")], 0, 1, b"<gap>"), server.lane.block([entry(2, "t")], 1, 2)]
    reader = server.connect(after=0)
    await quiet()
    assert server.sent == [b"<gap><1>", b"<2>", b"<3>"]
    assert reader.state is State.LIVE
    server.close(reader)


async def test_who_is_gone_is_taken_out_of_a_send_that_nobody_reads() -> None:
    server = Server()
    reader = server.connect()
    await quiet()
    server.free.clear()
    await server.publish(1)
    server.close(reader, DISCONNECTED, None)
    await quiet()
    assert reader.task is not None
    assert reader.task.cancelled()


async def test_who_is_sent_away_may_finish_its_send() -> None:
    server = Server()
    reader = server.connect()
    await quiet()
    server.free.clear()
    await server.publish(1)
    server.close(reader)
    server.free.set()
    await quiet()
    assert server.sent == [b"<1>"]
    assert reader.task is not None
    assert reader.task.done()
    assert not reader.task.cancelled()


@pytest.mark.parametrize("bye", [b"<bye>", None])
async def test_who_was_closed_before_its_block_is_not_written_to(bye: bytes | None) -> None:
    server = Server()
    reader = server.connect()
    await quiet()
    block = server.lane.block([entry(1, "t")], 0, 1)
    assert server.lane.deliver([reader], 0, block, FOREVER) == 1
    server.close(reader, bye=bye)
    assert server.lane.deliver([reader], 0, block, FOREVER) == 1
    await quiet()
    assert server.sent == []
    assert reader.is_closed
    assert reader.task is not None
    assert reader.task.done()


async def test_who_catches_up_gives_the_loop_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.log.SEGMENT_ENTRIES", 1)
    server = Server()
    server.fanout.log.extend([entry(n, "t") for n in range(1, 9)])
    server.fanout.plan()
    reader = server.connect(after=0)
    await asyncio.sleep(0)
    assert server.sent == [b"<1>"]
    for _ in range(3):
        await asyncio.sleep(0)
    assert server.sent == [b"<1>", b"<2>", b"<3>", b"<4>"]
    for _ in range(9):
        await asyncio.sleep(0)
    assert reader.state is State.LIVE
    server.close(reader)


async def test_what_send_raises_ends_the_stream() -> None:
    server = Server()

    async def broken(message: MutableMapping[str, Any]) -> None:
        raise OSError("gone")

    audience = server.fanout.audiences.of(TopicSet(["t"]), server.lane)
    reader = AsgiReader("r", None, audience, 0, 0)
    server.fanout.join(reader)
    server.fanout.log.extend([entry(1, "t")])
    server.fanout.plan()
    with pytest.raises(OSError, match="gone"):
        await server.lane.serve(reader, broken)


async def test_a_budget_of_bytes_is_kept() -> None:
    server = Server()
    reader = server.connect()
    reader.budget_bytes = 7
    await quiet()
    await server.publish(1)
    await server.publish(2)
    assert server.spent == []
    await server.publish(3)
    assert server.spent == ["r"]
    assert server.sent == [b"<1>", b"<2>", b"<3>"]


async def test_a_turn_of_the_loop_wakes_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.sinks.asgi.WAKES_PER_TURN", 2)
    server = Server()
    audience = server.fanout.audiences.of(TopicSet(["t"]), server.lane)
    readers = [AsgiReader(str(n), None, audience, 0, 0) for n in range(5)]
    for reader in readers:
        server.fanout.join(reader)
        server.fanout.take(reader, NOW_MS)
    block = server.lane.block([entry(1, "t")], 0, 1)
    assert server.lane.deliver(readers, 0, block, FOREVER) == 2
    assert server.lane.deliver(readers, 2, block, FOREVER) == 2
    assert [reader.handed is block for reader in readers] == [True, True, False, False, False]
    await asyncio.sleep(0)
    assert server.lane.deliver(readers, 2, block, FOREVER) == 4
    await asyncio.sleep(0)
    assert server.lane.deliver(readers, 4, block, FOREVER) == 5

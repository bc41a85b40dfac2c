"""The socket sink on real sockets whose buffers are full, cut short, or gone."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from clarion.audience import Audiences
from clarion.fanout import Fanout
from clarion.log import Log
from clarion.sinks import bounds
from clarion.sinks import socket as socket_module
from clarion.sinks.base import Block
from clarion.sinks.chunks import CHUNK_BYTES, chunk, chunked_block
from clarion.sinks.poller import is_available
from clarion.sinks.socket import LAST_CHUNK, UNREAD_BYTES, SocketReader, SocketSink, _keep_rest
from clarion.subscription import DISCONNECTED, State, Subscription
from clarion.topics import TopicSet
from tests.model.ledger import ChunkDecoder
from tests.unit.core import NOW_MS, entry

FOREVER = float("inf")


class Pump:
    """What the sink asks of delivery, written down."""

    def __init__(self) -> None:
        self.fanout = Fanout(Log(), Audiences())
        self.turns: list[SocketReader] = []
        self.pages: list[SocketReader] = []
        self.lost: list[tuple[str, str]] = []
        self.live: list[str] = []
        self.now = 5
        self.sink = SocketSink(self)

    def now_ms(self) -> int:
        return self.now

    def wall_ms(self) -> int:
        return NOW_MS

    def ready(self, reader: SocketReader) -> None:
        self.turns.append(reader)

    def page(self, reader: SocketReader) -> None:
        self.pages.append(reader)

    def delivered(self, readers: int, events: int, size: int) -> None:
        """Figures are not what is tested here."""

    def caught_up(self, reader: Subscription) -> None:
        self.live.append(reader.id)

    def gone(self, reader: Subscription, reason: str) -> None:
        if self.fanout.leave(reader, reason):
            self.lost.append((reader.id, reason))
            self.sink.lane.end(reader, None)

    def connect(self, name: str, *, after: int | None = None) -> tuple[SocketReader, socket.socket]:
        audience = self.fanout.audiences.of(TopicSet(["t"]), self.sink.lane)
        head = self.fanout.log.head
        reader = SocketReader(name, None, audience, head if after is None else after, head)
        self.fanout.join(reader)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self.sink.adopt(reader, ours.detach())
        self.sink.poll()  # a new socket has room, as it says once
        self.turns.clear()
        return reader, theirs

    def feed_all(self) -> None:
        while self.turns:
            reader = self.turns.pop(0)
            self.sink.lane.feed(reader)

    def plan_all(self) -> None:
        while (plan := self.fanout.plan()) is not None:
            for share in plan.shares():
                if share is None:
                    continue
                block = share.lane.block([plan.entries[n] for n in share.indexes], plan.after, plan.through)
                assert share.lane.deliver(share.readers, 0, block, FOREVER) == len(share.readers)


@pytest.fixture
def pump(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pump]:
    monkeypatch.setattr(bounds, "SEND_BUFFER_BYTES", 4_096)
    pump = Pump()
    yield pump
    pump.sink.close()


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while True:
        try:
            more = sock.recv(1 << 16)
        except BlockingIOError:
            return data
        if not more:
            return data
        data += more


def test_there_is_a_poller_here() -> None:
    assert is_available()


def test_live_readers_are_written_to_at_once(pump: Pump) -> None:
    reader, sock = pump.connect("r")
    pump.sink.lane.feed(reader)
    assert pump.live == ["r"]
    pump.fanout.log.extend([entry(1, "t"), entry(2, "t")])
    pump.plan_all()
    assert sock.recv(1_000) == chunk(b"<1><2>")
    assert reader.written_ms == 5
    sock.close()


def test_who_stalls_falls_behind_and_goes_on_where_it_was(pump: Pump) -> None:
    reader, sock = pump.connect("r")
    pump.sink.lane.feed(reader)
    frames = b""
    for n in range(1, 200):
        pump.fanout.log.extend([one := entry(n, "t", size=700)])
        frames += one.frame
        pump.plan_all()
    assert reader.state is State.BEHIND
    assert reader.blocked
    assert reader.rest is None or len(reader.rest) <= CHUNK_BYTES
    decoder, got = ChunkDecoder(), b""
    for _ in range(1_000):
        got += decoder.feed(read_all(sock))
        pump.sink.poll()
        pump.feed_all()
        if reader.state is State.LIVE:
            break
    assert got + decoder.feed(read_all(sock)) == frames
    assert reader.state is State.LIVE
    assert not reader.blocked
    sock.close()


def test_a_stalled_reader_is_left_alone_until_it_has_room(pump: Pump) -> None:
    reader, sock = pump.connect("r")
    pump.sink.lane.feed(reader)
    for n in range(1, 200):
        pump.fanout.log.extend([entry(n, "t", size=700)])
        pump.plan_all()
    pump.sink.poll()
    assert pump.turns == []
    read_all(sock)
    pump.sink.poll()
    assert pump.turns == [reader]
    sock.close()


def test_who_missed_only_a_heartbeat_is_not_blocked_for_ever(pump: Pump) -> None:
    reader, sock = pump.connect("r")
    pump.sink.lane.feed(reader)
    filler = chunk(b"x" * 100)
    try:
        while True:
            os.write(reader.fd, filler)
    except BlockingIOError:
        pass
    pump.sink.lane.deliver([reader], 0, pump.sink.lane.block((), 0, 0, b"<heartbeat>"), FOREVER)
    assert reader.blocked
    assert reader.rest is None
    read_all(sock)
    pump.sink.poll()
    pump.feed_all()
    assert reader.state is State.LIVE
    assert not reader.blocked
    sock.close()


def test_a_slice_ends_on_time_and_goes_on_where_it_was(pump: Pump, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_module, "CLOCK_EVERY", 2)
    connected = [pump.connect(str(n)) for n in range(5)]
    readers = [reader for reader, _ in connected]
    for reader in readers:
        pump.sink.lane.feed(reader)
    block = chunked_block([entry(1, "t")], 0, 1)
    deliver = pump.sink.lane.deliver
    places = [place := deliver(readers, 0, block, 0.0)]
    while place < 5:
        places.append(place := deliver(readers, place, block, 0.0))
    assert places == [2, 4, 5]
    assert [read_all(sock) for _, sock in connected] == [block.data] * 5
    for _, sock in connected:
        sock.close()


def test_who_is_gone_is_noticed_by_a_write_and_harms_nobody(pump: Pump) -> None:
    connected = [pump.connect(str(n)) for n in range(3)]
    for reader, _ in connected:
        pump.sink.lane.feed(reader)
    connected[1][1].close()
    pump.fanout.log.extend([entry(1, "t")])
    pump.plan_all()
    assert pump.lost == [("1", DISCONNECTED)]
    assert [read_all(sock) for _, sock in connected[::2]] == [chunk(b"<1>")] * 2
    for _, sock in connected[::2]:
        sock.close()


def test_who_is_gone_is_noticed_without_a_write(pump: Pump) -> None:
    _, sock = pump.connect("r")
    sock.close()
    pump.sink.poll()
    assert pump.lost == [("r", DISCONNECTED)]
    assert len(pump.fanout.audiences) == 0


def test_who_was_closed_in_the_middle_of_a_pass_is_passed_over(pump: Pump) -> None:
    reader, sock = pump.connect("r")
    pump.sink.lane.feed(reader)
    pump.fanout.leave(reader, "kicked")
    pump.sink.lane.end(reader, None)
    block = chunked_block([entry(1, "t")], 0, 1)
    assert pump.sink.lane.deliver([reader], 0, block, FOREVER) == 1
    assert read_all(sock) == b""
    assert pump.lost == []
    sock.close()


def test_a_client_may_talk_after_its_request_but_not_for_ever(pump: Pump) -> None:
    reader, sock = pump.connect("r")
    sock.send(b"GET / HTTP/1.1\r\n\r\n")
    pump.sink.poll()
    assert reader.state is not State.CLOSED
    while reader.state is not State.CLOSED:
        assert reader.unread_bytes <= UNREAD_BYTES + (16 << 10)
        try:
            sock.send(b"x" * 10_000)
        except BrokenPipeError:
            break
        pump.sink.poll()
    assert pump.lost == [("r", DISCONNECTED)]
    sock.close()


def test_the_last_frame_ends_the_body(pump: Pump) -> None:
    reader, sock = pump.connect("r")
    fd = reader.fd
    pump.sink.lane.end(reader, b"<bye>")
    assert sock.recv(1_000) == chunk(b"<bye>") + LAST_CHUNK
    assert sock.recv(1_000) == b""
    assert reader.fd == -1
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(fd)
    pump.sink.lane.end(reader, b"<bye>")
    sock.close()


def test_no_last_frame_into_the_middle_of_a_chunk(pump: Pump) -> None:
    reader, sock = pump.connect("r")
    reader.rest = b"st of a chunk\r\n"
    pump.sink.lane.end(reader, b"<bye>")
    assert read_all(sock) == b""
    sock.close()


def test_pages_are_asked_for_once(pump: Pump) -> None:
    pump.fanout = Fanout(Log(max_entries=1), pump.fanout.audiences)
    pump.fanout.log.extend([entry(1, "t"), entry(2, "t")])
    pump.fanout.plan()
    reader, sock = pump.connect("r", after=0)
    pump.sink.lane.feed(reader)
    pump.sink.lane.feed(reader)
    pump.sink.poll()
    assert pump.pages == [reader]
    assert reader.waiting
    pump.sink.lane.feed_page(reader, pump.sink.lane.block([entry(1, "t")], 0, 1, b"<gap>"))
    pump.feed_all()
    assert ChunkDecoder().feed(read_all(sock)) == b"<gap><1><2>"
    assert reader.state is State.LIVE
    sock.close()


def test_a_page_for_who_has_gone_goes_nowhere(pump: Pump) -> None:
    reader, sock = pump.connect("r")
    reader.waiting = True
    pump.gone(reader, DISCONNECTED)
    pump.sink.lane.feed_page(reader, chunked_block([entry(1, "t")], 0, 1))
    assert pump.turns == []
    sock.close()


def test_a_cut_anywhere_loses_and_doubles_nothing(pump: Pump) -> None:
    block = chunked_block([entry(n, "t", size=1_500 * (n % 4)) for n in range(1, 12)], 0, 15, b"<gap>")
    reader, sock = pump.connect("r")
    for sent in range(len(block.data)):
        reader.rest, reader.rest_reached = None, (-1, -1)
        cursor, told = _keep_rest(reader, block, sent)
        rest = bytes(reader.rest or b"")
        reached, _ = reader.rest_reached if reader.rest is not None else (cursor, told)
        whole = [end for end, offset, _ in block.marks if offset <= reached]
        assert sent + len(rest) == (whole[-1] if whole else 0), "the rest of one chunk, and no more"
        assert block.data[sent : sent + len(rest)] == rest
        assert cursor == max([0, *(offset for end, offset, _ in block.marks if end <= sent)]), "what it really has"
        assert told == cursor
        assert cursor <= reached
        assert (reached, cursor) != (0, 0) or sent == 0
    sock.close()


def test_a_heartbeat_cut_short_is_finished(pump: Pump) -> None:
    reader, sock = pump.connect("r")
    block = pump.sink.lane.block((), 7, 7, b"<heartbeat>")
    assert _keep_rest(reader, block, 4) == (7, 7)
    assert bytes(reader.rest or b"") == block.data[4:]
    assert reader.rest_reached == (7, 7)
    assert _keep_rest(reader, Block(b"", 7, 5, (), 9, 5, 0), 0) == (7, 5)
    sock.close()


def test_kernel_buffers_are_bounded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        bounds.bound(sock.fileno())
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * bounds.SEND_BUFFER_BYTES
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == bounds.USER_TIMEOUT_MS

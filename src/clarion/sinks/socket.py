"""The socket sink: streams whose sockets Clarion writes to itself.

A connection that a server has handed over (see `clarion.uvicorn`) is a descriptor and a Subscription: no transport, no
protocol, no task. Delivering is a loop around `write(2)`; the kernel's send is what it costs.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from time import monotonic
from typing import Any, Final, Protocol

from clarion.event import Entry
from clarion.fanout import Fanout, Wait
from clarion.sinks.base import Block, Telling, is_exact
from clarion.sinks.bounds import bound, lift_bound
from clarion.sinks.chunks import CHUNK_BYTES, chunk, chunked_block
from clarion.sinks.poller import GONE, READ, WRITE, EpollPoller, is_available
from clarion.subscription import DISCONNECTED, State, Subscription

CLOCK_EVERY: Final = 32  # writes between two looks at the clock: 0.1 ms, a tenth of a slice
UNREAD_BYTES: Final = 64 * 1024  # a client that says more than this after its request is talking to the wrong server
READ_BYTES: Final = 16 * 1024

LAST_CHUNK: Final = b"0\r\n\r\n"

logger = logging.getLogger("clarion.socket")


class Pump(Protocol):
    """What the sink needs of the delivery around it."""

    fanout: Fanout

    def now_ms(self) -> int: ...
    def wall_ms(self) -> int: ...
    def ready(self, reader: SocketReader) -> None: ...
    def page(self, reader: SocketReader) -> None: ...
    def values(self, reader: SocketReader) -> None: ...
    def delivered(self, readers: int, events: int, size: int) -> None: ...
    def caught_up(self, reader: Subscription) -> None: ...
    def gone(self, reader: Subscription, reason: str) -> None: ...


class SocketReader(Subscription):
    """A reader on a socket of its own.

    rest: what of the last chunk the socket has not taken yet; then the reader has reached `rest_reached`, an offset and
        how far values were told.
    unsaid: its last frame, if it was ended before its socket came.
    """

    __slots__ = ("fd", "queued", "rest", "rest_reached", "unread_bytes", "unsaid", "waiting")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.fd = -1
        self.rest: bytes | memoryview | None = None
        self.rest_reached: tuple[int, int] = (0, 0)
        self.unread_bytes = 0
        self.unsaid: bytes | None = None
        self.queued = False  # for a turn
        self.waiting = False  # for a page


class SocketSink:
    """All sockets of a hub, and the lane of their readers."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._poller = EpollPoller()
        self._readers: dict[int, SocketReader] = {}
        self.lane = SocketLane(self, pump)

    @classmethod
    def make(cls, pump: Pump) -> SocketSink | None:
        """A sink, or None on a system without a poller for it."""
        return cls(pump) if is_available() else None

    def fileno(self) -> int:
        """The descriptor that the event loop watches; when it is readable, call `poll`."""
        return self._poller.fileno()

    def adopt(self, reader: SocketReader, fd: int) -> None:
        """Take over a connected, non-blocking stream socket, whose response head has been written. Raises OSError."""
        bound(fd)
        self._poller.register(fd)
        reader.fd = fd
        self._readers[fd] = reader

    def dismiss(self, reader: SocketReader, fd: int) -> None:
        """Tell a reader that was ended before its socket came, and close the socket."""
        if reader.unsaid is not None:
            _say_last(fd, reader, reader.unsaid)
        os.close(fd)

    def poll(self) -> None:
        """See which sockets have room, have something to say, or are gone."""
        for fd, what in self._poller.poll():
            reader = self._readers.get(fd)
            if reader is None:
                continue
            if what & GONE or (what & READ and not self._discard_input(reader)):
                self._pump.gone(reader, DISCONNECTED)
            elif what & WRITE and reader.state is State.BEHIND and not reader.waiting:
                self._pump.ready(reader)

    def close(self) -> None:
        """Close what is left, without a word."""
        for fd in list(self._readers):
            self.release(self._readers[fd])
        self._poller.close()

    def _discard_input(self, reader: SocketReader) -> bool:
        """Read what the client says after its request. False if it has hung up or does not stop."""
        while reader.unread_bytes <= UNREAD_BYTES:
            try:
                data = os.read(reader.fd, READ_BYTES)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            reader.unread_bytes += len(data)
        return False

    def lift_bound(self, reader: SocketReader) -> None:
        """Let the kernel hold a last frame, however much of what was said before is unsent."""
        lift_bound(reader.fd)

    def release(self, reader: SocketReader) -> None:
        """Let go of a reader's socket; what the kernel has of it is still sent."""
        fd, reader.fd, reader.rest = reader.fd, -1, None
        if fd < 0:
            return
        del self._readers[fd]
        try:
            self._poller.unregister(fd)
        except OSError:
            logger.debug("descriptor %d was not registered any more", fd)
        os.close(fd)


class SocketLane:
    """Chunk-framed writing to sockets. See `clarion.sinks.base.Lane`."""

    streams = True

    def __init__(self, sink: SocketSink, pump: Pump) -> None:
        self._sink = sink
        self._pump = pump

    def block(
        self, entries: Sequence[Entry], after: int, through: int, prefix: bytes = b"", telling: Telling = None
    ) -> Block:
        return chunked_block(entries, after, through, prefix, telling)

    def deliver(self, readers: Sequence[Subscription], start: int, block: Block, until: float) -> int:
        # The hot loop. 1,000 readers, 120-byte events: see docs/benchmarks.md for its ratio to a bare send loop.
        data = block.data
        size = len(data)
        now_ms = self._pump.now_ms()
        write = os.write
        index = start
        count = len(readers)
        while index < count:
            for reader in readers[index : index + CLOCK_EVERY]:
                if reader.state is not State.LIVE:
                    continue
                try:
                    sent = write(reader.fd, data)  # type: ignore[attr-defined]
                except BlockingIOError:
                    self._fell_short(reader, block, 0)
                except OSError:
                    self._lost(reader)
                else:
                    reader.written_ms = now_ms
                    if sent != size:
                        self._fell_short(reader, block, sent)
            index += CLOCK_EVERY
            if monotonic() >= until:
                break
        index = min(index, count)
        self._pump.delivered(index - start, block.events, size)
        return index

    def feed(self, reader: Subscription) -> None:
        """Write one block, or the rest of one, and ask for another turn if the socket took all of it."""
        assert isinstance(reader, SocketReader)
        if reader.state is not State.BEHIND or reader.waiting:
            return
        if reader.rest is not None and not self._write_rest(reader):
            return
        block = self._pump.fanout.take(reader, self._pump.wall_ms())
        if isinstance(block, Wait):
            if block is Wait.PAGE:
                reader.waiting = True
                self._pump.page(reader)
            elif block is Wait.VALUES:
                reader.waiting = True
                self._pump.values(reader)
            elif block is Wait.TURN:
                self._pump.ready(reader)
            elif block is Wait.LIVE:
                reader.blocked = False
                self._pump.caught_up(reader)
        elif self._write(reader, block):
            self._pump.ready(reader)

    def feed_page(self, reader: SocketReader, block: Block) -> None:
        """The page that a reader waited for is here."""
        reader.waiting = False
        if reader.state is State.BEHIND and self._write(reader, block):
            self._pump.ready(reader)

    def feed_values(self, reader: SocketReader) -> None:
        """The values that a reader waited for are here, as its snapshot."""
        reader.waiting = False
        if reader.state is State.BEHIND:
            self._pump.ready(reader)

    def end(self, reader: Subscription, bye: bytes | None) -> None:
        assert isinstance(reader, SocketReader)
        if reader.fd < 0:
            reader.unsaid = bye
        elif bye is not None and reader.rest is None:
            self._sink.lift_bound(reader)
            _say_last(reader.fd, reader, bye)
        self._sink.release(reader)

    def _write(self, reader: SocketReader, block: Block) -> bool:
        """Write a block to a reader that is behind. Whether the socket took all of it."""
        if not block.data:
            reader.reached(block.through, block.told)
            return True
        try:
            sent = os.write(reader.fd, block.data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lost(reader)
            return False
        if sent:
            reader.written_ms = self._pump.now_ms()
            self._pump.delivered(1, block.events, sent)
        reader.blocked = sent < len(block.data)
        if reader.blocked:
            reader.reached(*_keep_rest(reader, block, sent))
        else:
            reader.reached(block.through, block.told)
        return not reader.blocked

    def _write_rest(self, reader: SocketReader) -> bool:
        rest = reader.rest
        assert rest is not None
        try:
            sent = os.write(reader.fd, rest)
        except BlockingIOError:
            return False
        except OSError:
            self._lost(reader)
            return False
        reader.written_ms = self._pump.now_ms()
        if sent < len(rest):
            reader.rest = rest[sent:]
            return False
        reader.rest = None
        reader.blocked = False
        reader.reached(*reader.rest_reached)
        return True

    def _fell_short(self, reader: Subscription, block: Block, sent: int) -> None:
        """A live reader's socket did not take a whole block."""
        assert isinstance(reader, SocketReader)
        if reader.state is State.LIVE:
            reader.blocked = True
            offset, told = _keep_rest(reader, block, sent)
            exact = is_exact(block, offset, told)
            if reader.rest is not None:
                exact = exact and is_exact(block, *reader.rest_reached)
            self._pump.fanout.fell_behind(reader, offset, told, exact=exact)

    def _lost(self, reader: Subscription) -> None:
        if reader.state is not State.CLOSED:
            self._pump.gone(reader, DISCONNECTED)


def _say_last(fd: int, reader: SocketReader, bye: bytes) -> None:
    try:
        os.write(fd, chunk(bye) + LAST_CHUNK)
    except OSError:
        logger.debug("client %s did not take its last frame", reader.id)


def _keep_rest(reader: SocketReader, block: Block, sent: int) -> tuple[int, int]:
    """Keep what is left of the chunk that was cut, and nothing more. Returns what is reached without that chunk."""
    reached = (block.after, block.told_before)
    if sent == 0:
        return reached
    for end, offset, told in block.marks:
        if end == sent:
            return offset, told
        if end > sent:
            break
        reached = (offset, told)
    else:
        end, offset, told = len(block.data), block.through, block.told
    rest = memoryview(block.data)[sent:end]
    reader.rest = bytes(rest) if len(rest) <= CHUNK_BYTES else rest
    reader.rest_reached = (offset, told)
    return reached

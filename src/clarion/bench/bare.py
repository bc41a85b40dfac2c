"""The limit: a server that can do nothing but call `send`.

It answers every connection with a stream's head. To publish, it calls `socket.send` for one reader after
the other in one tight loop, with an event that is framed as a chunk beforehand: no topics, no ids to resume
from, no event loop. What the kernel lets one Python thread deliver, this delivers; everything else is
measured against it.
"""

import itertools
import select
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from clarion.bench.machine import raise_descriptor_limit
from clarion.bench.orders import Order, Reply, say, serve_one
from clarion.bench.payload import DEFAULT_SIZE, event_text
from clarion.bench.publishing import batches

HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)

STALLED_MS: Final = 10_000
"""Milliseconds to wait for a reader with a full buffer before the benchmark counts as failed."""


class Bare:
    """The accept loop and the send loop. One thread."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port: int = self.listener.getsockname()[1]
        self.readers: dict[int, socket.socket] = {}
        self.asking: dict[int, bytes] = {}

    def accept(self) -> None:
        """Take one connection; the head is sent when its request is whole."""
        reader, _ = self.listener.accept()
        reader.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = b""
        while b"\r\n\r\n" not in request:
            piece = reader.recv(4096)
            if not piece:
                reader.close()
                return
            request += piece
        reader.sendall(HEAD)
        reader.setblocking(False)
        self.readers[reader.fileno()] = reader

    def publish(self, order: Order) -> Reply:
        """Send events to all readers. `lockstep` and `burst` are the same here: a send loop joins nothing."""
        size = int(order.get("size", DEFAULT_SIZE))
        readers = list(self.readers.values())
        sends = [reader.send for reader in readers]
        began, cpu = time.monotonic_ns(), time.process_time()
        for number in itertools.chain.from_iterable(batches(order)):
            frame = f"id: {number}\ndata: {event_text(number, size)}\n\n".encode()
            chunk = b"%x\r\n%s\r\n" % (len(frame), frame)
            send_to_all(readers, sends, chunk)
        return {
            "began_ns": began,
            "seconds": (time.monotonic_ns() - began) / 1e9,
            "cpu_seconds": time.process_time() - cpu,
        }

    def drop(self, order: Order) -> Reply:
        for reader in self.readers.values():
            reader.close()
        self.readers.clear()
        return {}

    def run(self) -> None:
        """Accept until an order comes; serve it; go on. Ends with stdin."""
        say({"ready": True, "port": self.port, "pids": [], "versions": {}})
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        poll.register(sys.stdin, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self.listener.fileno():
                    self.accept()
                elif not serve_one({"publish": self.publish, "drop": self.drop}):
                    return


def send_to_all(readers: list[socket.socket], sends: Sequence[Callable[[bytes], int]], chunk: bytes) -> None:
    """The tight loop. A reader whose buffer is full is waited for: all are to be served, and none is slow
    on purpose."""
    whole = len(chunk)
    for at, send in enumerate(sends):
        try:
            sent = send(chunk)
        except BlockingIOError:
            sent = 0
        if sent != whole:
            finish(readers[at], chunk[sent:])


def finish(reader: socket.socket, rest: bytes) -> None:
    """Wait for a reader whose buffer is full, and send it the rest."""
    poll = select.poll()
    poll.register(reader, select.POLLOUT)
    while rest:
        if not poll.poll(STALLED_MS):
            raise TimeoutError("a reader takes nothing")
        rest = rest[reader.send(rest) :]


def main() -> None:
    raise_descriptor_limit()
    Bare().run()


if __name__ == "__main__":
    main()

"""The load client, a process of its own: thousands of SSE readers on raw sockets and one epoll (Linux).

It takes orders as JSON lines on stdin and answers each with one JSON line on stdout (see `orders.py`):

- `open`: connect `count` readers; answers when every one has had its response head (unless `wait` is false);
- `collect`: read until every reader has event number `goal`, or until `timeout` seconds have gone;
- `drop`: reset all connections.

Every reader's events are reconciled (see `ledger.py`): each once, in order, none missing.
"""

import contextlib
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from clarion.bench.ledger import Faults, Ledger, State, Step
from clarion.bench.machine import raise_descriptor_limit
from clarion.bench.orders import Order, Reply, serve
from clarion.bench.percentiles import percentile

READ_BYTES: Final = 65_536
"""Bytes asked of the kernel at a time."""

CONNECTING_AT_ONCE: Final = 128
"""Readers that may wait for their response head at the same time; well under any server's accept backlog."""

SAMPLED_READERS: Final = 40
"""Readers of which the latency of every single event is recorded; the others are only reconciled."""

LATENCIES: Final = 2_000_000
"""Latencies kept at most (8 bytes each and their integers); then the recording stops."""

POLLED: Final = 1024
"""Readers taken from one call of epoll. One clock reading serves them, so a latency can be off by one such
round."""

FROZEN_BUFFER_BYTES: Final = 8_192
"""Receive buffer of frozen readers: so that the server feels within seconds that they do not read."""

HEAD_BYTES: Final = 16_384
"""A longer response head is a fault of the server."""


class Client:
    """All readers of this process. One thread."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.faults = Faults()
        self.poll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        self.heads: dict[int, bytes] = {}
        self.head_state = State(0, b"", b"")
        self.states: list[State] = []
        self.wanted: list[int] = []
        self.sampled: set[int] = set()
        self.frozen: list[socket.socket] = []
        self.latencies: list[int] = []
        self.goal = 0
        self.behind = 0
        self.deliveries = 0
        self.received_bytes = 0
        self.runs = 0
        self.finished_ns = 0
        self.refused: list[str] = []

    # -- connecting

    def open(self, order: Order) -> Reply:
        """Connect readers: `count`, `port`, `path`, `headers`, `first` (number wanted first), `frozen`,
        `goal`, `wait`."""
        count, first = int(order["count"]), int(order.get("first", 1))
        self.goal = int(order.get("goal", 0))
        began = time.monotonic()
        left = count
        while left or (self.heads and order.get("wait", True)):
            while left and len(self.heads) < CONNECTING_AT_ONCE:
                self._connect(order, count - left, first)
                left -= 1
            self._turn(1.0)
            if self.refused or time.monotonic() - began > float(order.get("timeout", 120)):
                break
        return {
            "readers": len(self.sockets) - len(self.heads),
            "unanswered": len(self.heads) + left,
            "refused": self.refused[:3],
            "seconds": time.monotonic() - began,
        }

    def freeze(self, order: Order) -> Reply:
        """Connect `count` readers that never read a byte, not even the response head."""
        for index in range(int(order["count"])):
            frozen = socket.socket()
            frozen.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, FROZEN_BUFFER_BYTES)
            frozen.connect(("127.0.0.1", int(order["port"])))
            frozen.sendall(request(order, index))
            self.frozen.append(frozen)
        return {"frozen": len(self.frozen)}

    def _connect(self, order: Order, index: int, first: int) -> None:
        reader = socket.create_connection(("127.0.0.1", int(order["port"])))
        reader.sendall(request(order, index))
        reader.setblocking(False)
        fd = reader.fileno()
        while len(self.states) <= fd:
            self.states.append(self.head_state)
            self.wanted.append(0)
        self.sockets[fd] = reader
        self.heads[fd] = b""
        self.states[fd] = self.head_state
        self.wanted[fd] = first
        self.behind += first <= self.goal
        if index % max(1, int(order["count"]) // SAMPLED_READERS) == 0:
            self.sampled.add(fd)
        self.poll.register(fd, select.EPOLLIN)

    def _head(self, fd: int, run: bytes) -> bytes | None:
        """Take a piece of the response head; return what came after it, or None while it is not whole."""
        text = self.heads[fd] + run
        head, end, rest = text.partition(b"\r\n\r\n")
        if not end:
            self.heads[fd] = text
            if len(text) > HEAD_BYTES:
                self._refuse(fd, text)
            return None
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
            self._refuse(fd, text)
            return None
        del self.heads[fd]
        chunked = b"transfer-encoding: chunked" in head.lower()
        self.states[fd] = self.ledger.chunked if chunked else self.ledger.raw
        return rest

    def _refuse(self, fd: int, text: bytes) -> None:
        self.refused.append(text[:200].decode("latin-1"))
        del self.heads[fd]
        self._forget(fd)

    # -- reading

    def collect(self, order: Order) -> Reply:
        """Read until all readers have event `goal` or `timeout` seconds have gone; reply with all that was
        counted."""
        self.goal = int(order["goal"])
        self.behind = sum(self.wanted[fd] <= self.goal for fd in self.sockets)
        began, cpu = time.monotonic(), time.process_time()
        deadline = began + float(order["timeout"])
        pause = float(order.get("pause", 0.0))
        while self.behind > 0 and time.monotonic() < deadline:
            time.sleep(pause)
            self._turn(min(0.5, max(0.0, deadline - time.monotonic())))
        seconds = time.monotonic() - began
        for fd in self.sockets:
            self.faults.lost += max(0, self.goal + 1 - self.wanted[fd])
        reply = self._reply(seconds, time.process_time() - cpu)
        self._reset()
        return reply

    def _turn(self, timeout: float) -> None:
        """Read once from every reader that has something. The hot loop: about 2 us per reader, mostly the
        kernel's."""
        states, wanted, sampled, goal = self.states, self.wanted, self.sampled, self.goal
        read, runs, size, deliveries = os.read, 0, 0, 0
        for fd, _ in self.poll.poll(timeout, POLLED):
            try:
                run = read(fd, READ_BYTES)
            except ConnectionError:
                run = b""
            runs += 1
            size += len(run)
            step = states[fd].steps.get(run)
            if step is None:
                step = self._learn(fd, run)
                if step is None:
                    continue
            states[fd] = step.after
            first = step.first
            if first == 0:
                self.faults.gaps += step.gaps
                continue
            before = wanted[fd]
            if first == before and not step.broken and not step.gaps:
                wanted[fd] = after = step.last + 1
                deliveries += after - before
            else:
                after = self._repair(fd, step)
            if before <= goal < after:
                self.behind -= 1
                if self.behind == 0:
                    self.finished_ns = time.monotonic_ns()
            if fd in sampled:
                self._sample(step)
        self.runs += runs
        self.received_bytes += size
        self.deliveries += deliveries

    def _learn(self, fd: int, run: bytes) -> Step | None:
        """Parse a run that is seen here for the first time; None if it was part of the head, or the end."""
        if not run:
            if fd in self.heads:
                self._refuse(fd, self.heads[fd] or b"closed without an answer")
            else:
                self.faults.closed += 1
                self._forget(fd)
            return None
        if fd in self.heads:
            rest = self._head(fd, run)
            if not rest:
                return None
            run = rest
        return self.ledger.step(self.states[fd], run)

    def _repair(self, fd: int, step: Step) -> int:
        """Count the faults of a step that does not simply continue; return what the reader wants now."""
        numbers = step.broken or range(step.first, step.last + 1)
        self.faults.gaps += step.gaps
        self.wanted[fd] = self.faults.check(self.wanted[fd], numbers)
        self.deliveries += len(numbers)
        return self.wanted[fd]

    def _sample(self, step: Step) -> None:
        if len(self.latencies) < LATENCIES:
            now = time.monotonic_ns()
            self.latencies += [now - stamp for stamp in step.stamps]

    # -- answering

    def _reply(self, seconds: float, cpu: float) -> Reply:
        latencies = sorted(self.latencies)
        return {
            "complete": self.behind == 0 and not self.faults,
            "readers": len(self.sockets),
            "behind": self.behind,
            "deliveries": self.deliveries,
            "bytes": self.received_bytes,
            "runs": self.runs,
            "seconds": seconds,
            "finished_ns": self.finished_ns,
            "cpu_seconds": cpu,
            "faults": asdict(self.faults),
            "latency_samples": len(latencies),
            **{f"p{share}_ms": percentile(latencies, share) / 1e6 for share in (50, 90, 99)},
            "max_ms": latencies[-1] / 1e6 if latencies else 0.0,
        }

    def _reset(self) -> None:
        self.faults, self.latencies = Faults(), []
        self.deliveries = self.received_bytes = self.runs = self.finished_ns = 0

    def drop(self, order: Order) -> Reply:
        """Reset all connections: a RST leaves no TIME_WAIT behind, so ports do not run out between rounds."""
        dropped = len(self.sockets) + len(self.frozen)
        for fd in list(self.sockets):
            self._forget(fd)
        for frozen in self.frozen:
            reset(frozen)
        self.frozen, self.heads, self.refused = [], {}, []
        self._reset()
        self.goal = self.behind = 0
        return {"dropped": dropped}

    def _forget(self, fd: int) -> None:
        gone = self.sockets.pop(fd)
        self.sampled.discard(fd)
        self.poll.unregister(fd)
        self.states[fd] = self.head_state
        reset(gone)


def reset(gone: socket.socket) -> None:
    with contextlib.suppress(OSError):
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.close()


def request(order: Mapping[str, Any], index: int) -> bytes:
    """Return the request of reader `index`.

    In the path and in header values `{i}` stands for the index, and `{i%100}` for its last two digits.
    """

    def own(text: str) -> str:
        return text.replace("{i}", str(index)).replace("{i%100}", str(index % 100))

    path = own(str(order.get("path", "/events")))
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: text/event-stream"]
    lines += [own(f"{name}: {value}") for name, value in order.get("headers", {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def main() -> None:
    raise_descriptor_limit()
    os.nice(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    client = Client()
    serve({"open": client.open, "freeze": client.freeze, "collect": client.collect, "drop": client.drop})


if __name__ == "__main__":
    main()

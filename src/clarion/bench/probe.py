"""Pings a server's `/ping` route at a steady rate: `python -m clarion.bench.probe PORT RATE`.

Each ping goes over a connection that is idle, as another user's would, so a slow answer holds up no other ping. It is
timed from when it was due, not from when it could be sent.
"""

import contextlib
import os
import select
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from clarion.bench.orders import Order, Reply, serve

REQUEST: Final = b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
ANSWER_END: Final = b"pong"

CONNECTIONS: Final = 64
"""Pings under way at most. With more than that unanswered, the next are late, and it shows in their times."""

PRECEDENCE: Final = -10
"""Niceness, where it is allowed: it is the server that is measured, not the scheduler."""

LAST_SECONDS: Final = 10.0
"""How long the last answers are waited for."""


class Probe:
    """Pings one server."""

    def __init__(self, port: int, rate: float) -> None:
        self._port = port
        self._apart_ns = 1e9 / rate
        self._poll = select.epoll()
        self._idle: deque[socket.socket] = deque()
        self._asked: dict[int, Asked] = {}
        self._taken: list[tuple[int, int]] = []

    def ping(self, order: Order) -> Reply:
        """Ping for `seconds`; reply with (due, nanoseconds taken) of each ping."""
        # Anew for each order: servers close connections that have been idle for some seconds.
        connections = [self._connect() for _ in range(CONNECTIONS)]
        self._idle = deque(connections)
        self._asked, self._taken = {}, []
        self._ask_until(time.monotonic_ns() + int(float(order["seconds"]) * 1e9))
        end = time.monotonic() + LAST_SECONDS
        while self._asked and time.monotonic() < end:
            self._take_answers(LAST_SECONDS)
        for connection in connections:
            connection.close()
        return {"pings": self._taken, "unanswered": len(self._asked)}

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll.register(connection.fileno(), select.EPOLLIN)
        return connection

    def _ask_until(self, end: int) -> None:
        began, number = time.monotonic_ns(), 0
        while (due := began + int(number * self._apart_ns)) < end:
            if self._idle and time.monotonic_ns() >= due:
                # The one that was idle for longest, so that none is for long.
                connection = self._idle.popleft()
                connection.sendall(REQUEST)
                self._asked[connection.fileno()] = Asked(connection, due)
                number += 1
            else:
                self._take_answers((due - time.monotonic_ns()) / 1e9 if self._idle else LAST_SECONDS)

    def _take_answers(self, seconds: float) -> None:
        # epoll counts whole milliseconds; the rest of the way is looked at again and again.
        for fd, _ in self._poll.poll(max(0.0, seconds - 0.001)):
            asked = self._asked[fd]
            piece = asked.connection.recv(4096)
            if not piece:
                raise ConnectionError("the server closed the connection")
            asked.answer += piece
            if asked.answer.endswith(ANSWER_END):
                self._taken.append((asked.due, time.monotonic_ns() - asked.due))
                self._idle.append(asked.connection)
                del self._asked[fd]


@dataclass(slots=True)
class Asked:
    """A ping under way."""

    connection: socket.socket
    due: int
    answer: bytes = b""


def main() -> None:
    with contextlib.suppress(PermissionError):
        os.nice(PRECEDENCE)
    serve({"ping": Probe(int(sys.argv[1]), float(sys.argv[2])).ping})


if __name__ == "__main__":
    main()

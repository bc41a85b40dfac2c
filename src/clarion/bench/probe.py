"""Pings a server's `/ping` route over one connection at a steady rate: `python -m clarion.bench.probe PORT
RATE`.

A ping is timed from when it was due, not from when it could be sent: a server that does not answer for a
second has kept all the pings of that second waiting.
"""

import os
import socket
import sys
import time
from typing import Final

from clarion.bench.orders import Order, Reply, serve

REQUEST: Final = b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
ANSWER_END: Final = b"pong"
PRECEDENCE: Final = -10
"""Niceness, where it is allowed: it is the server that is measured, not the scheduler."""


class Probe:
    """One kept-alive connection."""

    def __init__(self, port: int, rate: float) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._apart = 1e9 / rate

    def ping(self, order: Order) -> Reply:
        """Ping for `seconds`; reply with (due, nanoseconds taken) of each ping."""
        began, taken = time.monotonic_ns(), []
        number, end = 0, began + int(float(order["seconds"]) * 1e9)
        while (due := began + int(number * self._apart)) < end:
            time.sleep(max(0, due - time.monotonic_ns()) / 1e9)
            self._connection.sendall(REQUEST)
            self._await_answer()
            taken.append((due, time.monotonic_ns() - due))
            number += 1
        return {"pings": taken}

    def _await_answer(self) -> None:
        received = b""
        while not received.endswith(ANSWER_END):
            piece = self._connection.recv(4096)
            if not piece:
                raise ConnectionError("the server closed the connection")
            received += piece


def main() -> None:
    try:
        os.nice(PRECEDENCE)
    except PermissionError:
        pass
    serve({"ping": Probe(int(sys.argv[1]), float(sys.argv[2])).ping})


if __name__ == "__main__":
    main()

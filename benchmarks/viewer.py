"""Readers of values in the driver's process: they read one topic, fast or as over a slow link, and fold it."""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.contenders import ROOT
from benchmarks.viewing import CONNECTED, SET, Body, View
from clarion.bench.processes import Server, free_port, uvicorn_command

READ_BYTES: Final = 65_536
SLOW_PIECE_BYTES: Final = 64
"""What a slow reader takes at a time: at 1 KB/s, 16 times a second."""

SMALLEST_BUFFER: Final = 1
"""Asked of the kernel as the size of a receive buffer, it gives the smallest that there is (2,304 bytes on Linux)."""

PATIENCE_SECONDS: Final = 30.0


def values_server(journal: str = "memory://") -> Server:
    """Start the server of values, with Clarion's socket sink. It is a process of its own, as every server here."""
    port = free_port()
    command = uvicorn_command("benchmarks.servers.values_app:app", port, "--http", "clarion.uvicorn:Protocol")
    return Server(["env", f"CLARION_BENCH_JOURNAL={journal}", *command], port=port, cwd=ROOT)


def request(topic: str) -> bytes:
    return f"GET /events?topic={topic} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode()


@dataclass(frozen=True, slots=True)
class Joined:
    """How a late joiner fared. `received_bytes` with all framing, without the response head."""

    seconds: float
    received_bytes: int
    value: Any
    faults: dict[str, int]


def join(port: int, topic: str, value: Any = None) -> Joined:
    """Ask for a topic, read until its whole value has come, and leave. Timed from the request, not from connecting.

    value: where it is given, go on until that is shown: a hub may give a crowd a value that is up to a second old, and
    then what was changed since.
    """
    body, view = Body(), View()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        began = time.monotonic_ns()
        connection.sendall(request(topic))
        while not body.has(SET):
            body.feed(_received(connection, READ_BYTES))
        took = time.monotonic_ns() - began
        view.feed(bytes(body.text))
        try:
            while value is not None and view.values.get(topic) != value:
                view.feed(body.feed(_received(connection, READ_BYTES)))
        except TimeoutError:
            pass  # what it shows is compared by who asked
    return Joined(took / 1e9, body.received_bytes, view.values.get(topic), view.faults)


class Viewer:
    """One reader, in a thread from `__enter__` to `__exit__`.

    bytes_per_second: reads no more than that, with the smallest receive buffer, as behind a slow link. What it does
    not read in one moment it does not make up for in the next, as a link does not. sleep: for tests.
    """

    def __init__(
        self,
        port: int,
        topic: str,
        bytes_per_second: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.view = View()
        self._topic = topic
        self._rate = bytes_per_second
        self._sleep = sleep
        self._body = Body()
        self._received = threading.Condition()
        self._changed_ns = 0
        self._ending = False
        self._error: Exception | None = None
        self._socket = socket.socket()
        if bytes_per_second is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALLEST_BUFFER)
        self._socket.settimeout(PATIENCE_SECONDS)
        self._socket.connect(("127.0.0.1", port))
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._read, daemon=True)

    @property
    def value(self) -> Any:
        """What it shows."""
        return self.view.values.get(self._topic)

    @property
    def received_bytes(self) -> int:
        return self._body.received_bytes

    @property
    def faults(self) -> dict[str, int]:
        """What may not be, counted."""
        return {**self.view.faults, "closed": int(self._error is not None)}

    def shown_ns(self, value: Any, seconds: float = PATIENCE_SECONDS) -> int | None:
        """Wait until it shows `value`; return when that was (`time.monotonic_ns()`), or None if it does not."""
        return self._changed_ns if self._wait_for(lambda: self._shows(value), seconds) else None

    def is_shown(self, seconds: float = PATIENCE_SECONDS) -> bool:
        """Wait until it shows any value at all; return whether it does."""
        return self._wait_for(lambda: self._changed_ns > 0, seconds)

    def is_connected(self, seconds: float = PATIENCE_SECONDS) -> bool:
        """Wait until its stream has begun; return whether it has."""
        return self._wait_for(lambda: CONNECTED in self._body.text, seconds)

    def _shows(self, value: Any) -> bool:
        return self._changed_ns > 0 and self.value == value

    def _wait_for(self, what: Callable[[], bool], seconds: float) -> bool:
        with self._received:
            self._received.wait_for(lambda: self._error is not None or what(), seconds)
            return what()

    def _read(self) -> None:
        try:
            self._socket.sendall(request(self._topic))
            while True:
                run = _received(self._socket, READ_BYTES if self._rate is None else SLOW_PIECE_BYTES)
                with self._received:
                    if self.view.feed(self._body.feed(run)):
                        self._changed_ns = time.monotonic_ns()
                    self._received.notify_all()
                if self._rate is not None:
                    self._sleep(len(run) / self._rate)
        except (OSError, ValueError) as error:
            with self._received:
                self._error = None if self._ending else error
                self._received.notify_all()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the server was faster
        self._thread.join()
        self._socket.close()


def _received(connection: socket.socket, size: int) -> bytes:
    run = connection.recv(size)
    if not run:
        raise ConnectionError("the server closed the stream")
    return run

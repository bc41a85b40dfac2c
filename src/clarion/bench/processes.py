"""The driver's side: starts the processes of a benchmark and gives them orders (see `orders.py`)."""

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from clarion.bench import machine
from clarion.bench.orders import Order, Reply

PATIENCE_SECONDS: Final = 180.0
"""Seconds that an order may take; then the benchmark counts as failed."""

START_SECONDS: Final = 20.0
"""Seconds in which a server must accept connections."""

END_SECONDS: Final = 5.0
"""Seconds that a process may take to end when its stdin is closed; then it is killed."""


PIECE_BYTES: Final = 65_536


class OrderFailed(Exception):
    """A process ended, took too long, or answered an order with an error."""


class Child:
    """One process that takes orders. Use as a context manager; it ends with the block."""

    def __init__(
        self, command: Sequence[str], *, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ):
        self.command = list(command)
        self._process = subprocess.Popen(
            self.command, cwd=cwd, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(self._process.stdout, selectors.EVENT_READ)
        self._buffer = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def order(self, do: str, **details: Any) -> None:
        """Give an order without waiting for its answer."""
        assert self._process.stdin is not None
        line: Order = {"do": do, **details}
        try:
            self._process.stdin.write(json.dumps(line).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise OrderFailed(f"{self.command} has ended") from error

    def answer(self, seconds: float = PATIENCE_SECONDS) -> Reply:
        """Return the next answer."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            if not self._waiting.select(max(0.0, deadline - time.monotonic())):
                raise OrderFailed(f"{self.command} gave no answer in {seconds:.0f} s")
            piece = os.read(self._process.stdout.fileno(), PIECE_BYTES)
            if not piece:
                raise OrderFailed(f"{self.command} ended with code {self._process.wait()}")
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        reply: Reply = json.loads(line)
        if "error" in reply:
            raise OrderFailed(f"{self.command}: {reply['error']}")
        return reply

    def ask(self, do: str, **details: Any) -> Reply:
        """Give an order and return its answer."""
        self.order(do, **details)
        return self.answer()

    def close(self) -> None:
        """Close its stdin, which ends it; kill it if it does not. May be called twice."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._waiting.close()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Server(Child):
    """A server under test. It has said that it is ready, and it accepts connections."""

    def __init__(self, command: Sequence[str], *, port: int = 0, cwd: Path | None = None) -> None:
        super().__init__(command, cwd=cwd)
        try:
            self.ready = self.answer(START_SECONDS)
            self.port = port or int(self.ready["port"])
            self.pids: list[int] = self.ready["pids"] or [self.pid]
            self._await_listening()
        except BaseException:
            self.close()
            raise

    def _await_listening(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise OrderFailed(f"{self.command} accepts no connections") from None
                time.sleep(0.02)
            else:
                return

    def resident_bytes(self) -> int:
        return machine.resident_bytes(self.pids)

    def cpu_seconds(self) -> float:
        return machine.cpu_seconds(self.pids)


def load_client(niceness: int = 0) -> Child:
    """Start a load client. With a niceness above 0 it gives way to what is measured."""
    return Child([sys.executable, "-m", "clarion.bench.client", str(niceness)])


def free_port() -> int:
    """Return a port that was free just now, for servers that must be told one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def uvicorn_command(app: str, port: int, *options: str) -> list[str]:
    """Return the command that serves an app with uvicorn's fast parts, as its documentation has it for
    production."""
    return [
        *(sys.executable, "-m", "uvicorn", app, "--port", str(port), "--loop", "uvloop"),
        *("--no-access-log", "--log-level", "warning", "--backlog", "4096", *options),
    ]

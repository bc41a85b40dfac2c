"""A server as a process of its own, to be ended and started again on its port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 20
END_SECONDS = 10


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


class Program:
    """Runs `command`, which is to listen on `port`. What it writes goes to the file `log`, over all its starts."""

    def __init__(
        self, command: Sequence[str], *, port: int, log: Path, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._port = port
        self._log = log
        self._cwd = cwd
        self._environment = environment or os.environ
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{port}"

    @property
    def written(self) -> str:
        """What it has written to standard output and standard error."""
        return self._log.read_text(encoding="utf-8")

    def start(self) -> None:
        """Start, and return when it listens."""
        with self._log.open("ab") as log:
            self._process = process = subprocess.Popen(
                self._command, cwd=self._cwd, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"{self._command} does not listen: {self.written}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it politely."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=5).close()
        except ConnectionRefusedError:
            return False
        return True

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(how)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self._command} goes on after {how.name}: {self.written}") from None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop() if kind is None else self.kill()

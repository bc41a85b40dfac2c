"""The demo as a process of its own, to be started, killed and started again on the same port and journal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

START_SECONDS = 20


class DemoServer:
    """A demo process with its journal in `folder`. The first start picks a port, later ones keep it."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._environment = {**os.environ, "OPENAI_BASE_URL": "", **(environment or {})}
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def errors(self) -> str:
        """What the server has written to standard error, over all its starts."""
        return (self._folder / "stderr").read_text()

    def start(self) -> None:
        """Start, and return when the server answers."""
        journal = f"sqlite:///{self._folder / 'demo.db'}"
        command = [sys.executable, "-m", "clarion.demo", "--port", str(self.port), "--journal", journal]
        with (self._folder / "stderr").open("a") as stderr:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=self._environment
            )
        try:
            port = httpx.URL(self._read_url()).port
            assert port is not None
            assert self.port in (0, port), f"asked for port {self.port}, got {port}"
            self.port = port
            self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End it politely and return its exit status."""
        return self._end(signal.SIGTERM)

    def forget(self) -> None:
        """Take its journal away, while it does not run."""
        for file in self._folder.glob("demo.db*"):
            file.unlink()

    def post(self, path: str, **body: Any) -> httpx.Response:
        """Post JSON to a path of the demo."""
        return httpx.post(self.url + path, json=body, timeout=10)

    def _read_url(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        said = ""
        for line in self._process.stdout:
            said += line
            if "http://" in line:
                return line[line.index("http://") :].split()[0]
        raise AssertionError(f"the demo did not start: {said} {self.errors}")

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                httpx.get(self.url + "/api/about", timeout=5).raise_for_status()
            except httpx.TransportError:
                assert time.monotonic() < deadline, self.errors
                time.sleep(0.02)
            else:
                return

    def _end(self, how: signal.Signals) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.send_signal(how)
        try:
            return process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the demo did not end within 10 s of {how.name}: {self.errors}") from None
        finally:
            assert process.stdout is not None
            process.stdout.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.stop() if kind is None else self.kill()

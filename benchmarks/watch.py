"""Watches a server's memory while something happens to it."""

import threading
from types import TracebackType
from typing import Final, Self

from clarion.bench.processes import Server

SAMPLE_SECONDS: Final = 0.05


class PeakMemory:
    """A context manager; `grown` is the most that the resident memory was above that at the start, in
    bytes."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._start = server.resident_bytes()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.grown = 0

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        self.grown = max(self.grown, self._server.resident_bytes() - self._start)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._sample()

"""A server that is told to end does not wait for streams: each reader gets its `bye`, and the process ends."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.servers import COMMANDS, Reader, Server, connect_many

READERS = 8
ENDS_WITHIN_SECONDS = 8  # hypercorn's workers are told nothing; they cut streams off after 3 s

# What each server's process ends with, without a stream and without Clarion.
STATUS = {
    ("uvicorn", signal.SIGINT): (0, -signal.SIGINT, 130),
    ("uvicorn", signal.SIGTERM): (-signal.SIGTERM, 0),
}


def assert_quiet(log: str) -> None:
    for word in ("Traceback", "Exception", "Error", "never retrieved", "was destroyed", "without completing"):
        assert word not in log, log


def assert_told(server: Server, readers: list[Reader]) -> None:
    """Every reader has its own retry, and `on_disconnect` ran once for each."""
    byes = [reader.bye() for reader in readers]
    assert {bye["reason"] for bye in byes} == {"drain"}
    assert len({bye["retry"] for bye in byes}) > len(readers) / 2, byes
    assert all(1_000 <= bye["retry"] <= 60_000 for bye in byes)


def assert_counted(server: Server, ids: list[str]) -> None:
    gone = server.gone
    assert sorted(one["gone"] for one in gone) == sorted(ids)
    assert {one["reason"] for one in gone} == {"drain"}


def exit_status(folder: Path, kind: str, number: signal.Signals, *more: str) -> int:
    """How the server ends when nobody reads."""
    folder.mkdir()
    with Server(folder, kind, *more) as server:
        server.tell(number)
        return server.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("kind", [kind for kind in COMMANDS if kind != "thread"])
def test_a_signal_ends_it(kind: str, number: signal.Signals, tmp_path: Path) -> None:
    with Server(tmp_path, kind) as server:
        readers = [Reader(server) for _ in range(READERS)]
        ids = [reader.connected()["clientId"] for reader in readers]
        began = time.monotonic()
        server.tell(number)
        assert_told(server, readers)
        status = server.wait()
        assert time.monotonic() - began < ENDS_WITHIN_SECONDS
        assert_counted(server, ids)
        assert_quiet(server.log)
    assert status == exit_status(tmp_path / "bare", kind, number)

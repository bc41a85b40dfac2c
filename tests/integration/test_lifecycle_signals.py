"""A server that is told to end does not wait for streams: each reader gets its `bye`, and the process ends."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from clarion import Hub
from clarion.parser import Message
from tests.integration.in_process import until
from tests.integration.servers import COMMANDS, SECONDS, H2Reader, Reader, Server, number_of, wait_until

READERS = 8
ENDS_WITHIN_SECONDS = 8  # hypercorn's workers are told nothing: it cuts streams off after 3 s


def assert_quiet(log: str) -> None:
    for word in ("Traceback", "Exception", "ERROR", "never retrieved", "was destroyed"):
        assert word not in log, log


def connect(server: Server, **options: Any) -> tuple[list[Reader], list[str]]:
    """Readers, and their ids."""
    readers = [Reader(server, **options) for _ in range(READERS)]
    return readers, [reader.connected()["clientId"] for reader in readers]


def assert_told(readers: list[Reader]) -> None:
    """Every reader was told to come back, not all at the same time."""
    byes = [reader.bye() for reader in readers]
    assert {bye["reason"] for bye in byes} == {"drain"}
    assert len({bye["retry"] for bye in byes}) > len(readers) / 2, byes
    assert all(1_000 <= bye["retry"] <= 60_000 for bye in byes)


def assert_counted(server: Server, ids: list[str]) -> None:
    """`on_disconnect` ran to its end, once for each."""
    assert sorted((one["gone"], one["reason"]) for one in server.gone) == sorted((one, "drain") for one in ids)


def interrupt(server: Server, number: signal.Signals) -> None:
    """SIGINT to all its processes, as from a terminal; SIGTERM to the main one, as from a service manager."""
    if number is signal.SIGINT:
        server.tell_group(number)
    else:
        server.tell(number)


# From Python 3.12 on, hypercorn's worker processes wait for every client to go by itself, whatever the app.
WAITS_FOR_EVER = {"hypercorn"} if sys.version_info >= (3, 12) else set[str]()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("kind", [kind for kind in COMMANDS if kind not in {"thread", *WAITS_FOR_EVER}])
def test_a_signal_ends_it(kind: str, number: signal.Signals, tmp_path: Path) -> None:
    """Within seconds, and with the status that the same server has without Clarion."""
    with Server(tmp_path, kind) as server:
        readers, ids = connect(server)
        server.publish(times=3)
        began = time.monotonic()
        interrupt(server, number)
        assert_told(readers)
        status = server.wait()
        assert time.monotonic() - began < ENDS_WITHIN_SECONDS
        assert_counted(server, ids)
        if kind != "hypercorn":  # its own tasks, cancelled, leave tracebacks with every streaming response
            assert_quiet(server.log)
    by_signal = number is signal.SIGTERM and COMMANDS[kind][2] == "uvicorn"
    assert status == (-number if by_signal else 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("kind", ["uvicorn", "protocol", "granian"])
def test_a_signal_ends_several_workers(kind: str, number: signal.Signals, tmp_path: Path) -> None:
    with Server(tmp_path, kind, "--workers", "2", journal=f"sqlite:///{tmp_path / 'events.db'}") as server:
        wait_until(lambda: server.log.count("startup complete") + server.log.count("Started worker") == 2, "both run")
        readers, ids = connect(server)
        server.publish(times=2)
        assert [reader.numbers(2) for reader in readers] == [[0, 1]] * READERS
        interrupt(server, number)
        assert_told(readers)
        assert server.wait() == 0
        assert_counted(server, ids)
        assert_quiet(server.log)


@pytest.mark.parametrize("kind", ["uvicorn", "protocol"])
def test_reload(kind: str, tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    watched.mkdir()
    (watched / "module.py").touch()
    journal = f"sqlite:///{tmp_path / 'events.db'}"
    with Server(tmp_path, kind, "--reload", "--reload-dir", str(watched), journal=journal) as server:
        readers, ids = connect(server)
        before = server.about()["pid"]

        def touched() -> bool:
            (watched / "module.py").write_text(f"# {time.monotonic()}")
            try:
                readers[0].head().next(0.5)
            except AssertionError:
                return False
            return True

        wait_until(touched, "the watcher is at work")
        for reader in readers[1:]:
            assert reader.bye()["reason"] == "drain"
        wait_until(lambda: _pid(server) not in (None, before), "another process has taken over")
        assert_counted(server, ids)
        again = Reader(server, last_event_id=readers[1].last_event_id)
        assert again.connected()["mode"] == "resumed"
        server.tell_group(signal.SIGINT)
        assert again.bye()["reason"] == "drain"
        server.wait()
        assert_quiet(server.log.replace("WARNING:  WatchFiles detected changes", ""))


def _pid(server: Server) -> int | None:
    try:
        pid: int = server.about()["pid"]
    except httpx.TransportError:
        return None
    return pid


def test_a_server_in_a_thread_that_is_told_to_exit(tmp_path: Path) -> None:
    """No signal, so it is the protocol class that hears of it."""
    with Server(tmp_path, "thread") as server:
        readers, ids = connect(server)
        assert server.process.stdin is not None
        server.process.stdin.write(b"\n")
        server.process.stdin.flush()
        assert_told(readers)
        assert server.wait() == 0
        assert_counted(server, ids)
        assert_quiet(server.log)


def test_a_server_in_a_thread_with_streams_that_are_not_taken_over(tmp_path: Path) -> None:
    with Server(tmp_path, "thread", middleware=["compressing"]) as server:
        readers = [Reader(server).head() for _ in range(READERS)]
        server.wait_for_clients(READERS)
        assert server.process.stdin is not None
        server.process.stdin.write(b"\n")
        server.process.stdin.flush()
        assert server.wait() == 0
        for reader in readers:
            reader.end(clean=True)
        assert {one["reason"] for one in server.gone} == {"drain"}
        assert_quiet(server.log)


@pytest.mark.parametrize("kind", ["uvicorn", "protocol"])
def test_a_second_signal_forces_the_end(kind: str, tmp_path: Path) -> None:
    """Something else hangs; uvicorn's own way to end at once still works through the chain."""
    with Server(tmp_path, kind) as server:
        readers, _ = connect(server)
        hanging = Reader(server, "/stuck")
        wait_until(lambda: any("stuck" in one for one in server.gone), "a request hangs")
        server.tell(signal.SIGINT)
        assert_told(readers)
        wait_until(lambda: "Waiting for connections to close" in server.log, "the server waits for it")
        assert server.process.poll() is None
        server.tell(signal.SIGINT)
        server.wait()
        hanging.close()


@pytest.mark.parametrize("kind", ["uvicorn", "protocol", "hypercorn-single", "granian"])
def test_a_stream_that_is_being_opened_is_told_too(kind: str, tmp_path: Path) -> None:
    with Server(tmp_path, kind, slow_connect=1) as server:
        readers = [Reader(server) for _ in range(3)]
        server.wait_for_clients(3)
        server.tell(signal.SIGTERM)
        assert {reader.bye()["reason"] for reader in readers} == {"drain"}
        server.wait()
        assert len(server.gone) == 3
        assert_quiet(server.log)


@pytest.mark.parametrize("middleware", [[], ["compressing"]], ids=["taken over", "not taken over"])
def test_frozen_readers_do_not_hold_the_protocol_class_up(middleware: list[str], tmp_path: Path) -> None:
    with Server(tmp_path, "protocol", middleware=middleware) as server:
        frozen = [Reader(server, buffer_bytes=4_096).head() for _ in range(3)]
        server.wait_for_clients(3)
        body = "".join(str(n * n * 7919) for n in range(20_000))  # does not compress to nothing
        for n in range(60):
            server.publish(body=body, first=n)
        wait_until(lambda: server.about()["behind"] == 3, "they are behind")
        server.tell(signal.SIGTERM)
        server.wait()
        assert len(server.gone) == 3
        for reader in frozen:
            reader.close()
        assert "Traceback" not in server.log


@pytest.mark.parametrize("kind", ["hypercorn-single", "granian"])
def test_http_2(kind: str, tmp_path: Path) -> None:
    """Not hypercorn with worker processes: it cancels its own writer together with the stream."""
    with Server(tmp_path, kind) as server:
        readers = [H2Reader(server) for _ in range(3)]
        for reader in readers:
            assert event(reader).type == "connected"
            assert reader.headers["content-type"].startswith("text/event-stream")
            assert "connection" not in reader.headers
        server.publish(body="x" * 30_000, times=40)
        for reader in readers:
            assert [number_of(event(reader)) for _ in range(40)] == list(range(40))
        server.tell(signal.SIGTERM)
        for reader in readers:
            bye = event(reader)
            assert (bye.type, json.loads(bye.data)["reason"]) == ("bye", "drain")
            assert reader.next() is None
            reader.close()  # granian waits for clients to do that
        server.wait()
        assert len(server.gone) == 3


def event(reader: H2Reader) -> Message:
    message = reader.next()
    assert message is not None
    return message


async def test_hubs_may_close_in_any_order() -> None:
    """Each hands signals on to whoever had them before, also when it is closed and another one is not."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        first, second = Hub(), Hub()
        await first.open()
        await second.open()
        await first.close()
        stream = second.subscribe("news")
        signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM]
        await until(lambda: second._open_engine().draining)
        await second.close()
        signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM] * 2
        await stream.aclose()
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_nothing_is_chained_before_a_hub_opens_or_where_signals_are_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        async with Hub():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        hub = Hub()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        await hub.close()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_hub_opens_outside_of_the_main_thread() -> None:
    failures: list[BaseException] = []

    async def run() -> None:
        async with Hub() as hub:
            await hub.publish("news", 1)

    def thread() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failures.append(error)

    other = threading.Thread(target=thread)
    other.start()
    other.join(SECONDS)
    assert not failures

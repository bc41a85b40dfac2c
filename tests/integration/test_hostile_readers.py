"""Slow and frozen clients cost a bounded amount, harm nobody, and lose nothing that is still kept."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from clarion.parser import Message
from clarion.stream import MULTIPLEXED_BYTES
from tests.integration.servers import H2Reader, Reader, Server, connect_many, number_of, wait_until

SINKS = ["uvicorn", "protocol"]
FROZEN = 10
FROZEN_BYTES = 512 * 1024  # one of them, in the server's memory, at most


@pytest.mark.parametrize("kind", SINKS)
def test_frozen_readers_cost_little_and_the_others_notice_nothing(kind: str, tmp_path: Path) -> None:
    with Server(tmp_path, kind) as server:
        frozen = [Reader(server, buffer_bytes=4_096) for _ in range(FROZEN)]
        healthy = connect_many(server, 5)
        server.wait_for_clients(FROZEN + 5)
        server.publish(body="x" * 1_000, times=500)  # what the log and the loop take at first is not the readers' cost
        for reader in healthy:
            reader.numbers(500)
        before = server.about()["resident"]
        slowest = 0.0
        for n in range(500, 2_500, 50):
            began = time.monotonic()
            server.publish(body="x" * 4_000, times=50, first=n)  # 8 MB; a kernel takes 4 of them
            for reader in healthy:
                assert reader.numbers(50) == list(range(n, n + 50))
            slowest = max(slowest, time.monotonic() - began)
        about = server.about()
        assert about["behind"] == FROZEN
        assert slowest < 2
        log = 2_000 * 4_200  # the events themselves are kept once
        assert about["resident"] - before < log * 3 + FROZEN * FROZEN_BYTES
        for reader in frozen[:4]:  # they thaw
            reader.connected()
            assert reader.numbers(2_500) == list(range(2_500))
        server.publish(first=2_500)
        for reader in (*healthy, *frozen[:4]):
            assert reader.numbers(1) == [2_500]
        for reader in frozen:
            reader.close()
        server.wait_for_clients(5)
        assert "Traceback" not in server.log


@pytest.mark.parametrize("kind", SINKS)
def test_a_reader_that_thaws_too_late_is_told_what_it_missed(kind: str, tmp_path: Path) -> None:
    """More than the log holds is published, and the journal has forgotten the rest of it."""
    with Server(tmp_path, kind, retention={"max_count": 100}) as server:
        frozen = Reader(server, buffer_bytes=4_096)
        frozen.connected()
        for first in range(0, 600, 60):
            server.publish(body="x" * 50_000, times=60, first=first)
        wait_until(lambda: server.about()["behind"] == 1, "it is behind")
        got: list[int] = []
        while (message := frozen.next()).type == "message":
            got.append(number_of(message))
        assert message.type == "gap"
        gap = json.loads(message.data)
        assert gap["reason"] == "expired"
        assert got == list(range(len(got)))
        rest = range(len(got) + gap["missed"], 600)
        assert 100 <= len(rest) < 600
        assert frozen.numbers(len(rest)) == list(rest)
        server.publish(first=600)
        assert frozen.numbers(1) == [600]


@pytest.mark.parametrize("kind", SINKS)
def test_a_byte_at_a_time(kind: str, tmp_path: Path) -> None:
    with Server(tmp_path, kind) as server:
        slow = Reader(server, buffer_bytes=4_096)
        other = connect_many(server, 1)[0]
        stop = threading.Event()

        def trickle() -> None:
            while not stop.is_set():
                slow.feed(1)

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            for first in range(0, 1_000, 100):
                server.publish(body="x" * 2_000, times=100, first=first)
                assert other.numbers(100) == list(range(first, first + 100))
        finally:
            stop.set()
            thread.join()
        slow.connected()
        assert slow.numbers(1_000) == list(range(1_000))


@pytest.mark.parametrize("kind", SINKS)
def test_who_stalls_is_let_go_and_who_is_only_quiet_is_not(kind: str, tmp_path: Path) -> None:
    """On a clock that runs a hundred times as fast: a minute is 0.6 seconds."""
    with Server(tmp_path, kind, speed=100) as server:
        quiet = Reader(server, "/events?heartbeat_seconds=0")
        thawed = Reader(server, "/events?heartbeat_seconds=0", buffer_bytes=4_096)
        frozen = Reader(server, buffer_bytes=4_096)
        for reader in (quiet, thawed, frozen):
            reader.connected()
        server.wait_for_clients(3)
        for first in range(0, 200, 50):
            server.publish(body="x" * 50_000, times=50, first=first)
            assert quiet.numbers(50) == list(range(first, first + 50))
            assert thawed.numbers(50) == list(range(first, first + 50))
        server.wait_for_clients(2)
        wait_until(lambda: [one["reason"] for one in server.gone] == ["stalled"], "the frozen one is let go")
        began = time.monotonic()
        while time.monotonic() - began < 1.5:  # two and a half minutes of that clock
            assert server.about()["clients"] == 2
            time.sleep(0.2)
        server.publish(first=200)
        assert quiet.numbers(1) == thawed.numbers(1) == [200]
        frozen.end(clean=False)
        assert "Traceback" not in server.log


def test_a_frozen_http_2_stream_is_ended_where_the_server_takes_everything(tmp_path: Path) -> None:
    with Server(tmp_path, "hypercorn-single") as server:
        frozen = H2Reader(server, frozen=True)
        assert frozen.next() is not None
        for first in range(0, 800, 40):
            server.publish(body="x" * 50_000, times=40, first=first)  # 40 MB
        (end,) = wait_until(lambda: server.gone, "it is ended")
        assert end["reason"] == "limit"
        assert int(end["position"].partition("-")[2]) * 50_000 < MULTIPLEXED_BYTES + 2_000_000


def test_a_frozen_http_2_stream_is_waited_for_where_the_server_waits(tmp_path: Path) -> None:
    with Server(tmp_path, "granian") as server:
        frozen, healthy = H2Reader(server, frozen=True), H2Reader(server)
        assert frozen.next() is not None
        assert healthy.next() is not None
        for first in range(0, 240, 40):
            server.publish(body="x" * 50_000, times=40, first=first)  # 12 MB, within what a stream may take
            for n in range(first, first + 40):
                assert number_of(healthy.next() or Message()) == n
        assert server.about()["behind"] == 1
        assert server.about()["clients"] == 2


@pytest.mark.parametrize("kind", ["hypercorn-single", "granian"])
def test_a_healthy_http_2_stream_goes_on_after_its_limit(kind: str, tmp_path: Path) -> None:
    with Server(tmp_path, kind) as server:
        reader = H2Reader(server)
        message = reader.next()  # it is there before anything is published
        position, expected = "", 0
        for first in range(0, 800, 40):
            server.publish(body="x" * 50_000, times=40, first=first)
            while expected < first + 40:
                position = message.last_event_id if message else position
                message = reader.next()
                if message is None:
                    reader.close()
                    reader = H2Reader(server, f"/events?last_event_id={position}")
                elif message.type == "message":
                    assert number_of(message) == expected
                    expected += 1
        wait_until(lambda: [one["reason"] for one in server.gone].count("limit") == 2, "it came back twice")

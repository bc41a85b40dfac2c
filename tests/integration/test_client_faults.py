"""The clients behind a network that is out of order: their ledger is the hub's, or a gap is told where it is not."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from clarion.client import AsyncSource, FileCursor, Gap, ReceivedEvent, Source
from tests.integration.faulty_proxy import FAULTS, LOSSLESS, FaultyProxy, Trouble
from tests.integration.servers import Server, publish_in_bursts

SPEED = 50  # of a client's clock: what would take minutes takes seconds
SECONDS = 40
TOLD_AGAIN = (*LOSSLESS, "old-id")


class QuickClock:
    """The system's clocks, so many times faster."""

    def __init__(self, speed: float = SPEED) -> None:
        self._speed = speed

    def monotonic_ms(self) -> int:
        return round(time.monotonic() * 1000 * self._speed)

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(delay_ms / 1000 / self._speed, callback)


class Ledger:
    """What a client was given: the numbers of events, and None for each gap. Numbers are those of `Server.publish`."""

    def __init__(self) -> None:
        self.lines: list[int | None] = []
        self.gaps: list[Gap] = []

    def add(self, event: ReceivedEvent) -> int | None:
        number = None if event.type == "gap" else int(event.data.partition(":")[0])
        self.lines.append(number)
        return number

    @property
    def numbers(self) -> list[int]:
        return [number for number in self.lines if number is not None]

    def check(self, count: int) -> None:
        """All events up to `count` once and in order, or a gap stands where some are not."""
        expected = 0
        told = False
        for number in self.lines:
            if number is None:
                told = True
                continue
            assert number >= expected, f"{number} came again, or late"
            assert number == expected or told, f"{expected} to {number - 1} are missing, and no gap was told"
            expected, told = number + 1, False
        assert expected == count or told


def options_of(seed: int, **more: Any) -> dict[str, Any]:
    return {
        "since": "earliest",
        "clock": QuickClock(),
        "random": random.Random(seed).random,
        "max_delay_seconds": 5,
        **more,
    }


async def read_all(source: AsyncSource, ledger: Ledger, last: int) -> None:
    async with asyncio.timeout(SECONDS), source:
        async for event in source:
            if ledger.add(event) == last:
                return


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - conditions of any kind
            await asyncio.sleep(0.01)


@contextmanager
def proxies(server: Server, seeds: range, **options: Any) -> Iterator[list[FaultyProxy]]:
    with ExitStack() as stack:
        yield [stack.enter_context(FaultyProxy(server.port, seed, **options)) for seed in seeds]


@pytest.mark.parametrize("kind", ["uvicorn", "protocol"])
async def test_every_event_once_and_in_order_whatever_the_network_does(kind: str, tmp_path: Path) -> None:
    count, seeds = 60, range(14)
    with Server(tmp_path, kind) as server, proxies(server, seeds, faults=TOLD_AGAIN, mean_bytes=2_500) as ways:
        ledgers = [Ledger() for _ in seeds]
        readers = [
            read_all(AsyncSource(f"http://127.0.0.1:{way.port}/events", **options_of(way.seed)), ledger, count - 1)
            for way, ledger in zip(ways, ledgers, strict=True)
        ]
        await asyncio.gather(asyncio.to_thread(publish_in_bursts, server, count, 7, 0.05), *readers)
        for ledger in ledgers:
            assert ledger.lines == list(range(count))
        assert sum(way.connections for way in ways) > 6 * len(seeds)
        assert {fault for way in ways for fault in way.seen} == set(TOLD_AGAIN)
        assert "Traceback" not in server.log


async def test_where_events_are_not_kept_long_enough_a_gap_is_told(tmp_path: Path) -> None:
    count, seeds = 300, range(100, 116)
    options: dict[str, Any] = {"faults": (*FAULTS, *["lost-id"] * 4), "mean_bytes": 2_500}
    with (
        Server(tmp_path, "uvicorn", retention={"max_count": 15}) as server,
        proxies(server, seeds, **options) as ways,
    ):
        ledgers = [Ledger() for _ in seeds]
        readers = []
        for way, ledger in zip(ways, ledgers, strict=True):
            source = AsyncSource(
                f"http://127.0.0.1:{way.port}/events", **options_of(way.seed, since=None, clock=QuickClock(10))
            )
            source.on_gap(ledger.gaps.append)
            readers.append(read_all(source, ledger, count - 1))

        async def work() -> None:
            server.publish(first=0)  # before anybody comes: each begins with a `live` of its own
            await asyncio.sleep(0.3)
            await asyncio.to_thread(publish_in_bursts, server, count - 1, 7, 0.05)
            for way in ways:
                way.calm()
            # Whoever comes late begins late: the last one is for those, too.
            while not all(ledger.lines and ledger.lines[-1] == count - 1 for ledger in ledgers):
                server.publish(first=count - 1)
                await asyncio.sleep(0.2)

        await asyncio.gather(work(), *readers)
        for ledger in ledgers:
            begun = Ledger()
            begun.lines = [None, *ledger.lines]  # where it begins is nobody's promise
            begun.check(count)
            assert ledger.lines.count(None) == len(ledger.gaps)
        assert any(ledger.gaps for ledger in ledgers)


@pytest.mark.parametrize("kind", ["uvicorn", "protocol"])
async def test_a_server_that_is_killed_and_started_again_on_its_journal(kind: str, tmp_path: Path) -> None:
    journal = f"sqlite:///{tmp_path / 'events.db'}"
    ledger, count = Ledger(), 120
    with ExitStack() as stack:
        server = stack.enter_context(Server(tmp_path, kind, journal=journal))
        way = stack.enter_context(FaultyProxy(server.port, faults=()))
        source = AsyncSource(f"http://127.0.0.1:{way.port}/events", **options_of(0))
        reader = asyncio.ensure_future(read_all(source, ledger, count - 1))
        for start in range(0, count, 40):
            await asyncio.to_thread(server.publish, times=20, first=start)
            server.tell_group(signal.SIGKILL)
            await asyncio.to_thread(server.wait)
            server = await asyncio.to_thread(Server, tmp_path, kind, journal=journal)
            stack.enter_context(server)
            way.target_port = server.port
            await asyncio.to_thread(server.publish, times=20, first=start + 20)
        await reader
    assert ledger.lines == list(range(count))
    assert source.status.state == "closed"


async def test_a_journal_in_memory_that_is_gone_is_a_gap(tmp_path: Path) -> None:
    ledger = Ledger()
    with ExitStack() as stack:
        server = stack.enter_context(Server(tmp_path, "uvicorn"))
        way = stack.enter_context(FaultyProxy(server.port, faults=()))
        source = AsyncSource(f"http://127.0.0.1:{way.port}/events", **options_of(0))
        source.on_gap(ledger.gaps.append)
        reader = asyncio.ensure_future(read_all(source, ledger, 39))
        await asyncio.to_thread(server.publish, times=20)
        await until(lambda: len(ledger.lines) == 20)
        server.tell_group(signal.SIGKILL)
        await asyncio.to_thread(server.wait)
        server = await asyncio.to_thread(Server, tmp_path, "uvicorn")
        stack.enter_context(server)
        way.target_port = server.port
        await until(lambda: ledger.gaps)
        await asyncio.to_thread(server.publish, times=20, first=20)
        await reader
    assert ledger.lines == [*range(20), None, *range(20, 40)]
    assert [gap.reason for gap in ledger.gaps] == ["epoch"]


async def test_a_program_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """Its cursor is in a file; between two runs events are published. What was in hand may come again, nothing else."""
    path = tmp_path / "cursor"
    got: list[int] = []
    with Server(tmp_path, "protocol", journal=f"sqlite:///{tmp_path / 'events.db'}") as server:
        url = f"http://127.0.0.1:{server.port}/events"
        published = 0
        for run in range(6):
            server.publish(times=10, first=published)
            published += 10
            source = AsyncSource(url, since="earliest", cursor=FileCursor(path))
            await source.open()
            async with asyncio.timeout(SECONDS):
                async for event in source:
                    got.append(int(event.data.partition(":")[0]))
                    if len(got) >= 7 * (run + 1):
                        break
            await source.aclose()  # without a commit: as if it were killed here
            got.pop()
        source = AsyncSource(url, since="earliest", cursor=FileCursor(path))
        async with asyncio.timeout(SECONDS), source:
            async for event in source:
                got.append(int(event.data.partition(":")[0]))
                if got[-1] == published - 1:
                    break
    assert got == list(range(published))


def test_the_synchronous_source_in_threads(tmp_path: Path) -> None:
    count, seeds = 60, range(200, 205)
    ledgers = [Ledger() for _ in seeds]

    def work(way: FaultyProxy, ledger: Ledger) -> None:
        with Source(f"http://127.0.0.1:{way.port}/events", **options_of(way.seed)) as source:
            for event in source:
                if ledger.add(event) == count - 1:
                    return

    with Server(tmp_path, "protocol") as server, proxies(server, seeds, faults=TOLD_AGAIN) as ways:
        threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in zip(ways, ledgers, strict=True)]
        for thread in threads:
            thread.start()
        publish_in_bursts(server, count, 7, 0.02)
        for thread in threads:
            thread.join(SECONDS)
            assert not thread.is_alive()
    for ledger in ledgers:
        assert ledger.lines == list(range(count))


async def test_a_deploy_is_waited_out(tmp_path: Path) -> None:
    """SIGTERM: the hub says bye, the client waits as told, and goes on with the next server."""
    journal = f"sqlite:///{tmp_path / 'events.db'}"
    ledger, reasons = Ledger(), []
    with ExitStack() as stack:
        server = stack.enter_context(Server(tmp_path, "protocol", journal=journal))
        way = stack.enter_context(FaultyProxy(server.port, faults=()))
        source = AsyncSource(f"http://127.0.0.1:{way.port}/events", **options_of(0))
        source.on_status(lambda status: reasons.append(status.reason))
        reader = asyncio.ensure_future(read_all(source, ledger, 39))
        await asyncio.to_thread(server.publish, times=20)
        await until(lambda: len(ledger.lines) == 20)
        server.tell(signal.SIGTERM)
        await asyncio.to_thread(server.wait)
        server = await asyncio.to_thread(Server, tmp_path, "protocol", journal=journal)
        stack.enter_context(server)
        way.target_port = server.port
        await asyncio.to_thread(server.publish, times=20, first=20)
        await reader
    assert ledger.lines == list(range(40))
    assert "drain" in reasons


async def test_heartbeats_keep_a_quiet_stream_and_silence_is_noticed(tmp_path: Path) -> None:
    with Server(tmp_path, "protocol") as server, FaultyProxy(server.port, troubles=[Trouble("stall", 900)]) as way:
        url = f"http://127.0.0.1:{way.port}/events?heartbeat_seconds=0.2"
        source = AsyncSource(url, max_delay_seconds=0.01, min_delay_seconds=0.01, random=lambda: 0.0)
        found = asyncio.Event()

        @source.on_status
        def note(status: Any) -> None:
            if status.reason == "silent":
                found.set()

        async with asyncio.timeout(SECONDS), source:
            reading = asyncio.ensure_future(source.run())
            await found.wait()
            reading.cancel()


def test_it_reads_json_as_it_was_published(tmp_path: Path) -> None:
    data = {"text": "\u00e9\u2028\n", "n": [1.5, None, True], "deep": {"a": {"b": "c"}}}
    with (
        Server(tmp_path, "uvicorn") as server,
        Source(f"http://127.0.0.1:{server.port}/events", since="earliest", topics=["news"]) as source,
    ):
        server.publish(body=json.dumps(data))
        event = source.receive(timeout_seconds=SECONDS)
    assert event is not None
    assert json.loads(event.data.partition(":")[2]) == data
    assert event.topic == "news"

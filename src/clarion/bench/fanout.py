"""Fan-out: events to every reader of one stream, as fast as the server can; counted where they arrive."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from clarion.bench.orders import Reply
from clarion.bench.payload import DEFAULT_SIZE
from clarion.bench.processes import Child, OrderFailed, Server, free_port, uvicorn_command
from clarion.bench.publishing import BURST_EVENTS

READING_PAUSE_SECONDS: Final = 0.01
"""Readers look for bytes at most this often while throughput is measured. A `recv` costs the kernel as much
as a `send`, so a client that reads each event by itself needs a whole core, and on a small machine takes it
from the server. Latency is measured without this pause."""

WARM_UP_EVENTS: Final = 10
"""Events before a measurement: they fill caches, and tell how many events the measurement takes."""

MOST_EVENTS: Final = 20_000
"""Events of one measurement at most: a reader that falls behind must find them all in a memory journal."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A server to measure."""

    name: str
    start: Callable[[], Server]
    path: str = "/events"


@dataclass(frozen=True, slots=True)
class FanOut:
    """What one measurement found."""

    per_second: float
    """Deliveries: events times readers, from the first publish until the last reader has the last event."""
    events: int
    per_cpu_second: float
    """Deliveries per second of CPU time that the server used: steadier than the clock on a machine with
    others."""
    server_cpu: float
    """Share of one core."""
    client_cpu: float
    """Share of one core. Well below 1, the client was not what limited the server."""
    faults: dict[str, int]

    @property
    def faulty(self) -> bool:
        return any(self.faults.values())


class Stream:
    """A server and a load client with connected readers; numbers its events from one order to the next."""

    def __init__(self, server: Server, client: Child, readers: int, path: str) -> None:
        self.server, self.client, self.readers = server, client, readers
        self.next = 1
        opened = client.ask("open", count=readers, port=server.port, path=path)
        if opened["unanswered"] or opened["refused"]:
            raise OrderFailed(f"{opened['unanswered']} readers were not answered; refused: {opened['refused']}")

    def publish(self, count: int, *, timeout: float = 120.0, pause: float = 0.0, **order: Any) -> tuple[Reply, Reply]:
        """Publish `count` events as ordered; return what the publisher and what the client say when all is
        read."""
        first, self.next = self.next, self.next + count
        self.client.order("collect", goal=self.next - 1, timeout=timeout, pause=pause)
        published = self.server.ask("publish", first=first, count=count, **order)
        return published, self.client.answer()

    def fan_out(self, mode: str, seconds: float, size: int = DEFAULT_SIZE, batch: int = BURST_EVENTS) -> FanOut:
        """Measure for about `seconds`."""
        warm_up = WARM_UP_EVENTS
        began = time.monotonic()
        order: dict[str, Any] = {"mode": mode, "size": size, "batch": batch, "pause": READING_PAUSE_SECONDS}
        self.publish(warm_up, **order)
        events = int(warm_up * seconds / (time.monotonic() - began))
        events = min(MOST_EVENTS, max(batch, events - events % batch) if mode == "burst" else max(warm_up, events))
        server_cpu = self.server.cpu_seconds()
        published, collected = self.publish(events, **order)
        server_cpu = self.server.cpu_seconds() - server_cpu
        # Without an end (something was lost) the whole wait counts, and the faults tell why.
        ended = collected["finished_ns"] or time.monotonic_ns()
        took = (ended - published["began_ns"]) / 1e9
        return FanOut(
            collected["deliveries"] / took,
            events,
            collected["deliveries"] / max(0.01, server_cpu),
            server_cpu / took,
            collected["cpu_seconds"] / took,
            collected["faults"],
        )


def bare() -> Contender:
    """The limit."""
    return Contender("bare send loop", lambda: Server([sys.executable, "-m", "clarion.bench.bare"]))


def clarion_socket() -> Contender:
    """Clarion's socket sink, as `uvicorn --http clarion.uvicorn:Protocol` serves it."""
    return Contender("Clarion, socket sink", lambda: clarion_server("--http", "clarion.uvicorn:Protocol"))


def clarion_asgi() -> Contender:
    """Clarion's ASGI sink, on plain uvicorn."""
    return Contender("Clarion, ASGI sink", lambda: clarion_server("--http", "httptools"))


def clarion_server(*options: str) -> Server:
    """Start uvicorn with Clarion's app."""
    port = free_port()
    return Server(uvicorn_command("clarion.bench.app:app", port, *options), port=port)

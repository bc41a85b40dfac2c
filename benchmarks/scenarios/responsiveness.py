"""Another route's latency while one event goes to 15,000 readers of the same server."""

import sys
import time
from typing import Any, Final

from benchmarks import contenders
from benchmarks.contenders import CLARION_ASGI, CLARION_SOCKET
from benchmarks.outcome import Check, Outcome, Settings
from clarion.bench.fanout import Stream
from clarion.bench.percentiles import percentile
from clarion.bench.processes import Child, Server, load_client

READERS: Final = 15_000
EVENTS: Final = 40
EVENTS_APART_SECONDS: Final = 0.25
PINGS_PER_SECOND: Final = 200
IDLE_SECONDS: Final = 8.0
CEILING_MS: Final = 10.0

Window = tuple[int, int]


def run(settings: Settings) -> Outcome:
    """Ping at a steady rate; compare the pings that met a delivery with those of an idle server."""
    outcome = Outcome("Another route while one event goes to every reader")
    readers = settings.readers(READERS, outcome.notes)
    for name in settings.chosen(CLARION_SOCKET, CLARION_ASGI):
        contender = contenders.ALL[name]
        with contender.start() as server, load_client(niceness=15) as client, probe(server) as pinger:
            stream = Stream(server, client, readers, contender.path)
            time.sleep(1)
            idle = pings(pinger, 2.0 if settings.quick else IDLE_SECONDS)
            windows, busy = deliver(stream, pinger, outcome, contender.name)
        met = sorted(took for sent, took in busy if any(sent < end and sent + took > start for start, end in windows))
        calm = sorted(took for _, took in idle)
        added = (percentile(met, 99) - percentile(calm, 99)) / 1e6
        outcome.rows.append(
            {
                "server": contender.name,
                "idle p50 ms": percentile(calm, 50) / 1e6,
                "idle p99 ms": percentile(calm, 99) / 1e6,
                "during p50 ms": percentile(met, 50) / 1e6,
                "during p99 ms": percentile(met, 99) / 1e6,
                "during max ms": met[-1] / 1e6 if met else 0.0,
                "event to all, ms": sorted(end - start for start, end in windows)[len(windows) // 2] / 1e6,
                "pings during": len(met),
            }
        )
        if name == CLARION_SOCKET:
            outcome.checks.append(Check("p99 above idle, socket sink", added, "ms", CEILING_MS, at_least=False))
        settings.say(f"responsiveness {contender.name}: p99 {added:+.2f} ms")
    outcome.notes.append(
        f"{readers:,} readers; {EVENTS} events, {EVENTS_APART_SECONDS} s apart; {PINGS_PER_SECOND} pings/s "
        "of a process of its own, timed from when each was due; only pings that met a delivery count"
    )
    return outcome


def probe(server: Server) -> Child:
    return Child([sys.executable, "-m", "clarion.bench.probe", str(server.port), str(PINGS_PER_SECOND)])


def pings(pinger: Child, seconds: float) -> list[Window]:
    """Return (when it was due, how long it took) for each ping, in nanoseconds."""
    return [(sent, took) for sent, took in pinger.ask("ping", seconds=seconds)["pings"]]


def deliver(stream: Stream, pinger: Child, outcome: Outcome, who: str) -> tuple[list[Window], list[Window]]:
    """Publish the events one by one; return when each was being delivered, and all pings of that time."""
    windows = []
    pinger.order("ping", seconds=EVENTS * (EVENTS_APART_SECONDS + 0.3))
    for _ in range(EVENTS):
        time.sleep(EVENTS_APART_SECONDS)
        published, collected = stream.publish(1, mode="lockstep", pause=0.02)
        began: int = published["began_ns"]
        windows.append((began, began + int(published["seconds"] * 1e9)))
        outcome.reconcile(who, collected)
    answered: dict[str, Any] = pinger.answer()
    return windows, [(sent, took) for sent, took in answered["pings"]]

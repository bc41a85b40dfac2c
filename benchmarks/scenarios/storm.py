"""5,000 readers resume at once with 1,000 events behind each, while others listen live."""

import time
from typing import Any, Final

from benchmarks import contenders
from benchmarks.contenders import CLARION_ASGI, CLARION_SOCKET
from benchmarks.outcome import Check, Outcome, Settings
from benchmarks.watch import PeakMemory
from clarion.bench.fanout import Stream
from clarion.bench.processes import Child, load_client

RETURNING: Final = 5_000
BEHIND: Final = 1_000
LIVE_READERS: Final = 50
LIVE_SECONDS: Final = 12.0
LIVE_RATE: Final = 20.0
"""Events a second that go to everybody during the storm."""

GROWTH_MIB: Final = 64.0
LIVE_P99_MS: Final = 1_000.0


def run(settings: Settings) -> Outcome:
    """All of them must end up with every event once and in order, and those who listen live must hardly
    notice."""
    outcome = Outcome("A thousand events behind, all at once")
    readers = settings.readers(RETURNING, outcome.notes)
    for name in settings.chosen(CLARION_SOCKET, CLARION_ASGI):
        contender = contenders.ALL[name]
        with contender.start() as server, load_client() as few, load_client() as many:
            live = Stream(server, few, LIVE_READERS, contender.path)
            last_seen, _ = live.publish(1, mode="lockstep")
            live.publish(BEHIND, mode="burst")
            time.sleep(1)
            cpu = server.cpu_seconds()
            with PeakMemory(server) as memory:
                listened, returned, seconds = storm(live, many, readers, last_seen["id"], settings.quick)
            cpu = server.cpu_seconds() - cpu
        outcome.reconcile(f"{contender.name}, live", listened)
        outcome.reconcile(f"{contender.name}, returning", returned)
        outcome.rows.append(
            {
                "server": contender.name,
                "all caught up after s": seconds,
                "replayed": returned["deliveries"],
                "server CPU s": cpu,
                "memory grew by MiB": memory.grown / 2**20,
                "live p50 ms": listened["p50_ms"],
                "live p99 ms": listened["p99_ms"],
            }
        )
        if name == CLARION_SOCKET:
            outcome.checks += [
                Check("memory growth, socket sink", memory.grown / 2**20, "MiB", GROWTH_MIB, at_least=False),
                Check("live reader's p99, socket sink", listened["p99_ms"], "ms", LIVE_P99_MS, at_least=False),
            ]
        settings.say(f"storm {contender.name}: {seconds:.1f} s, {memory.grown / 2**20:.0f} MiB")
    outcome.notes.append(f"{readers:,} readers return with {BEHIND:,} events behind; {LIVE_READERS} listen live")
    return outcome


def storm(
    live: Stream, many: Child, readers: int, last_seen: str, quick: bool
) -> tuple[dict[str, Any], dict[str, Any], float]:
    """Return what live and returning readers counted, and when the last one had caught up with the
    backlog."""
    seconds = LIVE_SECONDS / 3 if quick else LIVE_SECONDS
    count = int(seconds * LIVE_RATE)
    first, live.next = live.next, live.next + count
    began = time.monotonic()
    live.client.order("collect", goal=live.next - 1, timeout=90)
    live.server.order("publish", first=first, count=count, mode="paced", rate=LIVE_RATE)
    headers = {"Last-Event-ID": last_seen}
    order = {"port": live.server.port, "headers": headers, "first": 2, "goal": first - 1, "wait": False}
    many.ask("open", count=readers, **order)
    behind = many.ask("collect", goal=first - 1, timeout=90)
    caught_up = time.monotonic() - began
    live.server.answer()
    rest = many.ask("collect", goal=live.next - 1, timeout=60)
    for kind, count in rest["faults"].items():
        behind["faults"][kind] += count
    return live.client.answer(), behind, caught_up

"""200 frozen readers among 2,000 under load: what they cost the server, and what they cost the others."""

import time
from typing import Any, Final

from benchmarks import contenders
from benchmarks.contenders import CLARION_ASGI, CLARION_SOCKET
from benchmarks.outcome import Check, Outcome, Settings
from benchmarks.watch import PeakMemory
from clarion.bench.fanout import Stream
from clarion.bench.percentiles import median
from clarion.bench.processes import load_client

READERS: Final = 2_000
FROZEN_SHARE: Final = 0.1
EVENT_BYTES: Final = 4_096
"""Large enough that a frozen reader's kernel buffers fill up within the run."""

RATE: Final = 15.0
SECONDS: Final = 10.0
GROWTH_MIB: Final = 64.0
P99_RATIO: Final = 1.5


def run(settings: Settings) -> Outcome:
    """Measure with and without them, in turn."""
    outcome = Outcome("Frozen readers")
    readers = settings.readers(READERS, outcome.notes)
    frozen = int(readers * FROZEN_SHARE)
    for name in settings.chosen(CLARION_SOCKET, CLARION_ASGI):
        without, among = [], []
        for _ in range(settings.rounds):
            without.append(load(settings, name, readers - frozen, 0, outcome))
            among.append(load(settings, name, readers - frozen, frozen, outcome))
        ratio = median([b["p99_ms"] / a["p99_ms"] for a, b in zip(without, among, strict=True)])
        grown = max(one["grown_mib"] for one in among)
        outcome.rows.append(
            {
                "server": contenders.ALL[name].name,
                "healthy p99 ms without": median([one["p99_ms"] for one in without]),
                "healthy p99 ms among frozen": median([one["p99_ms"] for one in among]),
                "times": ratio,
                "memory grew by MiB": grown,
                "frozen and behind": min(one["lagging"] for one in among),
            }
        )
        if name == CLARION_SOCKET:
            outcome.checks += [
                Check("memory growth, socket sink", grown, "MiB", GROWTH_MIB, at_least=False),
                Check("healthy p99, times that without frozen", ratio, "", P99_RATIO, at_least=False),
            ]
    outcome.notes.append(
        f"{readers - frozen:,} healthy and {frozen:,} frozen readers; "
        f"{EVENT_BYTES:,} bytes of data in each event, {RATE:.0f} events a second"
    )
    return outcome


def load(settings: Settings, name: str, healthy: int, frozen: int, outcome: Outcome) -> dict[str, Any]:
    """Run one load; return what the healthy readers counted, with `grown_mib`."""
    contender = contenders.ALL[name]
    with contender.start() as server, load_client() as client, load_client() as stuck:
        stream = Stream(server, client, healthy, contender.path)
        if frozen:
            stuck.ask("freeze", count=frozen, port=server.port, path=contender.path)
        # What a server needs for its first events is not the frozen readers' doing.
        stream.publish(5, mode="lockstep", size=EVENT_BYTES)
        time.sleep(0.5)
        with PeakMemory(server) as memory:
            seconds = SECONDS / 4 if settings.quick else SECONDS
            _, collected = stream.publish(int(seconds * RATE), mode="paced", rate=RATE, size=EVENT_BYTES)
            lagging = server.ask("lagging")["lagging"]
    outcome.reconcile(contender.name, collected)
    collected["lagging"] = lagging
    collected["grown_mib"] = memory.grown / 2**20
    settings.say(f"frozen {contender.name}: {frozen} frozen, p99 {collected['p99_ms']:.1f} ms")
    return collected

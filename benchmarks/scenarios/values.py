"""Topics that have a value: who joins late, who reads slowly, and what counting costs who counts."""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks.contenders import ROOT
from benchmarks.outcome import Check, Outcome, Settings
from benchmarks.updates import LINES
from benchmarks.viewer import Joined, Viewer, join, values_server
from benchmarks.watch import PeakMemory
from clarion.bench.percentiles import median
from clarion.bench.processes import Server
from clarion.log import WINDOW_ENTRIES

TOPIC: Final = "state"

DELTAS: Final = 100_000
JOINS: Final = 15
JOINS_APART_SECONDS: Final = 1.2
"""More than a snapshot of values serves others: each joiner's is read from the journal."""

JOIN_MS: Final = 20.0

LATE_KINDS: Final = {"token": "tokens appended to a text", "merge": "merged into an object"}

SLOW_VIEWERS: Final = 20
SLOW_BYTES_PER_SECOND: Final = 1_000.0
UPDATES_PER_SECOND: Final = 1_000.0
SECONDS: Final = 30.0
LAG_SECONDS: Final = 2.0
GROWTH_MIB: Final = 8.0
"""What a queue of updates for each viewer would pass within seconds: 4 MiB a second."""

SLOW_KINDS: Final = {
    "set": "an object set",
    "merge": "an object merged into",
    "append": "a text appended to",
}

CALLS: Final = 1_000_000
CALL_US: Final = 1.0

PLACES: Final = {"loop": "in the event loop", "thread": "in a thread"}


def late(settings: Settings) -> Outcome:
    """Join a topic with many changes behind it, on SQLite, in a hub process that has not seen any of them."""
    outcome = Outcome("A late join")
    deltas, joins = (DELTAS // 10, 3) if settings.quick else (DELTAS, JOINS)
    folder = ROOT / "benchmarks" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    for kind, what in LATE_KINDS.items():
        with tempfile.TemporaryDirectory(dir=folder, prefix="journal-") as name:
            url = f"sqlite:///{Path(name) / 'events.db'}"
            with values_server(url) as server:
                outcome.versions |= server.ready["versions"]
                server.ask("seed", topic=TOPIC, kind=kind, count=deltas)
                value = server.ask("value", topic=TOPIC)["value"]
            with values_server(url) as server:
                joined = join_in_turn(server, joins)
        for one in joined:
            outcome.agree(f"late joiner, {what}", one.value, value)
            outcome.reconcile(f"late joiner, {what}", {"faults": one.faults})
        times = [one.seconds * 1e3 for one in joined]
        outcome.rows.append(
            {
                "deltas": f"{deltas:,} {what}",
                "join ms": median(times),
                "max ms": max(times),
                "first one's ms": times[0],
                "bytes": max(one.received_bytes for one in joined),
            }
        )
        outcome.checks.append(Check(f"late join, {what}", median(times), "ms", JOIN_MS, at_least=False))
        settings.say(f"late {what}: {median(times):.1f} ms")
    outcome.notes.append(
        f"from the request until the whole value was read; the median of {joins} joins, {JOINS_APART_SECONDS} s apart, "
        "so that each reads the journal; the hub is a process of its own that was started after the last change"
    )
    if deltas < DELTAS:
        outcome.notes.append(f"quick run: {deltas:,} deltas instead of {DELTAS:,}")
    return outcome


def join_in_turn(server: Server, joins: int) -> list[Joined]:
    joined = []
    for _ in range(joins):
        time.sleep(JOINS_APART_SECONDS)
        joined.append(join(server.port, TOPIC))
    return joined


def slow(settings: Settings) -> Outcome:
    """Change a value much faster than its viewers can read, and see when they show the last state."""
    outcome = Outcome("Viewers that read 1 KB/s of a value that changes 1,000 times a second")
    seconds = SECONDS / 10 if settings.quick else SECONDS
    for kind, what in SLOW_KINDS.items():
        with values_server() as server:
            outcome.versions |= server.ready["versions"]
            found = read_slowly(server, kind, seconds, outcome)
        outcome.rows.append({"what": what, **found})
        outcome.checks += [
            Check(f"last state shown after, {what}", found["shown after s, max"], "s", LAG_SECONDS, at_least=False),
            Check(f"memory growth, {what}", found["memory grew by MiB"], "MiB", GROWTH_MIB, at_least=False),
        ]
        settings.say(f"slow {what}: {found['shown after s, max']:.2f} s, {found['memory grew by MiB']:.1f} MiB")
    outcome.notes.append(
        f"{SLOW_VIEWERS} viewers, each with the smallest receive buffer that the kernel gives, as behind a slow link; "
        f"{seconds:.0f} s of changes, on a memory journal; values of 100 to 300 bytes (the text begins anew, by a "
        f"`set`, every {LINES} lines); the hub's log was full before, so what grows is for the viewers"
    )
    return outcome


def read_slowly(server: Server, kind: str, seconds: float, outcome: Outcome) -> dict[str, Any]:
    """One load; return the columns of its row."""
    count = int(seconds * UPDATES_PER_SECOND)
    server.ask("seed", topic=TOPIC, kind=kind, count=WINDOW_ENTRIES)
    time.sleep(1)
    with ExitStack() as stack:
        viewers = [stack.enter_context(Viewer(server.port, TOPIC, SLOW_BYTES_PER_SECOND)) for _ in range(SLOW_VIEWERS)]
        for viewer in viewers:
            viewer.is_shown()
        received = [viewer.received_bytes for viewer in viewers]
        changes = [viewer.view.changes for viewer in viewers]
        cpu = server.cpu_seconds()
        with PeakMemory(server) as memory:
            order = {"topic": TOPIC, "kind": kind, "mode": "paced", "rate": UPDATES_PER_SECOND}
            changed = server.ask("change", first=WINDOW_ENTRIES, count=count, **order)
            cpu = server.cpu_seconds() - cpu
            received = [viewer.received_bytes - before for viewer, before in zip(viewers, received, strict=True)]
            changes = [viewer.view.changes - before for viewer, before in zip(viewers, changes, strict=True)]
            value = server.ask("value", topic=TOPIC)["value"]
            lags = []
            for viewer in viewers:
                shown_ns = viewer.shown_ns(value) or time.monotonic_ns()
                lags.append((shown_ns - changed["last_ns"]) / 1e9)
        for viewer in viewers:
            outcome.agree(f"slow viewer, {kind}", viewer.value, value)
            outcome.reconcile(f"slow viewer, {kind}", {"faults": viewer.faults})
    return {
        "changes/s": count / changed["seconds"],
        "told to a viewer/s": median([float(one) for one in changes]) / changed["seconds"],
        "KB/s of a viewer": median([float(one) for one in received]) / changed["seconds"] / 1e3,
        "shown after s, p50": median(lags),
        "shown after s, max": max(lags),
        "memory grew by MiB": memory.grown / 2**20,
        "server CPU %": 100 * cpu / changed["seconds"],
    }


def advance(settings: Settings) -> Outcome:
    """Count in a tight loop while the hub tells how far it is; a viewer reads along."""
    outcome = Outcome("Counting progress")
    calls = CALLS // 10 if settings.quick else CALLS
    times: dict[str, list[float]] = {where: [] for where in PLACES}
    with values_server() as server:
        outcome.versions |= server.ready["versions"]
        for turn in range(settings.rounds):
            for where, what in PLACES.items():
                topic = f"import/{where}/{turn}"
                with Viewer(server.port, topic) as viewer:
                    viewer.is_connected()
                    took = server.ask("advance", topic=topic, count=calls, where=where)["seconds"]
                    value = server.ask("value", topic=topic)["value"]
                    viewer.shown_ns(value)
                    outcome.agree(f"progress {what}", viewer.value, value)
                    outcome.reconcile(f"progress {what}", {"faults": viewer.faults})
                outcome.agree(f"progress {what}, counted", [value["current"], value["status"]], [calls, "completed"])
                times[where].append(took / calls * 1e6)
                settings.say(f"advance {what}: {times[where][-1]:.3f} us")
    for where, what in PLACES.items():
        outcome.rows.append({"where": what, "us per call": median(times[where]), "max of a round": max(times[where])})
        outcome.checks.append(Check(f"advance() {what}", median(times[where]), "us", CALL_US, at_least=False))
    outcome.notes.append(
        f"`task.advance()` {calls:,} times in a `for` loop, whose own cost is in it; medians of {settings.rounds} "
        f"rounds; CPython {sys.version.split()[0]}"
    )
    return outcome

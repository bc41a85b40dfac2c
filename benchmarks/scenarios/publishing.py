"""Publishes per second inside one process, with nobody listening: the price of the journal."""

import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.contenders import ROOT
from benchmarks.outcome import Check, Outcome, Settings
from clarion.bench.percentiles import median
from clarion.bench.processes import Child

CASES: Final = (
    ("memory, one caller", "memory", 1, 50_000.0),
    ("memory, 64 callers", "memory", 64, None),
    ("SQLite, durable, one caller", "sqlite", 1, None),
    ("SQLite, durable, 64 callers", "sqlite", 64, 10_000.0),
)
"""What, journal, callers at the same time, and the floor in publishes per second, if there is one."""


def run(settings: Settings) -> Outcome:
    """Publish for a while; every position must be new and one above the last."""
    outcome = Outcome("Publishing inside the process")
    rates: dict[str, list[float]] = {what: [] for what, *_ in CASES}
    # Beside the results, not in the system's temporary folder: that may be memory, where durable means
    # nothing.
    folder = ROOT / "benchmarks" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(settings.rounds):
        for what, journal, callers, _ in CASES:
            with tempfile.TemporaryDirectory(dir=folder, prefix="journal-") as name:
                url = "memory://" if journal == "memory" else f"sqlite:///{Path(name) / 'events.db'}"
                with Child([sys.executable, "-m", "clarion.bench.publisher", url], cwd=ROOT) as publisher:
                    found = publisher.ask("publish", callers=callers, seconds=1.0 if settings.quick else 3.0)
            rates[what].append(found["per_second"])
            if found["faults"]:
                outcome.faults.append(f"{what}: {found['faults']} positions out of order or doubled")
            settings.say(f"publish {what}: {found['per_second']:,.0f}/s")
    for what, _, _, floor in CASES:
        outcome.rows.append({"journal": what, "publishes/s": median(rates[what])})
        if floor is not None:
            outcome.checks.append(Check(f"publishes, {what}", median(rates[what]), "/s", floor, at_least=True))
    outcome.notes.append("`await hub.publish(topic, data)`, 120 bytes of data; durable: synchronous=FULL, group commit")
    return outcome

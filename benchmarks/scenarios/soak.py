"""A long time in short: readers come, dawdle, freeze, drop out and come back while all is published; memory
stays flat."""

import random
import sys
import time
from typing import Any, Final

from benchmarks import contenders
from benchmarks.contenders import CLARION_SOCKET, ROOT
from benchmarks.outcome import Check, Outcome, Settings
from clarion.bench.processes import Child, Server

READERS: Final = 300
TOPICS: Final = 12
SECONDS: Final = 300.0
QUICK_SECONDS: Final = 15.0
SETTLED_SHARE: Final = 0.4
"""Share of the run after which memory must not grow any more: caches and the log's window are full by
then."""

GROWTH_MIB: Final = 16.0
MOST_EVENTS_AT_ONCE: Final = 60


def run(settings: Settings) -> Outcome:
    """Any event that is lost without a gap told, or doubled, is a fault; so is a reader that is refused."""
    outcome = Outcome("Soak")
    seconds = QUICK_SECONDS if settings.quick else SECONDS
    seed = random.SystemRandom().randrange(2**31)
    contender = contenders.ALL[CLARION_SOCKET]
    with contender.start() as server:
        command = [sys.executable, "-m", "benchmarks.crowd", str(server.port)]
        with Child(command, cwd=ROOT) as people:
            people.answer()
            people.order("live", readers=READERS, topics=TOPICS, seconds=seconds, seed=seed)
            published, memory = publish_until(server, time.monotonic() + seconds, seed, settings)
            tally = people.answer()
        time.sleep(1)
        at_rest = server.resident_bytes()
    settled = memory[int(len(memory) * SETTLED_SHARE) :]
    half = len(settled) // 2
    grown = (max(settled[half:]) - max(settled[:half])) / 2**20
    outcome.rows.append(row(tally, published, memory, at_rest))
    outcome.checks.append(Check("memory growth after it has settled", grown, "MiB", GROWTH_MIB, at_least=False))
    faults = {kind: tally[kind] for kind in ("lost", "duplicated", "refused")}
    outcome.reconcile(contender.name, {"faults": faults})
    outcome.faults += tally["examples"]
    outcome.notes.append(f"{READERS} readers at a time, {TOPICS} topics, {seconds:.0f} s, seed {seed}")
    return outcome


def row(tally: dict[str, Any], published: int, memory: list[int], at_rest: int) -> dict[str, Any]:
    return {
        "published": published,
        "delivered": tally["events"],
        "connects": tally["connects"],
        "resumes": tally["resumes"],
        "slow": tally["dawdles"],
        "frozen": tally["freezes"],
        "gaps told": tally["gaps"],
        "MiB at most": max(memory) / 2**20,
        "MiB at the end": at_rest / 2**20,
    }


def publish_until(server: Server, end: float, seed: int, settings: Settings) -> tuple[int, list[int]]:
    """Publish at random until then; return how many events, and the memory from time to time."""
    chance = random.Random(seed)
    numbers = [1] * TOPICS
    memory, said = [server.resident_bytes()], time.monotonic()
    while time.monotonic() < end:
        topic = chance.randrange(TOPICS)
        count = chance.randint(1, MOST_EVENTS_AT_ONCE)
        order = {"first": numbers[topic], "count": count, "topic": f"topic-{topic}"}
        server.ask("publish", **order, size=chance.choice((60, 120, 500, 4_000)), mode="burst")
        numbers[topic] += count
        time.sleep(chance.expovariate(40.0))
        memory.append(server.resident_bytes())
        if time.monotonic() - said > 30:
            said = time.monotonic()
            settings.say(f"soak: {sum(numbers) - TOPICS:,} published, {memory[-1] / 2**20:.0f} MiB")
    return sum(numbers) - TOPICS, memory

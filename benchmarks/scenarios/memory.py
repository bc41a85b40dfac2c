"""Memory of a server per idle reader: 15,000 readers, each (with Clarion) with a user and three topics."""

import time
from typing import Final

from benchmarks import contenders
from benchmarks.contenders import BARE, CLARION_ASGI, CLARION_SOCKET
from benchmarks.outcome import Check, Outcome, Settings
from clarion.bench.fanout import Stream
from clarion.bench.processes import load_client

READERS: Final = 15_000
WARM_UP_READERS: Final = 200
"""Readers before the first measurement: what a server needs once is not any reader's."""

IDLE_SECONDS: Final = 2.0

PATHS: Final = {
    "": "/events?user=user-{i}&topic=bench&topic=news&topic=team/{i%100}",
    ", a topic of its own": "/events?user=user-{i}&topic=bench&topic=news&topic=task/{i}",
}
"""What a reader of Clarion asks for: a user of its own, and three topics, of which one is its team's or its
own."""

CEILINGS_KIB: Final = {CLARION_SOCKET: 2.0, CLARION_ASGI: 20.0}
"""For readers that share their topics with others."""


def run(settings: Settings) -> Outcome:
    """Connect them, let them idle, compare the resident memory; then one event must reach each of them."""
    outcome = Outcome("Idle memory per reader")
    names, left_out = contenders.available([n for n in settings.chosen(*contenders.ALL) if n != BARE])
    outcome.notes += left_out
    readers = settings.readers(READERS, outcome.notes)
    for name, variant, path in cases(names):
        contender = contenders.ALL[name]
        with contender.start() as server, load_client() as few, load_client() as client:
            outcome.versions |= server.ready["versions"]
            Stream(server, few, WARM_UP_READERS, path)
            time.sleep(IDLE_SECONDS)
            before = server.resident_bytes()
            stream = Stream(server, client, readers - WARM_UP_READERS, path)
            time.sleep(IDLE_SECONDS)
            grown = server.resident_bytes() - before
            _, collected = stream.publish(1, mode="lockstep")
            outcome.reconcile(contender.name, collected)
            after = server.resident_bytes() - before
        each = grown / stream.readers / 1024
        outcome.rows.append(
            {
                "server": contender.name + variant,
                "KiB per reader": each,
                "after one event to all": after / stream.readers / 1024,
                "MiB at start": before / 2**20,
            }
        )
        if name in CEILINGS_KIB and not variant:
            outcome.checks.append(Check(f"{contender.name}, per reader", each, "KiB", CEILINGS_KIB[name], False))
        settings.say(f"memory {contender.name}{variant}: {each:.2f} KiB per reader")
    outcome.notes.append(f"{readers:,} readers; growth of VmRSS; the kernel's socket buffers are not in it")
    return outcome


def cases(names: list[str]) -> list[tuple[str, str, str]]:
    """Return contender, variant and path of each measurement."""
    found = []
    for name in names:
        if name in CEILINGS_KIB:
            found += [(name, variant, path) for variant, path in PATHS.items()]
        else:
            found.append((name, "", contenders.ALL[name].path))
    return found

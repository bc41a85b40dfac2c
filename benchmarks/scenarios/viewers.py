"""1,000 viewers of one text that is being written, beside the core's plain fan-out to as many readers."""

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.contenders import ROOT
from benchmarks.outcome import Check, Outcome, Settings
from benchmarks.updates import mark
from benchmarks.viewer import values_server
from clarion.bench.fanout import READING_PAUSE_SECONDS, WARM_UP_EVENTS, FanOut, clarion_socket
from clarion.bench.orders import Reply
from clarion.bench.payload import DEFAULT_SIZE
from clarion.bench.percentiles import median
from clarion.bench.processes import Child, Server

READERS: Final = 1_000
SECONDS: Final = 3.0
"""Length of one measurement."""

MOST_UPDATES: Final = 6_000
"""Of 120 bytes: a value has room for more, and none of them may be refused."""

SETTLE_SECONDS: Final = 0.5
"""For the last reader that came to be live: from then on all of them are at the same place."""

TIMES_PLAIN: Final = 0.9
"""An append costs its change of the value, once; what it costs per viewer is to be what any event does."""

COLLECT_SECONDS: Final = 120.0

TOPIC: Final = "bench"
PLAIN: Final = "plain events"
VALUE: Final = "appends to one text"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two. `order`: how its server is told to make events. `mark`: what the frame of an event holds."""

    start: Callable[[], Server]
    awaits: str
    order: tuple[str, dict[str, Any]]
    mark: Callable[[int], str]


SIDES: Final = {
    PLAIN: Side(clarion_socket().start, "event: connected\n", ("publish", {}), lambda number: f'{{"n":{number},'),
    VALUE: Side(
        values_server,
        "\nchange: set\n",
        ("change", {"topic": TOPIC, "kind": "grow", "event": "generation"}),
        mark,
    ),
}


def run(settings: Settings) -> Outcome:
    """Measure both in turn in each round; the ratio is taken within a round."""
    outcome = Outcome("Viewers of one text")
    readers = settings.readers(READERS, outcome.notes)
    rates: dict[str, list[FanOut]] = defaultdict(list)
    others: dict[str, int] = defaultdict(int)
    for turn in range(settings.rounds):
        for name, side in SIDES.items():
            found, apart = measure(name, side, readers, SECONDS / 3 if settings.quick else SECONDS, outcome)
            rates[name].append(found)
            others[name] = max(others[name], apart)
            settings.say(f"viewers {turn + 1}/{settings.rounds} {name}: {found.per_second:,.0f}/s")
    pairs = zip(rates[VALUE], rates[PLAIN], strict=True)
    ratio = median([value.per_second / plain.per_second for value, plain in pairs])
    for name in SIDES:
        outcome.rows.append(row(name, rates[name], ratio if name == VALUE else 1.0) | {"got other bytes": others[name]})
    outcome.checks += [
        Check("appends to one text, times plain events", ratio, "", TIMES_PLAIN, at_least=True),
        Check("viewers who got other bytes than the others", others[VALUE], "", 0, at_least=False),
    ]
    outcome.notes.append(
        f"{readers:,} viewers; one at a time, {DEFAULT_SIZE} bytes of data in each; medians of {settings.rounds} "
        "rounds. What each received is compared with what the others did, byte by byte, and adds up to the hub's text"
    )
    return outcome


def row(name: str, found: list[FanOut], ratio: float) -> dict[str, Any]:
    return {
        "what": name,
        "deliveries/s": median([one.per_second for one in found]),
        "times plain": ratio,
        "per CPU second": median([one.per_cpu_second for one in found]),
        "server CPU %": 100 * median([one.server_cpu for one in found]),
        "client CPU %": 100 * median([one.client_cpu for one in found]),
    }


def measure(name: str, side: Side, readers: int, seconds: float, outcome: Outcome) -> tuple[FanOut, int]:
    """Make updates one by one for about `seconds`, and reconcile what was received with what was made.

    Returns also how many readers got other bytes than most.
    """
    with side.start() as server, Child([sys.executable, "-m", "benchmarks.audience"], cwd=ROOT) as audience:
        outcome.versions |= server.ready["versions"]
        run = Run(server, audience, side, READING_PAUSE_SECONDS * min(1.0, readers / READERS))
        if name == VALUE:
            run.make(1)  # a text has begun when people come to see it
        audience.ask("open", port=server.port, path=f"/events?topic={TOPIC}", count=readers, awaits=side.awaits)
        time.sleep(SETTLE_SECONDS)
        began = time.monotonic()
        outcome.reconcile(f"{name}, warm-up", run.make_and_collect(WARM_UP_EVENTS)[1])
        updates = int(WARM_UP_EVENTS * seconds / (time.monotonic() - began))
        updates = min(MOST_UPDATES, max(WARM_UP_EVENTS, updates))
        server_cpu = server.cpu_seconds()
        made, collected = run.make_and_collect(updates)
        server_cpu = server.cpu_seconds() - server_cpu
        outcome.reconcile(name, collected)
        if name == VALUE:
            value = server.ask("value", topic=TOPIC)["value"]
            outcome.agree(f"{name}, all viewers", collected["values"].get(TOPIC), value)
        else:
            outcome.agree(f"{name}, numbers", collected["numbers"], list(range(1, run.next)))
    deliveries = collected["frames"] * collected["readers"]
    # Without an end (something was lost) the whole wait counts, and the faults tell why.
    took = ((collected["finished_ns"] or time.monotonic_ns()) - made["began_ns"]) / 1e9
    found = FanOut(
        deliveries / took,
        updates,
        deliveries / max(0.01, server_cpu),
        server_cpu / took,
        collected["cpu_seconds"] / took,
        collected["faults"],
    )
    return found, collected["others"]


class Run:
    """A server that makes updates and an audience that reads them; numbers them from one order to the next.

    pause: seconds between two looks of the audience. Few readers have many updates in little time, and a reader that
    leaves a dozen packets unread is told what follows folded.
    """

    def __init__(self, server: Server, audience: Child, side: Side, pause: float) -> None:
        self.next = 1
        self._pause = pause
        self._server, self._audience, self._side = server, audience, side

    def make(self, count: int) -> Reply:
        """Make `count` updates, the next one when the last one has been written to all readers."""
        do, details = self._side.order
        first, self.next = self.next, self.next + count
        return self._server.ask(do, first=first, count=count, mode="lockstep", **details)

    def make_and_collect(self, count: int) -> tuple[Reply, Reply]:
        """Do it while the audience reads; return what both say when all of it is read."""
        last = self._side.mark(self.next + count - 1)
        self._audience.order("collect", mark=last, timeout=COLLECT_SECONDS, pause=self._pause)
        return self.make(count), self._audience.answer()

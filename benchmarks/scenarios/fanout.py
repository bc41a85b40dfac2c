"""Deliveries per second to 1,000 readers of one stream, and how long one event takes to all of them."""

from collections import defaultdict
from typing import Any, Final

from benchmarks import contenders
from benchmarks.contenders import BARE, CLARION_ASGI, CLARION_SOCKET
from benchmarks.outcome import Check, Outcome, Settings
from clarion.bench.fanout import FanOut, Stream
from clarion.bench.percentiles import median
from clarion.bench.processes import load_client

READERS: Final = 1_000
SECONDS: Final = 3.0
"""Length of one measurement."""

QUIET_EVENTS, QUIET_RATE = 12, 3.0
"""Events, and events a second, for the latency of an event when the server has nothing else to do."""


def lockstep(settings: Settings) -> Outcome:
    """The next event is published when the last one has been written to all readers."""
    outcome, rates = measure(settings, "lockstep", Outcome("Fan-out, one event at a time"))
    if ratio := ratio_of(rates, CLARION_SOCKET, BARE):
        outcome.checks.append(Check("socket sink, times the bare loop", ratio, "", 0.8, at_least=True))
    return outcome


def burst(settings: Settings) -> Outcome:
    """50 events at once, and the next 50 when they have been written to all readers."""
    outcome, rates = measure(settings, "burst", Outcome("Fan-out, bursts of 50 events"))
    for name, peer, floor in (
        (CLARION_SOCKET, BARE, 2.0),
        (CLARION_SOCKET, "nchan", 1.0),
        (CLARION_SOCKET, "sse-starlette", 10.0),
        (CLARION_SOCKET, "fastapi-sse", 10.0),
        (CLARION_ASGI, "sse-starlette", 3.0),
        (CLARION_ASGI, "fastapi-sse", 3.0),
    ):
        if ratio := ratio_of(rates, name, peer):
            what = f"{contenders.ALL[name].name}, times {contenders.ALL[peer].name}"
            outcome.checks.append(Check(what, ratio, "", floor, at_least=True))
    return outcome


def measure(settings: Settings, mode: str, outcome: Outcome) -> tuple[Outcome, dict[str, list[FanOut]]]:
    """Measure all contenders in turn, and that again for each round, so that a slow minute hits all of
    them."""
    names, left_out = contenders.available(settings.chosen(*contenders.ALL))
    outcome.notes += left_out
    readers = settings.readers(READERS, outcome.notes)
    rates: dict[str, list[FanOut]] = defaultdict(list)
    quiet: dict[str, dict[str, Any]] = {}
    for turn in range(settings.rounds):
        for name in names:
            contender = contenders.ALL[name]
            with contender.start() as server, load_client() as client:
                outcome.versions |= server.ready["versions"]
                stream = Stream(server, client, readers, contender.path)
                found = stream.fan_out(mode, 1.0 if settings.quick else SECONDS)
                if turn == 0:
                    quiet[name] = stream.publish(QUIET_EVENTS, mode="paced", rate=QUIET_RATE)[1]
                    outcome.reconcile(contender.name, quiet[name])
            rates[name].append(found)
            outcome.reconcile(contender.name, {"faults": found.faults})
            settings.say(f"{mode} {turn + 1}/{settings.rounds} {contender.name}: {found.per_second:,.0f}/s")
    outcome.rows = [row(name, rates, quiet[name]) for name in names]
    outcome.notes.append(f"{readers:,} readers; events of 120 bytes of data; medians of {settings.rounds} rounds")
    return outcome, rates


def row(name: str, rates: dict[str, list[FanOut]], quiet: dict[str, Any]) -> dict[str, Any]:
    found = rates[name]
    return {
        "server": contenders.ALL[name].name,
        "deliveries/s": median([one.per_second for one in found]),
        "times bare": ratio_of(rates, name, BARE) or "-",
        "per CPU second": median([one.per_cpu_second for one in found]),
        "server CPU %": 100 * median([one.server_cpu for one in found]),
        "client CPU %": 100 * median([one.client_cpu for one in found]),
        "lone event p50 ms": quiet["p50_ms"],
        "lone event p99 ms": quiet["p99_ms"],
    }


def ratio_of(rates: dict[str, list[FanOut]], name: str, peer: str) -> float | None:
    """Return the median of the ratios of each round: what slows a round down slows both."""
    pairs = list(zip(rates.get(name, ()), rates.get(peer, ()), strict=False))
    return median([one.per_second / other.per_second for one, other in pairs]) if pairs else None

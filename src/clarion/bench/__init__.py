"""`clarion bench`: what this machine does, beside the most that its kernel lets one Python thread do.

A short version of the project's benchmarks: real processes, real sockets, and every reader's events
reconciled with those published. It needs the `server` extra, and Linux.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from clarion.bench.fanout import Contender, FanOut, Stream, bare, clarion_asgi, clarion_socket
from clarion.bench.machine import facts, is_supported, most_readers
from clarion.bench.percentiles import median
from clarion.bench.processes import OrderFailed, load_client

READERS: Final = 1_000
SECONDS: Final = 1.5
ROUNDS: Final = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 1 if any reader lost an event, or got one twice or out of
    order."""
    parser = argparse.ArgumentParser(prog="clarion bench", description="Measure fan-out on this machine.")
    parser.add_argument("--readers", type=int, default=READERS, help="connections to each server (default 1,000)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of one measurement (default 1.5)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="measurements of each; medians are shown")
    options = parser.parse_args(argv)
    if not is_supported():
        print("clarion bench needs Linux: its load client is built on epoll", file=sys.stderr)
        return 1
    machine = facts()
    readers = max(1, min(options.readers, most_readers()))
    print(f"{machine['cores']} cores, {machine['kernel']}, {machine['python']}")
    print(f"{readers:,} readers over loopback, events of 120 bytes of data\n")
    if readers < options.readers:
        print(f"(a process may open {machine['file_descriptors']:,} files here, so no more readers than that)\n")
    try:
        return report(measure(readers, options.seconds, max(1, options.rounds)))
    except OrderFailed as failure:
        print(f"the benchmark failed: {failure}", file=sys.stderr)
        return 1


Found = dict[str, dict[str, list[FanOut]]]


def measure(readers: int, seconds: float, rounds: int) -> Found:
    """Return the measurements by mode and server, taken in turn, so that a slow moment hits all of them."""
    contenders = (bare(), clarion_socket(), clarion_asgi())
    found: Found = {mode: {one.name: [] for one in contenders} for mode in ("lockstep", "burst")}
    for turn in range(rounds):
        for contender in contenders:
            print(f"\r{turn + 1}/{rounds} {contender.name:<24}", end="", file=sys.stderr, flush=True)
            for mode, one in zip(found, both(contender, readers, seconds), strict=True):
                found[mode][contender.name].append(one)
    print("\r" + " " * 40 + "\r", end="", file=sys.stderr, flush=True)
    return found


def both(contender: Contender, readers: int, seconds: float) -> tuple[FanOut, FanOut]:
    """Measure one server in both modes."""
    with contender.start() as server, load_client() as client:
        stream = Stream(server, client, readers, contender.path)
        return stream.fan_out("lockstep", seconds), stream.fan_out("burst", seconds)


def report(found: Found) -> int:
    """Print the table; return the exit code."""
    print(f"{'deliveries a second':<24}{'one at a time':>16}{'':>9}{'bursts of 50':>16}")
    limits = {mode: [one.per_second for one in servers["bare send loop"]] for mode, servers in found.items()}
    faulty = False
    for name in found["lockstep"]:
        line = f"{name:<24}"
        for mode, servers in found.items():
            rates = [one.per_second for one in servers[name]]
            ratio = median([rate / limit for rate, limit in zip(rates, limits[mode], strict=True)])
            line += f"{median(rates):>16,.0f} {f'x {ratio:.2f}':>8}"
            faulty = faulty or any(one.faulty for one in servers[name])
        print(line)
    print("\nThe bare send loop is the limit of a Python thread: all it does is to call send for each reader")
    print("and event. Clarion passes it in bursts, because it joins events into one write.")
    if faulty:
        print("\nNot every reader got every event once and in order.")
        return 1
    print("Every reader got every event once and in order.")
    return 0

"""`python -m benchmarks [scenario ...] [--quick] [--rounds N] [--only NAME ...] [--out FILE.json]`.

Ends with 1 if any reader lost an event, got one twice or out of order, or shows another value than the hub has, and
with 2 if a target was missed.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks import contenders, report
from benchmarks.outcome import Outcome, Settings
from benchmarks.scenarios import (
    fanout,
    frozen,
    generated,
    memory,
    publishing,
    responsiveness,
    soak,
    storm,
    values,
    viewers,
)
from clarion.bench.machine import facts, is_supported, versions

SCENARIOS: Final[dict[str, Callable[[Settings], Outcome]]] = {
    "lockstep": fanout.lockstep,
    "burst": fanout.burst,
    "memory": memory.run,
    "responsiveness": responsiveness.run,
    "publish": publishing.run,
    "storm": storm.run,
    "frozen": frozen.run,
    "generated": generated.run,
    "viewers": viewers.run,
    "late": values.late,
    "slow": values.slow,
    "advance": values.advance,
    "soak": soak.run,
}

LONG: Final = ("soak",)
"""Scenarios that are run only by name."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []], help="default: all but soak")
    parser.add_argument("--quick", action="store_true", help="a tenth of the readers, one round: to see that it works")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=(), choices=list(contenders.ALL), metavar="CONTENDER")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/latest.json"))
    options = parser.parse_args(argv)
    if not is_supported():
        print("the load client needs Linux (epoll and /proc)", file=sys.stderr)
        return 1
    settings = Settings(options.quick, 1 if options.quick else options.rounds, tuple(options.only), progress)
    outcomes = {}
    for name in options.scenario or [name for name in SCENARIOS if name not in LONG]:
        progress(f"== {name}")
        outcomes[name] = SCENARIOS[name](settings)
        print("\n" + report.section(outcomes[name]) + "\n", flush=True)
    installed = versions("uvicorn", "uvloop", "httptools", "starlette", "msgspec")
    for outcome in outcomes.values():
        installed |= outcome.versions
    report.write(options.out, facts(), installed, outcomes)
    progress(f"written: {options.out} and {options.out.with_suffix('.md')}")
    if any(outcome.faults for outcome in outcomes.values()):
        return 1
    return 0 if options.quick or all(c.passed for o in outcomes.values() for c in o.checks) else 2


def progress(line: str) -> None:
    """Say on stderr how far it is: stdout is for the tables."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

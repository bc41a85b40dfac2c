"""`kill -9` while values change: each value is then what was acknowledged of it, in order, and at most what was begun.

    python tests/integration/values_kill9.py --rounds 20

A process appends to values from several coroutines and says each acknowledgement; it is killed at a random moment. Exit
code 0 if no acknowledged change was lost in any round.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clarion import json
from clarion.changes import change_draft
from clarion.journals.sqlite import SqliteJournal
from clarion.retention import Retention, RetentionRules
from clarion.values import Change

KEEP_LITTLE = RetentionRules(Retention(max_count=10))  # what was published is no part of what values are
CALLERS = 8


async def write(path: Path) -> None:
    """Change values until killed; say `CALLER COUNT` for each acknowledged batch, in one unbuffered write."""
    journal = SqliteJournal(path, follow_grace_ms=0)
    await journal.open(KEEP_LITTLE)
    os.write(1, b"open\n")

    async def caller(number: int) -> None:
        count = 0
        while True:
            count += 1
            now_ms = int(time.time() * 1000)
            mark = f"<{os.getpid()}.{number}.{count}>"
            await journal.append(
                [
                    change_draft("text", Change.APPEND, mark, created_ms=now_ms),
                    change_draft("counts", Change.MERGE, {f"{number}": count}, created_ms=now_ms),
                    change_draft(f"set/{number}", Change.SET, {"count": count, "pad": "x" * 200}, created_ms=now_ms),
                ]
            )
            os.write(1, f"{number} {count} {mark}\n".encode())
            if count % 200 == 0 and number == 0:  # what was there is rolled up, and begun anew
                await journal.append([change_draft("text", Change.SET, mark, created_ms=now_ms)])

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))


def one_round(path: Path, chance: random.Random) -> list[tuple[int, int, str]]:
    """Start a writer, kill it at a random moment. What it had acknowledged, in its order."""
    with subprocess.Popen([sys.executable, __file__, "--write", str(path)], stdout=subprocess.PIPE) as process:
        assert isinstance(process.stdout, io.BufferedReader)
        assert process.stdout.readline() == b"open\n"
        deadline = time.monotonic() + chance.uniform(0.01, 0.4)
        said = bytearray()
        while time.monotonic() < deadline:
            said += process.stdout.read1(65536)
        os.kill(process.pid, signal.SIGKILL)
        said += process.stdout.read()
    acknowledged: list[tuple[int, int, str]] = []
    for line in bytes(said).decode().split("\n")[:-1]:  # a last line without its end may have been cut
        number, count, mark = line.split(" ")
        acknowledged.append((int(number), int(count), mark))
    return acknowledged


async def stored(path: Path) -> dict[str, object]:
    """The values of the reopened file."""
    journal = SqliteJournal(path)
    await journal.open(KEEP_LITTLE)
    values = await journal.values(None, after=0, exact=False, max_bytes=10**9, now_ms=0)
    await journal.close()
    return {one.subject: json.decode(one.data) for one in values.changed}


def check(acknowledged: list[tuple[int, int, str]], values: dict[str, object]) -> None:
    """Hold the values against what one process had acknowledged. Raises `AssertionError`."""
    if not acknowledged:
        return
    last = {number: count for number, count, _ in acknowledged}
    counts, text = values["counts"], values["text"]
    assert isinstance(counts, dict)
    assert isinstance(text, str)
    for number, count in last.items():
        there = counts[f"{number}"]
        assert count <= there <= count + 1, f"caller {number} has {there}, {count} was acknowledged"
        own = values[f"set/{number}"]
        assert isinstance(own, dict)
        assert own["count"] == there, "a batch stands whole or not at all"
    marks = re.findall("<[0-9.]+>", text)
    assert "".join(marks) == text
    for number, count in last.items():
        pid = acknowledged[0][2][1:].split(".")[0]
        mine = [int(mark[1:-1].split(".")[2]) for mark in marks if mark.startswith(f"<{pid}.{number}.")]
        assert mine == list(range(mine[0], mine[0] + len(mine))) if mine else True
        assert not mine or mine[-1] in (count, count + 1), (
            f"caller {number} wrote {mine[-1:]}, {count} was acknowledged"
        )


def run(rounds: int, path: Path, seed: int) -> int:
    """Kill `rounds` times on one file. How many batches were acknowledged; raises if one was lost."""
    chance = random.Random(seed)
    total = 0
    for number in range(rounds):
        acknowledged = one_round(path, chance)
        try:
            check(acknowledged, asyncio.run(stored(path)))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, round {number}: {error}") from error
        total += len(acknowledged)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write is not None:
        asyncio.run(write(options.write))
        return
    with tempfile.TemporaryDirectory() as place:
        acknowledged = run(options.rounds, Path(place) / "events.db", options.seed)
    print(f"{options.rounds} kills (seed {options.seed}): {acknowledged} acknowledged batches, none lost")


if __name__ == "__main__":
    main()

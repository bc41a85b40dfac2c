"""`kill -9` during publishing: every acknowledged event must be in the reopened file, exactly once and in order.

    python tests/integration/kill9.py --rounds 50

A process publishes from many coroutines and prints each acknowledgement; it is killed at a random moment. Exit
code 0 if nothing acknowledged was lost in any round.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clarion.event import draft
from clarion.journals.sqlite import SqliteJournal
from clarion.retention import Retention, RetentionRules

KEEP_ALL = RetentionRules(Retention())
CALLERS = 16


async def publish(path: Path) -> None:
    """Publish until killed; say `OFFSET TEXT` for each acknowledged event, in one unbuffered write."""
    journal = SqliteJournal(path)
    await journal.open(KEEP_ALL)
    os.write(1, b"open\n")

    async def caller(number: int) -> None:
        count = 0
        while True:
            count += 1
            sent = [f"{os.getpid()}.{number}.{count}.{part}" for part in range(1 + count % 3)]
            drafts = [draft("kill", text=text, created_ms=int(time.time() * 1000)) for text in sent]
            appended = await journal.append(drafts)
            lines = "".join(f"{one.offset} {text}\n" for one, text in zip(appended, sent, strict=True))
            os.write(1, lines.encode())

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))


def one_round(path: Path, chance: random.Random) -> dict[int, str]:
    """Start a publisher, kill it at a random moment. What it had acknowledged, by offset."""
    command = [sys.executable, __file__, "--publish", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert isinstance(process.stdout, io.BufferedReader)
        assert process.stdout.readline() == b"open\n"
        # Longer than the pipe's buffer takes would block the publisher, so what it says is read meanwhile.
        deadline = time.monotonic() + chance.uniform(0.01, 0.4)
        said = bytearray()
        while time.monotonic() < deadline:
            said += process.stdout.read1(65536)
        os.kill(process.pid, signal.SIGKILL)
        said += process.stdout.read()
    acknowledged: dict[int, str] = {}
    for line in bytes(said).decode().split("\n")[:-1]:  # a last line without its end may have been cut
        offset, text = line.split(" ")
        acknowledged[int(offset)] = text
    return acknowledged


async def stored(path: Path) -> dict[int, str]:
    """What the reopened file holds, by offset."""
    journal = SqliteJournal(path)
    await journal.open(KEEP_ALL)
    page = await journal.read(0, None, max_entries=10**9, max_bytes=10**12, now_ms=0)
    await journal.close()
    return {entry.offset: entry.frame.decode().split("data: ")[1].rstrip("\n") for entry in page.entries}


def run(rounds: int, path: Path, seed: int) -> int:
    """Kill `rounds` times on one file. How many events were acknowledged; raises if one was lost."""
    chance = random.Random(seed)
    acknowledged: dict[int, str] = {}
    for number in range(rounds):
        fresh = one_round(path, chance)
        assert not fresh.keys() & acknowledged.keys(), "an offset was given twice"
        acknowledged.update(fresh)
        found = asyncio.run(stored(path))
        lost = {offset: text for offset, text in acknowledged.items() if found.get(offset) != text}
        assert not lost, f"seed {seed}, round {number}: lost {len(lost)} acknowledged events: {list(lost)[:5]}"
        assert len(set(found.values())) == len(found), f"seed {seed}, round {number}: an event is there twice"
    return len(acknowledged)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--publish", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish is not None:
        asyncio.run(publish(options.publish))
        return
    with tempfile.TemporaryDirectory() as place:
        acknowledged = run(options.rounds, Path(place) / "events.db", options.seed)
    print(f"{options.rounds} kills (seed {options.seed}): {acknowledged} acknowledged events, none lost")


if __name__ == "__main__":
    main()

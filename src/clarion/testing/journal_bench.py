"""What the contract suite of journals works with: a place, a clock that it turns, and journals opened there."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, Final

from clarion.event import Draft, Entry, draft
from clarion.journals.base import FOLLOW_BATCH_ENTRIES, Journal
from clarion.retention import Retention, RetentionRules
from clarion.topics import TopicSet

START_MS: Final = 1_790_000_000_000
PATIENCE_SECONDS: Final = 30.0  # for one test
EVERYTHING: Final = RetentionRules(Retention())


class Bench:
    """What a test of the suite works with: a place, a clock that it turns, and journals opened there."""

    def __init__(self, suite: Suite, place: Path) -> None:
        self._suite = suite
        self._place = place
        self._opened: list[Journal] = []
        self.now_ms = START_MS

    def make(self) -> Journal:
        """A journal at the test's place that is not open yet."""
        return self._suite.make(self._place, lambda: self.now_ms)

    async def open(self, rules: RetentionRules = EVERYTHING) -> Journal:
        """A journal at the test's place, open. It is closed at the end of the test."""
        journal = self.make()
        await journal.open(rules)
        self._opened.append(journal)
        return journal

    async def close(self) -> None:
        for journal in self._opened:
            await journal.close()

    def draft(self, topic: str, data: Any = None, **options: Any) -> Draft:
        """A draft of the present."""
        return draft(topic, data, created_ms=self.now_ms, **options)

    async def append(self, journal: Journal, *topics: str, **options: Any) -> list[int]:
        """Append an event to each topic, in one batch."""
        return [done.offset for done in await journal.append([self.draft(name, **options) for name in topics])]

    async def read(self, journal: Journal, after: int, *topics: str) -> tuple[list[int], int | None]:
        """The offsets of everything after a cursor, read in one page, and how many were missed."""
        page = await journal.read(
            after, TopicSet(topics) if topics else None, max_entries=10**6, max_bytes=10**9, now_ms=self.now_ms
        )
        return [entry.offset for entry in page.entries], page.missed


class Suite(ABC):
    """What the parts of the contract suite have in common.

    overshoot_entries: by how many entries a bound may be overshot, for a while, before retention catches up.
    """

    overshoot_entries: ClassVar[int] = 512

    @abstractmethod
    def make(self, place: Path, now_ms: Callable[[], int]) -> Journal:
        """A journal, not open yet, that keeps what it keeps under the directory `place`.

        now_ms: what it is to take for the present, Unix time in milliseconds.
        """

    async def settled(self, bench: Bench, journal: Journal, done: Callable[[list[int]], bool]) -> list[int]:
        """Wait until retention, which works beside the appends, has brought what is kept to where `done` says so."""
        while True:
            kept, _ = await bench.read(journal, 0)
            if done(kept):
                return kept
            await asyncio.sleep(0.02)


Scenario = Callable[[Any, Bench], Awaitable[None]]


def contract(scenario: Scenario) -> Callable[[Any, Path], None]:
    """Make a test of a coroutine: in an event loop of its own, and never longer than `PATIENCE_SECONDS`."""

    @wraps(scenario)
    def test(self: Suite, tmp_path: Path) -> None:
        async def run() -> None:
            bench = Bench(self, tmp_path)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await scenario(self, bench)
            finally:
                await bench.close()

        asyncio.run(run())

    del test.__wrapped__  # pytest would ask for the arguments of what is wrapped
    return test


async def following(journal: Journal, after: int, count: int) -> list[Entry]:
    """The first `count` entries that following after an offset gives."""
    entries: list[Entry] = []
    batches = journal.follow(after)
    try:
        while len(entries) < count:
            batch = await anext(batches)
            assert 0 < len(batch) <= FOLLOW_BATCH_ENTRIES
            entries.extend(batch)
    finally:
        await batches.aclose()  # type: ignore[attr-defined]
    return entries

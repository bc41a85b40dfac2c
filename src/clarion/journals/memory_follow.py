"""What a follower of a memory journal has still to take: usually emptied at its next turn in the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from clarion.event import Entry
from clarion.journals.base import FOLLOW_BATCH_ENTRIES

# From there on publishers wait for the follower; without that, one that never waits would leave it no turn.
FULL_ENTRIES: Final = 4 * FOLLOW_BATCH_ENTRIES
FULL_BYTES: Final = 8 * 1024**2
MOST_ENTRIES: Final = 100_000  # what one append may bring over that; then the follower is overrun


class Pending:
    """Entries on their way to one follower. Belongs to one event loop."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = deque(entries)
        self._bytes = sum([len(entry.frame) for entry in self._entries])
        self._arrived = asyncio.Event()
        self._roomy = asyncio.Event()
        self.overrun = False

    @property
    def is_full(self) -> bool:
        return len(self._entries) > FULL_ENTRIES or self._bytes > FULL_BYTES

    def extend(self, entries: Sequence[Entry]) -> None:
        """Add what was appended, or note that it was too much."""
        if len(self._entries) + len(entries) > MOST_ENTRIES:
            self.overrun = True
        if not self.overrun:
            self._entries.extend(entries)
            self._bytes += sum([len(entry.frame) for entry in entries])
        self._arrived.set()

    def take(self) -> list[Entry]:
        """The next batch; empty if there is nothing."""
        batch: list[Entry] = []
        while self._entries and len(batch) < FOLLOW_BATCH_ENTRIES:
            entry = self._entries.popleft()
            self._bytes -= len(entry.frame)
            batch.append(entry)
        if not self.is_full:
            self._roomy.set()
        return batch

    async def arrival(self) -> None:
        """Wait until something was added, or `release`."""
        self._arrived.clear()
        await self._arrived.wait()

    async def room(self) -> None:
        """Wait until it is not full any more, or `release`."""
        self._roomy.clear()
        await self._roomy.wait()

    def release(self) -> None:
        """Let go of who waits: the journal closes, or the follower is gone."""
        self._arrived.set()
        self._roomy.set()

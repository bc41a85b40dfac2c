"""What was read and not yet asked for: one side in the event loop, the other there too or in a thread."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from clarion.client.received import Item

# Statuses, while nobody asks for anything: a server that is down for a week must not fill the memory.
MAX_STATUSES: Final = 256


class Buffer:
    """Items in order. One writer in the event loop (`put`, `drained`, `close`); one reader (`pop`), in any thread.

    The writer waits until the reader has taken all before it reads on, so what is held is what one read brought.
    wake: called in the loop when there is something for the reader. soon: has a function called in the loop.
    """

    def __init__(self, wake: Callable[[], None], soon: Callable[[Callable[[], None]], object]) -> None:
        self._wake = wake
        self._soon = soon
        self._items: deque[Item] = deque()
        self._statuses = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self.closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, items: Iterable[Item]) -> None:
        """Add items that were read."""
        self._items.extend(items)
        if self._items:
            self._empty.clear()
            self._wake()

    def put_status(self, item: Item) -> None:
        """Add what became of the connection. Of too many in a row that nobody asked for, the newest are kept."""
        if self._statuses >= MAX_STATUSES and self._items and self._items[-1].status is not None:
            self._items[-1] = item
            return
        self._statuses += 1
        self.put((item,))

    def pop(self) -> Item | None:
        """Take the oldest item, None if there is none."""
        try:
            item = self._items.popleft()
        except IndexError:
            return None
        if not self._items:
            self._soon(self._refill)
        return item

    async def drained(self) -> None:
        """Wait until everything was taken."""
        await self._empty.wait()

    def close(self) -> None:
        """There will be no more. What is in it can still be taken."""
        self.closed = True
        self._wake()

    def discard(self) -> None:
        """Throw away what is in it, after `close`."""
        self._items.clear()

    def _refill(self) -> None:
        if not self._items:
            self._statuses = 0
            self._empty.set()

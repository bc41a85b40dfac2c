"""What all queue-per-client servers share: a set of queues, and a publisher that takes orders.

This is the registry that users of these libraries write by hand. The event's text is made once per event,
which is kinder than most real code.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from clarion.bench.machine import versions
from clarion.bench.orders import Order, Reply, serve_async
from clarion.bench.payload import event_text
from clarion.bench.publishing import publish_as_ordered

Item = tuple[int, str]


class Queues:
    """One `asyncio.Queue` per reader. An item is settled when the framework comes back for the next one."""

    def __init__(self, *packages: str) -> None:
        self._packages = packages
        self._queues: set[asyncio.Queue[Item]] = set()
        self._untaken = 0
        self._settled = asyncio.Event()

    async def events(self) -> AsyncIterator[Item]:
        """Yield (number, text) for one reader until it goes away."""
        queue: asyncio.Queue[Item] = asyncio.Queue()
        self._queues.add(queue)
        try:
            while True:
                yield await queue.get()
                self._untaken -= 1
                if self._untaken == 0:
                    self._settled.set()
        finally:
            self._queues.discard(queue)

    async def _emit(self, number: int, size: int) -> None:
        item = (number, event_text(number, size))
        for queue in self._queues:
            queue.put_nowait(item)
        self._untaken += len(self._queues)

    async def _settle(self) -> None:
        if self._untaken > 0:
            self._settled.clear()
            await self._settled.wait()
        # Lets the loop turn even if nobody listens.
        await asyncio.sleep(0)

    async def _publish(self, order: Order) -> Reply:
        return await publish_as_ordered(order, self._emit, self._settle)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """Take orders while the app runs."""
        ready: Reply = {"ready": True, "pids": [os.getpid()], "versions": versions(*self._packages)}
        orders = asyncio.create_task(serve_async({"publish": self._publish}, ready))
        yield
        orders.cancel()

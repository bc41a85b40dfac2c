"""How a server under test publishes on order. One loop for all of them, so that all are asked the same.

Modes:
- `lockstep`: the next event is published when the last one has been written to every reader;
- `burst`: `batch` events back to back, and the next batch when all of that has been written;
- `paced`: `rate` events a second, by the clock, whether or not anything has been written.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from clarion.bench.orders import Order, Reply
from clarion.bench.payload import DEFAULT_SIZE

BURST_EVENTS: Final = 50
"""Events of one burst, unless the order says otherwise."""


async def publish_as_ordered(
    order: Order, emit: Callable[[int, int], Awaitable[object]], settle: Callable[[], Awaitable[None]]
) -> Reply:
    """Call `emit(number, size)` for `count` numbers from `first` on; `settle()` returns when all has been
    written."""
    first, count = int(order.get("first", 1)), int(order["count"])
    size, mode = int(order.get("size", DEFAULT_SIZE)), str(order.get("mode", "burst"))
    batch = 1 if mode == "lockstep" else int(order.get("batch", BURST_EVENTS))
    began, cpu = time.monotonic_ns(), time.process_time()
    if mode == "paced":
        await _paced(range(first, first + count), size, float(order["rate"]), emit)
    else:
        for start in range(first, first + count, batch):
            for number in range(start, min(start + batch, first + count)):
                await emit(number, size)
            await settle()
    await settle()
    return {
        "began_ns": began,
        "seconds": (time.monotonic_ns() - began) / 1e9,
        "cpu_seconds": time.process_time() - cpu,
    }


async def _paced(numbers: range, size: int, rate: float, emit: Callable[[int, int], Awaitable[object]]) -> None:
    began = time.monotonic()
    for done, number in enumerate(numbers):
        await asyncio.sleep(due_in(began, done, rate))
        await emit(number, size)


def batches(order: Order) -> Iterator[range]:
    """Yield the numbers to publish at a time, for publishers without an event loop. Sleeps when they are
    paced."""
    first, count, mode = int(order.get("first", 1)), int(order["count"]), str(order.get("mode", "burst"))
    batch = int(order.get("batch", BURST_EVENTS)) if mode == "burst" else 1
    began = time.monotonic()
    for start in range(first, first + count, batch):
        if mode == "paced":
            time.sleep(due_in(began, start - first, float(order["rate"])))
        yield range(start, min(start + batch, first + count))


def due_in(began: float, done: int, rate: float) -> float:
    """Return the seconds until the next event is due. By the clock, so that one late sleep delays no
    other."""
    return max(0.0, began + done / rate - time.monotonic())

"""An app whose topics have values: it changes them, generates text and tells progress as it is ordered.

As `clarion.bench.app`, but for one thing: there are no heartbeats, since those come to each reader at a time of its
own, and here all readers of a topic have to get the same bytes.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.updates import token, update
from clarion import Hub
from clarion.bench.machine import raise_descriptor_limit, versions
from clarion.bench.orders import Order, Reply, serve_async
from clarion.bench.publishing import due_in, publish_as_ordered
from clarion.changes import ValueChange

SEEDED_AT_ONCE: Final = 500
"""Changes in one run of the journal, where only their number matters."""

hub = Hub(os.environ.get("CLARION_BENCH_JOURNAL", "memory://"), heartbeat_seconds=0)


async def change(order: Order) -> Reply:
    """Make updates of a `kind`, as `publish_as_ordered` says; reply also with when the last one was begun."""
    topic, kind = order["topic"], order["kind"]
    last_ns = 0

    async def emit(number: int, size: int) -> None:
        nonlocal last_ns
        word, data = update(kind, number, size)
        last_ns = time.monotonic_ns()
        await getattr(hub, word)(topic, data, event=order.get("event"))

    return {**await publish_as_ordered(order, emit, hub.settle), "last_ns": last_ns}


async def seed(order: Order) -> Reply:
    """Make `count` updates of a `kind`, many in one run."""
    for first in range(0, order["count"], SEEDED_AT_ONCE):
        numbers = range(first, min(first + SEEDED_AT_ONCE, order["count"]))
        updates = (update(order["kind"], number) for number in numbers)
        await hub.change_many([ValueChange(order["topic"], word, data) for word, data in updates])
    await hub.settle()
    return {}


async def generate(order: Order) -> Reply:
    """Generate a text of `count` tokens, `rate` a second; reply with how many entries the journal has for it."""
    before = (await hub.journal.bounds()).newest
    began = time.monotonic()
    async with hub.generation(order["topic"]) as out:
        for number in range(order["count"]):
            await asyncio.sleep(due_in(began, number, order["rate"]))
            await out.write(token(number))
    seconds = time.monotonic() - began
    return {"entries": (await hub.journal.bounds()).newest - before, "seconds": seconds}


async def advance(order: Order) -> Reply:
    """Count to `count` in a tight loop, in the event loop or in a thread beside it; reply with the loop's time."""
    if order["where"] == "thread":
        return {"seconds": await asyncio.to_thread(_advance_in_thread, order["topic"], order["count"])}
    async with hub.progress(order["topic"], total=order["count"]) as task:
        began = time.perf_counter()
        for _ in range(order["count"]):
            task.advance()
        return {"seconds": time.perf_counter() - began}


def _advance_in_thread(topic: str, count: int) -> float:
    with hub.progress(topic, total=count) as task:
        began = time.perf_counter()
        for _ in range(count):
            task.advance()
        return time.perf_counter() - began


async def value(order: Order) -> Reply:
    """Reply with what the hub has for a topic."""
    return {"value": await hub.get(order["topic"])}


async def events(request: Request) -> Response:
    """Stream the topics of the query."""
    return hub.stream(topics=request.query_params.getlist("topic"))


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Take orders while the hub runs."""
    raise_descriptor_limit()
    ready: Reply = {
        "ready": True,
        "pids": [os.getpid()],
        "versions": versions("clarion", "starlette", "uvicorn", "uvloop", "httptools", "msgspec"),
    }
    actions = {"change": change, "seed": seed, "generate": generate, "advance": advance, "value": value}
    async with hub:
        orders = asyncio.create_task(serve_async(actions, ready))
        yield
        orders.cancel()


app = Starlette(routes=[Route("/events", events)], lifespan=lifespan)

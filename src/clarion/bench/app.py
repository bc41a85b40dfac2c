"""The app under test: one stream route, one other route, and a publisher that takes orders."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from clarion import Hub
from clarion.bench.machine import raise_descriptor_limit, versions
from clarion.bench.orders import Order, Reply, serve_async
from clarion.bench.payload import event_data
from clarion.bench.publishing import publish_as_ordered

TOPIC = "bench"

hub = Hub(os.environ.get("CLARION_BENCH_JOURNAL", "memory://"))


async def publish(order: Order) -> Reply:
    """Publish as ordered; reply also with the `id` of the last event."""
    last, topic = "", str(order.get("topic", TOPIC))

    async def emit(number: int, size: int) -> None:
        nonlocal last
        last = (await hub.publish(topic, event_data(number, size))).id

    return {**await publish_as_ordered(order, emit, hub.settle), "id": last}


async def lagging(order: Order) -> Reply:
    """Reply how many readers have not got everything that was published."""
    return {"readers": hub.client_count, "lagging": sum(client.lag > 0 for client in hub.clients())}


async def events(request: Request) -> Response:
    """Stream the topics of the query, as its user."""
    topics = request.query_params.getlist("topic") or [TOPIC]
    return hub.stream(topics=topics, user=request.query_params.get("user"))


async def ping(request: Request) -> Response:
    return PlainTextResponse("pong")


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Take orders while the hub runs."""
    raise_descriptor_limit()
    ready: Reply = {
        "ready": True,
        "pids": [os.getpid()],
        "versions": versions("clarion", "starlette", "uvicorn", "uvloop", "httptools", "msgspec"),
    }
    async with hub:
        orders = asyncio.create_task(serve_async({"publish": publish, "lagging": lagging}, ready))
        yield
        orders.cancel()


app = Starlette(routes=[Route("/events", events), Route("/ping", ping)], lifespan=lifespan)

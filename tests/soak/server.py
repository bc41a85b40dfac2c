"""The server that is soaked: `python -m tests.soak.server JOURNAL`. Prints its port; ends with its standard input.

Its windows are small, so that a run of minutes fills them as a run of hours fills the real ones.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import clarion.blocks
import clarion.engine
import clarion.fanout
import clarion.journals.memory
import clarion.pager
from clarion import Event, Hub, Retention
from clarion.journals.skeleton import Skeleton
from clarion.log import Log
from clarion.takeover import EXTENSION
from clarion.topics import CLIENT_PREFIX, USER_PREFIX
from clarion.uvicorn import Protocol

KEPT_ENTRIES = 6_000
HEARTBEAT_SECONDS = 1.0


def make_app(journal: str) -> Starlette:
    clarion.engine.Log = lambda: Log(max_entries=3_000, max_bytes=1 << 20)  # type: ignore[misc, assignment]
    clarion.journals.memory.Skeleton = lambda: Skeleton(3_000)  # type: ignore[misc, assignment]
    clarion.pager.CACHE_BYTES = clarion.blocks.BLOCK_CACHE_BYTES = 1 << 20  # type: ignore[misc]
    hub = Hub(journal, retention=Retention(max_count=KEPT_ENTRIES), heartbeat_seconds=HEARTBEAT_SECONDS)

    async def events(request: Request) -> Response:
        query = request.query_params
        if query.get("sink") == "asgi":
            request.scope.get("extensions", {}).pop(EXTENSION, None)
        age = query.get("age")
        return hub.stream(
            topics=[name for name in query.get("topics", "").split(",") if name],
            user=query.get("user") or None,
            max_age_seconds=float(age) if age else None,
        )

    async def publish(request: Request) -> Response:
        offsets = [(await _publish(hub, one)).position.offset for one in await request.json()]
        return JSONResponse({"offsets": offsets, "epoch": hub.journal.epoch})

    async def stats(request: Request) -> Response:
        return JSONResponse({"clients": hub.client_count, "tasks": len(asyncio.all_tasks())})

    routes = [Route("/events", events), Route("/publish", publish, methods=["POST"]), Route("/stats", stats)]
    return Starlette(routes=routes, lifespan=hub.lifespan)


async def _publish(hub: Hub, one: dict[str, Any]) -> Any:
    topic, data = one["topic"], one["data"]
    if topic == "@all":
        return await hub.broadcast(data)
    if topic.startswith(USER_PREFIX):
        return await hub.send_to_user(topic.removeprefix(USER_PREFIX), data)
    if topic.startswith(CLIENT_PREFIX):
        return await hub.send(topic.removeprefix(CLIENT_PREFIX), data)
    [receipt] = await hub.publish_many([Event(topic, data, ephemeral=one["ephemeral"])])
    return receipt


async def serve(journal: str) -> None:
    sock = socket.create_server(("127.0.0.1", 0), backlog=1_000)
    config = uvicorn.Config(make_app(journal), http=Protocol, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    print(sock.getsockname()[1], flush=True)
    serving = asyncio.create_task(server.serve([sock]))
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))

"""Starlette without FastAPI, with a lifespan of its own around the hub's.

clarion run examples.starlette_app:app
curl -N http://127.0.0.1:8000/events
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clarion import Hub

hub = Hub()


async def tick() -> None:
    """Something of the app's own that publishes as long as it runs."""
    while True:
        await hub.publish("clock", {"now": datetime.now(UTC)}, event="tick", ephemeral=True)
        await asyncio.sleep(1)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with hub:
        ticking = asyncio.create_task(tick())
        yield
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking


async def events(request: Request) -> Response:
    return hub.stream(topics=["clock", "chat/*"])


async def say(request: Request) -> Response:
    receipt = await hub.publish(f"chat/{request.path_params['room']}", await request.json())
    return JSONResponse({"id": receipt.id}, status_code=201)


app = Starlette(
    routes=[Route("/events", events), Route("/chat/{room}", say, methods=["POST"])],
    lifespan=lifespan,
)

"""What people write without a library: a StreamingResponse over a queue per client, frames made by hand."""

from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from benchmarks.servers.queues import Queues

queues = Queues("starlette", "uvicorn", "uvloop", "httptools")


async def frames() -> AsyncIterator[str]:
    async for number, text in queues.events():
        yield f"id: {number}\ndata: {text}\n\n"


async def events(request: Request) -> StreamingResponse:
    return StreamingResponse(frames(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


app = Starlette(routes=[Route("/events", events)], lifespan=queues.lifespan)

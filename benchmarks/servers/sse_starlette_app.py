"""sse-starlette: an EventSourceResponse over a generator that reads a queue of its own."""

from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from benchmarks.servers.queues import Queues

queues = Queues("sse-starlette", "starlette", "uvicorn", "uvloop", "httptools")


async def frames() -> AsyncIterator[ServerSentEvent]:
    async for number, text in queues.events():
        yield ServerSentEvent(data=text, id=str(number))


async def events(request: Request) -> EventSourceResponse:
    return EventSourceResponse(frames())


app = Starlette(routes=[Route("/events", events)], lifespan=queues.lifespan)

"""fastapi.sse: a path function that yields ServerSentEvent from a queue of its own.

`raw_data` is the documented way for text that is encoded already; `data` would encode it anew for every
reader.
"""

from collections.abc import AsyncIterable

from fastapi import FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent

from benchmarks.servers.queues import Queues

queues = Queues("fastapi", "starlette", "uvicorn", "uvloop", "httptools")
app = FastAPI(lifespan=queues.lifespan)


@app.get("/events", response_class=EventSourceResponse)
async def events() -> AsyncIterable[ServerSentEvent]:
    async for number, text in queues.events():
        yield ServerSentEvent(raw_data=text, id=str(number))

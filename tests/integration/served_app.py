"""The app that the servers of these tests run: one stream, a few ways to publish, and what a test asks for.

What it shall be like comes as JSON in the environment, so that it is the same in each worker process.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import Response

from clarion import Client, Hub, Limits
from clarion.retention import Retention

WANTED: dict[str, Any] = json.loads(os.environ.get("CLARION_TEST", "{}"))


class FastClock:
    """The system's clock, but so many times faster: for what takes a minute."""

    def __init__(self, speed: float) -> None:
        self._speed = speed

    def monotonic_ms(self) -> int:
        return round(time.monotonic() * 1000 * self._speed)

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def call_later(self, delay_ms: int, callback: Any) -> Any:
        return asyncio.get_running_loop().call_later(delay_ms / 1000 / self._speed, callback)


hub = Hub(
    WANTED.get("journal", "memory://"),
    limits=Limits(**WANTED.get("limits", {})),
    retention=Retention(**WANTED["retention"]) if "retention" in WANTED else None,
    clock=FastClock(WANTED["speed"]) if "speed" in WANTED else None,
)
released: list[str] = []


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with hub:
        yield


app = FastAPI(lifespan=lifespan)


def note(**facts: Any) -> None:
    """Append a line to the test's diary; whole lines, from any process."""
    if "diary" in WANTED:
        with Path(WANTED["diary"]).open("a") as diary:
            diary.write(json.dumps({"pid": os.getpid(), **facts}) + "\n")


@hub.on_connect
async def connected(client: Client) -> None:
    await asyncio.sleep(WANTED.get("slow_connect", 0))


@hub.on_disconnect
async def disconnected(client: Client, reason: str) -> None:
    await asyncio.sleep(0.05)  # a callback that takes its time: it must be let finish
    note(gone=client.id, reason=reason, position=str(client.position))


async def dependency() -> AsyncIterator[str]:
    released.append("opened")
    try:
        yield "resource"
    finally:
        released.append("closed")


@app.get("/events")
async def events(request: Request, resource: str = Depends(dependency)) -> Response:
    query = request.query_params
    if "session" in request.scope:
        request.session["visits"] = request.session.get("visits", 0) + 1
    options: dict[str, Any] = {}
    for name in ("heartbeat_seconds", "max_age_seconds"):
        if name in query:
            options[name] = float(query[name])
    if "expires_in" in query:
        options["expires_at"] = time.time() + float(query["expires_in"])
    topics = query.getlist("topic") or ["news"]
    return hub.stream(topics=topics, user=query.get("user"), **options)


@app.get("/early")
async def early(resource: str = Depends(dependency, scope="function")) -> Response:
    """A stream whose dependencies are released before it begins, on any server."""
    return hub.stream(topics=["news"])


@app.post("/publish/{topic:path}")
async def publish(topic: str, request: Request) -> dict[str, Any]:
    """Publish the body `times` times, with its number in front."""
    body = (await request.body()).decode()
    first = int(request.query_params.get("first", 0))
    times = int(request.query_params.get("times", 1))
    receipts = await hub.publish_many([(topic, f"{n}:{body}") for n in range(first, first + times)])
    return {"id": receipts[-1].id, "clients": receipts[-1].clients}


@app.post("/tell/{user}")
async def tell(user: str, request: Request) -> dict[str, Any]:
    receipt = await hub.send_to_user(user, (await request.body()).decode())
    return {"id": receipt.id}


@app.post("/kick")
async def kick(user: str | None = None, client: str | None = None, reason: str = "kicked") -> dict[str, Any]:
    await hub.kick(user=user, client=client, reason=reason)
    return {}


@app.get("/stuck")
async def stuck() -> None:
    """A request that does not end by itself, and has nothing to do with Clarion."""
    note(stuck=True)
    await asyncio.sleep(1_000)


@app.get("/about")
def about() -> dict[str, Any]:
    """What a test wants to know of the process. Says it of the server too, if this is uvicorn."""
    return {
        "pid": os.getpid(),
        "clients": hub.client_count,
        "behind": sum(1 for client in hub.clients() if client.lag),
        "released": released,
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "resident": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        "loop": type(hub.loop).__module__,
        "tasks": len(asyncio.all_tasks(hub.loop)),
    }


class Tagging(BaseHTTPMiddleware):
    """The middleware that people write first: reads the response through a task and a memory stream."""

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-tagged"] = "yes"
        return response


class Compressing:
    """Compresses streams, as a careless middleware does."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != "/events":
            await self.app(scope, receive, send)
            return

        streams = False

        async def compressed(message: Any) -> None:
            nonlocal streams
            if message["type"] == "http.response.start":
                streams = any(value.startswith(b"text/event-stream") for _, value in message["headers"])
                if streams:
                    message["headers"] = [*message["headers"], (b"content-encoding", b"gzip")]
            elif streams:
                message["body"] = gzip.compress(message["body"]) if message.get("body") else b""
            await send(message)

        await self.app(scope, receive, compressed)


MIDDLEWARE: dict[str, tuple[Any, dict[str, Any]]] = {
    "base": (Tagging, {}),
    "cors": (CORSMiddleware, {"allow_origins": ["https://page.example"], "allow_credentials": True}),
    "gzip": (GZipMiddleware, {"minimum_size": 10}),
    "session": (SessionMiddleware, {"secret_key": "made up"}),
    "compressing": (Compressing, {}),
}
for name in WANTED.get("middleware", ()):
    kind, options = MIDDLEWARE[name]
    app.add_middleware(kind, **options)


def serve_in_thread() -> None:
    """Run uvicorn in a thread, as tests and GUI programs do; a line on standard input tells it to stop."""
    import threading

    import uvicorn

    config = uvicorn.Config(app, port=int(sys.argv[1]), http="clarion.uvicorn:Protocol")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    sys.stdin.readline()
    server.should_exit = True
    thread.join()


if __name__ == "__main__":
    serve_in_thread()

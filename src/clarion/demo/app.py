"""The demo's app: a hub, one stream per tab, and a few posts, as in any app that has Clarion in it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from clarion import ClarionError, Hub, JournalError, Limits, Retention
from clarion.demo import jobs, texts
from clarion.demo.bodies import Drop, JobOrder, Name, Note, Said, Tab, TextOrder, explain
from clarion.demo.guard import Guard
from clarion.demo.jobs import Jobs, TooManyJobs
from clarion.demo.machine import Meter
from clarion.demo.markov import MarkovSource
from clarion.demo.openai import OpenAISource
from clarion.demo.presence import Presence
from clarion.generation import GenerationRunning
from clarion.progress.routes import cancel_routes
from clarion.script import ClientScript

TOPICS = ("chat", "machine", "people", jobs.PATTERN, texts.TOPIC)

SAMPLE_SECONDS = 1.0
SAMPLE_TTL_SECONDS = 90  # what the page's curves show, so that a new tab has them whole
NOTE_TTL_SECONDS = 86_400
HEARTBEAT_SECONDS = 10
FEED_LINES = 500  # kept; more would only make a new tab slow
EVENT_BYTES = 64 * 1024  # no event here is larger, and a text that never ends is stopped there
HELD_TABS = 1000  # held back at one time; each costs a sleeping coroutine

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
STATIC = Path(__file__).parent / "static"

_log = logging.getLogger("clarion.demo")


class Demo:
    """What runs behind the page. One per app, on one event loop."""

    def __init__(self, journal: str) -> None:
        self.hub = Hub(
            journal,
            topic_retention={"chat": Retention(max_count=FEED_LINES)},
            limits=Limits(max_event_bytes=EVENT_BYTES),
        )
        self.presence = Presence(self.hub)
        self.jobs = Jobs(self.hub)
        self.text_source: texts.Source = OpenAISource.from_environment(os.environ) or MarkovSource()
        self._held_until: dict[str, float] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the hub, and keep the figures coming. Closing the hub ends the job and the text."""
        async with self.hub:
            tasks = [asyncio.create_task(self._watch_machine()), asyncio.create_task(self.presence.run())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def drop(self, tab: str, seconds: int) -> int:
        """Drop a tab's streams, and hold its next one back for ``seconds``. Returns how many were dropped."""
        now = time.monotonic()
        self._held_until = {held: until for held, until in self._held_until.items() if until > now}
        if seconds and len(self._held_until) < HELD_TABS:
            self._held_until[tab] = now + seconds
        dropped = [client for client in self.hub.clients() if client.meta.get("tab") == tab]
        for client in dropped:
            await self.hub.kick(client=client.id, reason="dropped by its own button")
        return len(dropped)

    async def hold(self, tab: str) -> None:
        """Wait until a tab may come back."""
        await asyncio.sleep(self._held_until.get(tab, 0) - time.monotonic())

    async def _watch_machine(self) -> None:
        meter: Meter | None = None
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            if not self.hub.client_count:  # nobody looks: measure nothing
                meter = None
            elif meter is None:
                meter = await asyncio.to_thread(Meter)
            else:
                sample = await asyncio.to_thread(meter.read)
                try:
                    await self.hub.publish("machine", sample, event="machine", ttl=SAMPLE_TTL_SECONDS)
                except JournalError as error:  # a full disk, say; the next second may be better
                    _log.warning("a sample was not published: %s", error)


def create_app(journal: str = "memory://", *, hosts: Sequence[str] = LOCAL_HOSTS) -> FastAPI:
    """Make the demo's app on a journal. ``hosts`` are the names that it answers to (``*``: any)."""
    demo = Demo(journal)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with demo.running():
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.add_middleware(Guard, hosts=frozenset(hosts))
    _add_routes(app, demo)
    _add_answers(app)
    app.router.routes.append(Route("/clarion.js", ClientScript()))
    app.mount("/static", StaticFiles(directory=STATIC))
    return app


def _add_routes(app: FastAPI, demo: Demo) -> None:
    hub = demo.hub

    @app.get("/")
    async def page() -> Response:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    @app.get("/events")
    async def events(user: Name, tab: Tab) -> Response:
        await demo.hold(tab)
        return hub.stream(
            topics=TOPICS, user=user, since="earliest", heartbeat_seconds=HEARTBEAT_SECONDS, meta={"tab": tab}
        )

    @app.get("/api/about")
    async def about() -> dict[str, str]:
        return {"textSource": demo.text_source.label}

    @app.post("/api/chat")
    async def say(said: Said) -> dict[str, object]:
        receipt = await hub.publish("chat", {**said.model_dump(), "at": _now_ms()}, event="chat")
        return {"id": receipt.id, "readers": receipt.clients}

    @app.post("/api/notify")
    async def notify(note: Note) -> dict[str, object]:
        letter = {"user": note.user, "text": note.text, "at": _now_ms()}
        receipt = await hub.send_to_user(note.to, letter, event="notification", ttl=NOTE_TTL_SECONDS)
        return {"id": receipt.id, "readers": receipt.clients}

    @app.post("/api/jobs", status_code=202)
    async def start_job(order: JobOrder) -> Response:
        try:
            return JSONResponse({"taskId": demo.jobs.start(order.scope, order.user).id}, 202)
        except TooManyJobs:
            return _refusal(429, "Two jobs are running. Wait for one, or cancel it.")

    @app.post("/api/texts", status_code=202)
    async def begin_text(order: TextOrder) -> Response:
        try:
            return JSONResponse(await texts.begin(hub, demo.text_source, order.prompt, order.user), 202)
        except GenerationRunning:
            return _refusal(409, "A text is being written. Wait for it, or stop it.")

    async def anybody_may(user: str | None, task_id: str) -> bool:
        return True

    app.include_router(cancel_routes(hub, can_cancel=anybody_may), prefix="/api")

    @app.post("/api/drop")
    async def drop(order: Drop) -> dict[str, int]:
        return {"dropped": await demo.drop(order.tab, order.seconds)}


def _add_answers(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return _refusal(422, explain(list(error.errors())))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return _refusal(error.status_code, error.detail, error.headers)

    @app.exception_handler(ClarionError)
    async def failed(request: Request, error: ClarionError) -> Response:
        _log.warning("%s was refused: %s", request.url.path, error)
        return _refusal(error.status, "The server could not take this now. Please try again.")


def _refusal(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": text}, status, headers)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

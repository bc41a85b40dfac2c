"""An app's life in a test: started and stopped as a server does it, once, however many streams are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.types import ASGIApp, Message

# The apps that run now, by event loop and app, so that two streams of one test share one life of their app.
_lives: Final[dict[tuple[int, int], _Life]] = {}


@asynccontextmanager
async def running(app: ASGIApp) -> AsyncGenerator[dict[str, Any]]:
    """Run an app's lifespan around a test: start-up on entering, shutdown on leaving. Gives the lifespan's state.

    Entered again for the same app before it is left, it shares that life. An app without a lifespan is none the worse.
    Raises what the app raises at start-up or shutdown, or `RuntimeError` with the text that it gave instead.
    """
    key = (id(asyncio.get_running_loop()), id(app))
    life = _lives.get(key)
    if life is None:
        life = _lives[key] = _Life(app)
    life.users += 1
    try:
        await asyncio.shield(life.started)
        yield life.state
    finally:
        life.users -= 1
        if not life.users:
            del _lives[key]
            await life.stop()


class _Life:
    """One life of an app: a task that speaks ASGI's lifespan protocol with it."""

    def __init__(self, app: ASGIApp) -> None:
        self.users = 0
        self.state: dict[str, Any] = {}
        self._app = app
        self._asked: asyncio.Queue[str] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._supported = False
        self._running = asyncio.create_task(self._run(), name="lifespan of the app under test")
        self.started = asyncio.create_task(self._ask("startup"))

    async def stop(self) -> None:
        """Shut the app down, if it ever came up."""
        if self.started.done() and not self.started.cancelled() and self.started.exception() is None:
            if self._supported:
                await self._ask("shutdown")
            await self._running
        else:
            self.started.cancel()
            self._running.cancel()
            await asyncio.gather(self.started, self._running, return_exceptions=True)

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._receive, self._answers.put)
        except Exception as error:
            # One without a lifespan raises at once (ASGI, "Lifespan Protocol"): that is no failure.
            self._answers.put_nowait({"type": "over", "error": error})
        else:
            self._answers.put_nowait({"type": "over"})

    async def _receive(self) -> Message:
        return {"type": await self._asked.get()}

    async def _ask(self, phase: str) -> None:
        self._asked.put_nowait(f"lifespan.{phase}")
        answer = await self._answers.get()
        if answer["type"] == f"lifespan.{phase}.failed":
            last = await self._answers.get()
            raise last.get("error") or RuntimeError(f"the app's {phase} failed: {answer.get('message', '')}")
        if self._supported and "error" in answer:
            raise answer["error"]
        self._supported = answer["type"] == "lifespan.startup.complete"

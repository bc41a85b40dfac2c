"""The app of the integration tests with pages beside its streams, tokens, and other origins let in."""

from __future__ import annotations

import itertools
import time

from fastapi import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from clarion.script import ClientScript
from tests.integration.served_app import WANTED, app, hub

_numbers = itertools.count(1)
_expiries: dict[str, float] = {}  # Unix time, by token
refusals = 0


@app.get("/token")
async def token() -> Response:
    """A new token, that is good for so many seconds."""
    name = f"token-{next(_numbers)}"
    _expiries[name] = time.time() + WANTED["token_seconds"]
    return PlainTextResponse(name)


@app.get("/private")
async def private(request: Request) -> Response:
    """The stream for who has a token. It ends when that does."""
    global refusals
    expires_at = _expiries.get(request.headers.get("authorization", "").removeprefix("Bearer "), 0.0)
    if expires_at <= time.time():
        refusals += 1
        raise HTTPException(401)
    return hub.stream(topics=["news"], expires_at=expires_at)


@app.get("/refusals")
async def refused() -> int:
    """How often `/private` was asked for with a token that is no longer good."""
    return refusals


app.router.routes.append(Route("/clarion.js", ClientScript()))
app.mount("/pages", StaticFiles(directory=WANTED["pages"], html=True))
# Pages of every port may read; a `Last-Event-ID` header needs to be let through in a preflight.
app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_headers=["Last-Event-ID"], max_age=0)

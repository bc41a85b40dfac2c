"""The hub beside an Express app: the app publishes with its token, and pages read what is their user's.

A page's token is signed by server.mjs, says who and until when, and opens the stream and nothing else.

    clarion run --app-dir examples/express hub:app
"""

import hashlib
import hmac
import os
import time
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from starlette.middleware.cors import CORSMiddleware

from clarion import Hub

PUBLISH_TOKEN = os.environ["PUBLISH_TOKEN"].encode()
READER_SECRET = os.environ["READER_SECRET"].encode()
PAGE_ORIGIN = os.environ.get("PAGE_ORIGIN", "http://127.0.0.1:3000")
PUBLISHER = "express/app"  # users' names have no slash

if min(len(PUBLISH_TOKEN), len(READER_SECRET)) < 16:
    raise SystemExit("PUBLISH_TOKEN and READER_SECRET need 16 characters or more that nobody guesses")

hub = Hub()  # or Hub("sqlite:///events.db"), which outlives the process
app = FastAPI(lifespan=hub.lifespan)
# The page comes from another origin than the stream.
app.add_middleware(
    CORSMiddleware,
    allow_origins=[PAGE_ORIGIN],
    allow_headers=["authorization", "last-event-id"],
    expose_headers=["retry-after"],
)


class Caller:
    """Whoever the token says, until when it says so."""

    def __init__(self, authorization: Annotated[str, Header()] = "") -> None:
        token = authorization.removeprefix("Bearer ").encode()
        if hmac.compare_digest(token, PUBLISH_TOKEN):
            self.name, self.expires = PUBLISHER, None
            return
        claim, _, signature = token.rpartition(b".")
        expected = hmac.new(READER_SECRET, b"events." + claim, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, expected.encode()):
            raise HTTPException(401)
        name, _, expires = claim.decode().rpartition(".")
        if int(expires) < time.time():
            raise HTTPException(401)
        self.name, self.expires = name, int(expires)


def current_user(caller: Annotated[Caller, Depends()]) -> str:
    return caller.name


def expires_at(caller: Annotated[Caller, Depends()]) -> int | None:
    return caller.expires


app.include_router(
    hub.router(
        current_user=current_user,
        expires_at=expires_at,  # the stream ends then, and the page comes back with a new token
        since="5m",  # who comes late, or reloads, is told the last five minutes
        can_publish=lambda user, topic: user == PUBLISHER,
    )
)

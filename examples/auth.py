"""Who may read what: a token in a cookie or a header, topics by user, a stream that ends with its token.

A browser's EventSource cannot send an Authorization header, but it sends cookies. The token here is signed with the
standard library, to show where it goes; use your framework's.

    clarion run examples.auth:app
    curl -X POST 'http://127.0.0.1:8000/login?name=ann' -c /tmp/jar
    curl -N http://127.0.0.1:8000/events -b /tmp/jar
"""

import hashlib
import hmac
import os
import time
from typing import Annotated

from fastapi import Cookie, Depends, FastAPI, Header, HTTPException, Response

from clarion import Hub

SECRET = os.environ.get("APP_SECRET", "only for this example").encode()
SESSION_SECONDS = 3600

hub = Hub()
app = FastAPI(lifespan=hub.lifespan)


def sign(name: str, expires: int) -> str:
    claim = f"{name}.{expires}"
    return f"{claim}.{hmac.new(SECRET, claim.encode(), hashlib.sha256).hexdigest()}"


class Session:
    """Whoever the token says, until when it says so."""

    def __init__(self, session: Annotated[str, Cookie()] = "", authorization: Annotated[str, Header()] = "") -> None:
        token = authorization.removeprefix("Bearer ") or session
        name, _, rest = token.partition(".")
        expires, _, _ = rest.partition(".")
        if not (
            expires.isascii()
            and expires.isdigit()
            and hmac.compare_digest(token.encode(), sign(name, int(expires)).encode())
        ):
            raise HTTPException(401)
        if int(expires) < time.time():
            raise HTTPException(401)
        self.name = name
        self.expires = int(expires)


def current_user(session: Annotated[Session, Depends()]) -> str:
    return session.name


def expires_at(session: Annotated[Session, Depends()]) -> int:
    return session.expires


def can_subscribe(user: str | None, topic: str) -> bool:
    return topic.startswith(f"projects/{user}/")


def can_publish(user: str | None, topic: str) -> bool:
    return user == "admin" or topic.startswith(f"projects/{user}/")


app.include_router(
    hub.router(
        current_user=current_user,
        expires_at=expires_at,
        topics=["news"],
        can_subscribe=can_subscribe,
        can_publish=can_publish,
    )
)


@app.post("/login")
async def login(name: str, response: Response) -> dict[str, str]:
    """Your own login; this one believes everybody."""
    if not name.isalnum():
        raise HTTPException(422)
    token = sign(name, int(time.time()) + SESSION_SECONDS)
    response.set_cookie("session", token, max_age=SESSION_SECONDS, httponly=True, samesite="lax")
    return {"token": token}


@app.post("/logout/{name}")
async def logout(name: str, user: Annotated[str, Depends(current_user)]) -> dict[str, bool]:
    """End a user's streams at once, in every process that shares the journal."""
    if user not in (name, "admin"):
        raise HTTPException(403)
    await hub.kick(user=name, reason="expired")
    return {"done": True}

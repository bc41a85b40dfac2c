"""A door in front of the demo: same-origin JSON posts of a bounded size, and strict headers on answers."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES = 16 * 1024  # the largest honest body (500 characters, escaped) has under 7 KiB

POLICY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """Pure ASGI, so streams pass through untouched. ``hosts`` are the names to answer to; ``*`` is any."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(POLICY)
            await send(message)

        headers = Headers(scope=scope)
        refusal = refuse_host(headers.get("host", ""), self._hosts) or refuse(scope["method"], headers)
        if refusal is None:
            await self._app(scope, receive, send_guarded)
        else:
            status, text = refusal
            await JSONResponse({"error": text}, status)(scope, receive, send_guarded)


def refuse_host(host: str, allowed: Collection[str]) -> tuple[int, str] | None:
    """As `refuse`, by the Host header.

    Another site may point a name of its own at this machine to become "same-origin" with it (DNS rebinding).
    """
    if "*" in allowed:
        return None
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        name = None
    return None if name in allowed else (400, "This server does not answer to that name.")


def refuse(method: str, headers: Headers) -> tuple[int, str] | None:
    """The status and sentence to refuse a request with, or None to let it in.

    A page of another site cannot send JSON here without a CORS preflight, which this app never grants; the
    Origin check says the same once more, for browsers of any age.
    """
    if method in ("GET", "HEAD"):
        return None
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host"):
        return 403, "Requests from other sites are refused."
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return 403, "Requests from other sites are refused."
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return 415, "Please send JSON."
    length = headers.get("content-length", "")
    if not length.isdecimal():
        return 411, "Please send a Content-Length."
    if len(length) > 9 or int(length) > BODY_BYTES:
        return 413, "That is too long."
    return None

"""A door in front of the demo: same-origin JSON posts of a bounded size, and strict headers on answers."""

from __future__ import annotations

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
    """Pure ASGI, so streams pass through untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(POLICY)
            await send(message)

        refusal = refuse(scope["method"], Headers(scope=scope))
        if refusal is None:
            await self._app(scope, receive, send_guarded)
        else:
            status, text = refusal
            await JSONResponse({"error": text}, status)(scope, receive, send_guarded)


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

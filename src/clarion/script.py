"""The TypeScript client as one file, for pages without npm: `import { createSource } from "/clarion.js"`."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

ETAG_HEX_DIGITS: Final = 32  # 128 bits: no two builds share one


class ClientScript:
    """An ASGI app that answers with the client. The ready-made router has it at `/clarion.js`; elsewhere:

        Route("/clarion.js", ClientScript())

    It is the same for everybody, so nobody is asked who they are. Browsers keep it, and ask each time whether it is
    still the newest: by its ETag, which is made of what is in the file (RFC 9110, section 8.8.3).

    The file is read when it is first asked for. One instance may serve any number of requests at the same time.
    """

    def __init__(self) -> None:
        self._content = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._content:
            self._content = await run_in_threadpool(_read)
        await _answer(self._content, scope["method"], Headers(scope=scope))(scope, receive, send)


def _read() -> bytes:
    return files("clarion").joinpath("static", "clarion.js").read_bytes()


def _answer(content: bytes, method: str, headers: Headers) -> Response:
    if method not in ("GET", "HEAD"):
        return Response(status_code=405, headers={"allow": "GET, HEAD"})
    etag = f'"{sha256(content).hexdigest()[:ETAG_HEX_DIGITS]}"'
    known = {"etag": etag, "cache-control": "no-cache"}
    if _holds(headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=known)
    body = content if method == "GET" else b""
    length = str(len(content))
    return Response(body, headers={**known, "content-length": length}, media_type="text/javascript")


def _holds(if_none_match: str, etag: str) -> bool:
    """RFC 9110, section 13.1.2, with its weak comparison: a proxy that compresses says `W/`."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]

"""`clarion check`: whether a stream comes through whatever stands between it and its readers.

Proxies that hold answers back, compress them or give up on quiet ones are what most often breaks a stream, and the
page cannot see which it was. This looks at the stream from outside, as a reader meets it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from clarion import json
from clarion.cli.extras import need
from clarion.cli.web import add_options, headers_of, is_web
from clarion.parser import Message, Parser

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS: Final = 10.0
FIRST_SECONDS: Final = 5.0  # for the first event, which a hub sends at once, to come through
LATE_SECONDS: Final = 3.0  # more than a heartbeat's interval, before it counts as held back


class Finding(NamedTuple):
    """One thing that was looked at. good: True, False, or None for something worth knowing."""

    good: bool | None
    text: str


def main(argv: Sequence[str]) -> int:
    """Check a stream and print what was found. Returns 0 if it comes through, else 1."""
    parser = _parser()
    options = parser.parse_args(argv)
    if not is_web(options.url):
        parser.error("URL must begin with http:// or https://")
    need("check a stream", "client", "httpx")
    findings = asyncio.run(_check(options))
    marks = {True: "ok  ", False: "FAIL", None: "    "}
    for finding in findings:
        print(f"{marks[finding.good]}  {finding.text}")
    return 1 if any(finding.good is False for finding in findings) else 0


async def _check(options: argparse.Namespace) -> list[Finding]:
    import httpx

    timeout = httpx.Timeout(CONNECT_SECONDS, read=None)
    headers = [(b"accept", b"text/event-stream"), *headers_of(options)]
    began = monotonic()
    try:
        async with (
            asyncio.timeout(options.seconds),
            httpx.AsyncClient(timeout=timeout) as client,
            client.stream("GET", options.url, headers=headers) as answer,
        ):
            found = [Finding(True, f"answered after {monotonic() - began:.2f} s with HTTP {answer.status_code}")]
            if answer.status_code != 200:
                return [Finding(False, f"answered with HTTP {answer.status_code} instead of a stream")]
            kind = _of_content_type(answer)
            if not kind.good:
                return [*found, kind]
            return [*found, kind, *_of_headers(answer), *await _of_stream(answer, began, options.heartbeat)]
    except TimeoutError:
        waited = monotonic() - began
        return [Finding(False, f"no answer for {waited:.0f} s: the server is stuck, or a proxy holds everything back")]
    except httpx.HTTPError as error:
        return [Finding(False, f"no stream: {type(error).__name__}: {error}")]


def _of_content_type(answer: httpx.Response) -> Finding:
    kind = answer.headers.get("content-type", "")
    is_stream = kind.partition(";")[0].strip().lower() == "text/event-stream"
    return Finding(is_stream, f"content type is {kind or 'not given'}")


def _of_headers(answer: httpx.Response) -> list[Finding]:
    found: list[Finding] = []
    encoding = answer.headers.get("content-encoding", "identity")
    if encoding != "identity":
        found.append(Finding(False, f"compressed ({encoding}): whoever compresses holds events back; exempt streams"))
    if "no-transform" not in (control := answer.headers.get("cache-control", "")) and "no-store" not in control:
        found.append(Finding(False, f"cache-control is {control!r}: a cache between may keep the stream to itself"))
    found.append(Finding(None, f"spoken: {answer.http_version}"))
    if answer.http_version == "HTTP/1.1":
        found.append(Finding(None, "browsers open six connections at most to a host over HTTP/1.1, all tabs together"))
    return found


async def _of_stream(answer: httpx.Response, began: float, wait_for_heartbeat: bool) -> list[Finding]:
    parser = Parser()
    chunks = answer.aiter_raw()

    async def next_messages() -> list[Message]:
        while True:
            if messages := parser.feed(await anext(chunks)):
                return messages

    try:
        async with asyncio.timeout(FIRST_SECONDS):
            messages = await next_messages()
    except TimeoutError:
        return [Finding(False, f"nothing came within {FIRST_SECONDS:.0f} s of the headers: something holds it back")]
    except StopAsyncIteration:
        return [Finding(False, "the stream ended before its first event")]
    found = [Finding(True, f"the first event came {monotonic() - began:.2f} s after the request")]
    first = messages[0]
    if first.type != "connected":
        found.append(Finding(None, f"it is of type {first.type!r}: not a Clarion stream, so heartbeats are not known"))
        return found
    interval = _heartbeat_seconds(first)
    found.append(Finding(None, f"heartbeats are announced every {interval:g} s" if interval else "no heartbeats"))
    if wait_for_heartbeat and interval:
        found.append(await _of_heartbeat(next_messages, interval))
    return found


async def _of_heartbeat(next_messages: Callable[[], Awaitable[list[Message]]], interval: float) -> Finding:
    began = monotonic()
    try:
        async with asyncio.timeout(interval + LATE_SECONDS):
            await next_messages()
    except TimeoutError:
        return Finding(False, f"silent for {interval + LATE_SECONDS:g} s: something holds what comes later back")
    except StopAsyncIteration:
        return Finding(False, f"cut after {monotonic() - began:.1f} s of silence: a proxy's timeout is too short")
    return Finding(True, f"the next event came through {monotonic() - began:.1f} s later")


def _heartbeat_seconds(connected: Message) -> float:
    try:
        return float(json.decode(connected.data)["heartbeat"]) / 1000
    except (ValueError, KeyError, TypeError):
        return 0.0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clarion check",
        description="Look at a stream from outside: whether a proxy holds it back, compresses it or cuts it.",
        epilog="Exit status: 0 it comes through, 1 it does not, 2 wrong arguments.",
    )
    parser.add_argument("url", metavar="URL", help="the stream as its readers see it, through all proxies")
    parser.add_argument("--seconds", type=float, default=90.0, help="give up after so long (default: %(default)g)")
    parser.add_argument(
        "--no-heartbeat", dest="heartbeat", action="store_false", help="do not wait for the first heartbeat"
    )
    add_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`clarion publish`: one event, to a journal of this machine or to a server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Final

from clarion import json
from clarion.cli.extras import need
from clarion.cli.web import add_options, headers_of, is_web, told
from clarion.errors import ClarionError
from clarion.publisher import Publisher

ANSWER_SECONDS: Final = 30.0  # for a server to answer


def main(argv: Sequence[str]) -> int:
    """Publish, and print the event's id. Returns 0, or 1 if it was refused or failed."""
    parser = _parser()
    options = parser.parse_args(argv)
    options.data = _data(options, parser)
    if is_web(options.to):
        need("publish to a URL", "client", "httpx")
        return _to_server(options)
    try:
        publisher = Publisher(options.to)
    except ValueError as error:
        parser.error(str(error))
    return _to_journal(publisher, options)


def _data(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Any:
    text = sys.stdin.read() if options.data == "-" else options.data
    if options.text:
        return text
    try:
        return json.decode(text)
    except (ValueError, RecursionError):
        parser.error("DATA is not JSON; give --text to publish raw text, or quote a JSON string: '\"like this\"'")


def _to_journal(publisher: Publisher, options: argparse.Namespace) -> int:
    said = {"text": options.data} if options.text else {"data": options.data}
    try:
        with publisher:
            receipt = publisher.publish(
                options.topic,
                **said,
                event=options.event,
                key=options.key,
                ttl=options.ttl,
                ephemeral=options.ephemeral,
            )
    except ClarionError as error:
        return _failed(str(error))
    return _done(receipt.id, receipt.duplicate)


def _to_server(options: argparse.Namespace) -> int:
    import httpx

    url = httpx.URL(options.to)
    if not url.path.endswith("/publish"):
        url = url.copy_with(path=url.path.rstrip("/") + "/publish")
    body = {
        "topic": options.topic,
        "text" if options.text else "data": options.data,
        "event": options.event,
        "key": options.key,
        "ttl": options.ttl,
        "ephemeral": options.ephemeral or None,
    }
    body = {name: value for name, value in body.items() if value is not None or name == "data"}
    headers = [*headers_of(options), (b"content-type", b"application/json")]
    try:
        answer = httpx.post(url, content=json.encode(body), headers=headers, timeout=ANSWER_SECONDS)
    except httpx.HTTPError as error:
        return _failed(f"{type(error).__name__}: {error}")
    if not answer.is_success:
        return _failed(told(answer.status_code, answer.reason_phrase, answer.content))
    try:
        receipt = json.decode(answer.content)
        return _done(str(receipt["id"]), bool(receipt.get("duplicate")))
    except (ValueError, KeyError, TypeError, AttributeError):
        return _failed("the server answered, but not as a Clarion hub does")


def _done(event_id: str, duplicate: bool) -> int:
    print(event_id)
    if duplicate:
        print("clarion publish: the key was seen before, nothing was added", file=sys.stderr)
    return 0


def _failed(why: str) -> int:
    print(f"clarion publish: {why}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clarion publish",
        description="Publish an event and print its id.",
        epilog="Exit status: 0 published, 1 refused or failed, 2 wrong arguments.",
    )
    parser.add_argument(
        "to",
        metavar="URL",
        help="a journal such as sqlite:///events.db, or where a hub's router is, http://host/prefix",
    )
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument("data", metavar="DATA", help="JSON; - reads it from standard input")
    parser.add_argument("--event", help="the event type (default: message)")
    parser.add_argument("--text", action="store_true", help="DATA is raw text, not JSON")
    parser.add_argument("--key", help="an idempotency key: publishing again with it adds nothing")
    parser.add_argument("--ttl", type=float, metavar="SECONDS", help="after which it is not replayed any more")
    parser.add_argument("--ephemeral", action="store_true", help="only for readers who are connected now")
    add_options(parser)
    return parser

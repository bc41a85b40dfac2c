"""What `clarion publish` and `clarion listen` have in common when they talk to a server."""

from __future__ import annotations

import argparse
import os
from typing import Any, Final
from urllib.parse import urlsplit

from clarion import json
from clarion.cli.show import printable

TOKEN_ENVIRONMENT: Final = "CLARION_TOKEN"  # noqa: S105 - the name, not the token
TOLD_CHARS: Final = 300  # of what a server says about its refusal


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say who asks."""
    parser.add_argument(
        "--token", help=f"sent as `Authorization: Bearer`; better set {TOKEN_ENVIRONMENT}, which `ps` does not show"
    )
    parser.add_argument(
        "--header", action="append", default=[], type=header, metavar="'NAME: VALUE'", help="may be repeated"
    )


def headers_of(options: argparse.Namespace) -> list[tuple[bytes, bytes]]:
    """The headers that the options ask for."""
    headers: list[tuple[bytes, bytes]] = list(options.header)
    token = options.token or os.environ.get(TOKEN_ENVIRONMENT)
    if token:
        headers.append(header(f"Authorization: Bearer {token}"))
    return headers


def header(text: str) -> tuple[bytes, bytes]:
    """A header as it is written on the command line. Raises `argparse.ArgumentTypeError`."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError("a header is written 'NAME: VALUE'")
    if not (name.isascii() and text.isprintable()):
        raise argparse.ArgumentTypeError("a header must not contain control characters")
    return name.strip().encode(), value.strip().encode()


def is_web(url: str) -> bool:
    """Whether a URL is a server's."""
    return urlsplit(url).scheme in ("http", "https")


def told(status: int, reason: str, body: bytes) -> str:
    """What a server's refusal says, in one line."""
    detail: Any
    try:
        detail = json.decode(body)["detail"]
    except (ValueError, KeyError, TypeError):
        detail = None
    if isinstance(detail, list):  # FastAPI's validation errors
        detail = "; ".join(f"{one.get('msg')} ({'.'.join(map(str, one.get('loc', ())))})" for one in detail)
    said = f": {printable(str(detail))[:TOLD_CHARS]}" if detail else ""
    return f"{status} {reason}".strip() + said

"""`clarion listen`: the events of a stream, printed as they come."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from io import TextIOWrapper
from typing import TYPE_CHECKING

from clarion.cli.extras import need
from clarion.cli.show import DIM, as_json, as_line, coloured
from clarion.cli.web import add_options, headers_of, is_web

if TYPE_CHECKING:
    from clarion.cli.listener import Listener
    from clarion.parser import Message


def main(argv: Sequence[str]) -> int:
    """Listen until the stream is over. Returns 0 if it was complete, 1 if it was refused or ended by the server."""
    parser = _parser()
    options = parser.parse_args(argv)
    if not is_web(options.url):
        parser.error("URL must begin with http:// or https://")
    if not (options.last_event_id or "").isprintable():
        parser.error("--last-event-id must not contain control characters")
    need("listen", "client", "httpx")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        listener = _listener(options)
    except ValueError as error:
        parser.error(str(error))
    return asyncio.run(listener.run())


def _listener(options: argparse.Namespace) -> Listener:
    from clarion.cli.listener import Listener

    colours = _has_colours(sys.stdout)

    def show(message: Message) -> None:
        now = datetime.now().astimezone()
        print(as_json(message, now) if options.json else as_line(message, now, colours=colours), flush=True)

    def tell(line: str) -> None:
        if not options.quiet:
            print(coloured(f"clarion listen: {line}", DIM if _has_colours(sys.stderr) else ""), file=sys.stderr)

    return Listener(
        options.url,
        headers=headers_of(options),
        topics=options.topic,
        since=options.since,
        last_event_id=options.last_event_id or "",
        show=show,
        tell=tell,
    )


def _has_colours(stream: object) -> bool:
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty()) and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clarion listen",
        description="Print the events of a stream as they come: time, id, type, topic, data. When the connection "
        "breaks, it comes back and resumes. What concerns the connection is told on standard error.",
        epilog="Exit status: 0 the stream was complete, 1 it was refused or ended by the server, 2 wrong arguments.",
    )
    parser.add_argument("url", metavar="URL")
    parser.add_argument("--json", action="store_true", help="print each event as a JSON object on a line")
    parser.add_argument("--topic", action="append", default=[], help="ask for a topic; may be repeated")
    parser.add_argument("--since", help="where to start: live, earliest, 5m, last:10, ... (the server's default)")
    parser.add_argument("--last-event-id", metavar="ID", help="resume after this event")
    parser.add_argument("--quiet", action="store_true", help="say nothing of the connection")
    add_options(parser)
    return parser

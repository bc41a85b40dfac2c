"""The `clarion` command. Each of its commands is a module here, imported when it is asked for."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from clarion import __version__

# What each does, as `clarion --help` tells it.
COMMANDS: Final = {
    "run": "serve an ASGI app with uvicorn, streams on the socket sink",
    "publish": "publish an event to a journal or to a server",
    "listen": "print the events of a stream as they come",
    "check": "find out whether a proxy holds a stream back",
    "demo": "serve a page that shows a hub at work",
    "bench": "measure fan-out on this machine",
}
INTERRUPTED: Final = 130  # what shells make of Ctrl-C


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0 if it did what was asked, 1 if not, 130 after Ctrl-C.

    argv: the arguments without the program's name; None for the process's own. Wrong arguments raise `SystemExit(2)`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = str(_parser().parse_args(arguments[:1]).command)
    try:
        code = int(import_module(f"clarion.cli.{name}").main(arguments[1:]))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read has had enough: `clarion listen ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it exits
        return 0
    return code


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    parser = argparse.ArgumentParser(
        prog="clarion",
        usage="clarion COMMAND ...",
        description="Server-Sent Events push for Python.",
        epilog="commands:\n"
        + "".join(f"  {name:<{width}}  {does}\n" for name, does in COMMANDS.items())
        + "\n`clarion COMMAND --help` tells more of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"clarion {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    return parser

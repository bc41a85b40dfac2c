"""The command line of the demo: find a port and a journal, say where they are, serve."""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import uvicorn

from clarion import Hub
from clarion.demo.app import LOCAL_HOSTS, create_app
from clarion.errors import ClarionError

PORTS_TRIED = 20  # after the one asked for
DRAIN_SECONDS = 5  # the hub says goodbye in well under one; this bounds a request that hangs


def serve(argv: Sequence[str]) -> int:
    """Serve until interrupted; the exit status. See `clarion.demo.main`."""
    options = _parser().parse_args(argv)
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        sys.stderr.write(f"Cannot listen on {options.host}, port {options.port}: {error.strerror or error}\n")
        return 1
    port = listener.getsockname()[1]
    if options.port not in (0, port):
        _say(f"Port {options.port} is taken; using {port}.")
    journal = options.journal or default_journal(port)
    everywhere = _is_every_address(options.host)
    shown_host = "localhost" if everywhere else f"[{options.host}]" if ":" in options.host else options.host
    try:
        asyncio.run(_try(journal))
    except (ValueError, ClarionError) as error:
        sys.stderr.write(f"Cannot use the journal {journal}: {error}\n")
        listener.close()
        return 1
    _say(f"Journal: {journal}")
    _say(f"Clarion demo: http://{shown_host}:{port}/  (Ctrl-C stops it)")
    config = uvicorn.Config(
        create_app(journal, hosts=("*",) if everywhere else (*LOCAL_HOSTS, options.host.lower())),
        http="clarion.uvicorn:Protocol",
        log_level="warning",
        timeout_graceful_shutdown=DRAIN_SECONDS,
        server_header=False,
    )
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again after a clean stop
        server.run(sockets=[listener])
    return 0 if server.started else 1


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on ``port`` (0: any free one), or on the first free of the ``PORTS_TRIED`` after it.

    Raises ``OSError`` if there is none, or if the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    last_port = min(port + PORTS_TRIED, 65535) if port else 0
    for tried in range(port, last_port + 1):
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            if os.name == "posix":  # on Windows the option would let two servers share a port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, tried))
            listener.listen(2048)
        except OSError as error:
            listener.close()
            if tried == last_port or error.errno != errno.EADDRINUSE:
                raise
        else:
            return listener
    raise AssertionError("the range is never empty")


def default_journal(port: int) -> str:
    """A SQLite journal in the user's cache folder, one per port, so that a server started again resumes."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        folder = Path(cache or Path.home() / ".cache") / "clarion"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home, or one that may not be written to
        folder = Path(tempfile.mkdtemp(prefix="clarion-"))
    return f"sqlite:///{folder / f'demo-{port}.db'}"


async def _try(journal: str) -> None:
    """Open and close the journal, so that what is wrong with it is one line and not a server's traceback."""
    async with Hub(journal):
        pass


def _is_every_address(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:  # a name
        return False


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()  # whoever reads this through a pipe waits for it


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clarion demo", description="A page that shows a hub at work.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8000, help="port; 0 picks any (default: %(default)s)")
    parser.add_argument("--journal", help="memory:// or sqlite:///PATH (default: a file in the cache folder)")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)

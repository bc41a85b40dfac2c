"""Orders to the processes of a benchmark: one JSON object per line on stdin, one answer per line on stdout.

A process ends when its stdin is closed, so nothing outlives the benchmark, however that ends.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Order = dict[str, Any]
Reply = dict[str, Any]


def say(reply: Reply) -> None:
    """Write one line to stdout, at once."""
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


def serve(actions: Mapping[str, Callable[[Order], Reply]]) -> None:
    """Answer orders until stdin is closed."""
    while serve_one(actions):
        pass


def serve_one(actions: Mapping[str, Callable[[Order], Reply]]) -> bool:
    """Answer the next order; False when stdin is closed. What an action raises is answered as `error`."""
    line = sys.stdin.readline()
    if not line:
        return False
    order = json.loads(line)
    try:
        reply = actions[order["do"]](order)
    except Exception as error:  # the driver decides what a failed order means
        reply = {"error": f"{type(error).__name__}: {error}"}
    say(reply)
    return True


async def serve_async(actions: Mapping[str, Callable[[Order], Awaitable[Reply]]], ready: Reply) -> None:
    """Do the same inside an event loop. Says `ready` first, and ends the process when stdin is closed."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    say(ready)
    while line := await lines.readline():
        order = json.loads(line)
        try:
            reply = await actions[order["do"]](order)
        except Exception as error:  # as above
            reply = {"error": f"{type(error).__name__}: {error}"}
        say(reply)
    # Open streams would hold up an orderly end, and there is nobody left to tell.
    os._exit(0)

"""Processes for the tests of progress: `python progress_worker.py ROLE URL`. Each says "ready" once its task runs."""

import asyncio
import sys
import time

from clarion.hub import Hub
from clarion.progress import Progress
from clarion.work.failures import Cancelled


def ready() -> None:
    print("ready", flush=True)


def count(url: str) -> None:
    """Count until it is cancelled or killed."""
    with Progress("import:42", to=url, title="Import", total=1_000_000_000, user="ann", lease_seconds=1) as task:
        task.advance(600_000_000, message="under way")
        time.sleep(0.3)  # it is told ten times a second
        ready()
        try:
            while True:
                task.advance()
                time.sleep(0.001)
        except Cancelled as error:
            print(error.reason, flush=True)
            raise


def fail(url: str) -> None:
    """Fail, and say nothing of why to those who watch."""
    with Progress("import:42", to=url, total=4) as task:
        task.advance(3)
        raise ValueError("secret")


def forget(url: str) -> None:
    """Begin a task, count, and leave without a word."""
    task = Progress("import:42", to=url, total=4)
    task.start()
    task.advance(3, message="nearly")
    ready()


def exit_inside(url: str) -> None:
    """Leave the process in the middle of a block."""
    with Progress("import:42", to=url, total=4) as task:
        task.advance(3)
        sys.exit(3)


async def hub(url: str) -> None:
    """A hub with a task of its own, until it is killed."""
    async with Hub(url) as hub, hub.progress("import:42", total=4, lease_seconds=1) as task:
        task.advance(1, message="in the hub")
        await asyncio.sleep(0.3)
        ready()
        await asyncio.sleep(3_600)


if __name__ == "__main__":
    role, url = sys.argv[1:]
    if role == "hub":
        asyncio.run(hub(url))
    else:
        {"count": count, "fail": fail, "forget": forget, "exit_inside": exit_inside}[role](url)

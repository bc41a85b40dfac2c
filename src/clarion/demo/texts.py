"""Texts that stream: a source writes, the pieces are coalesced, and every tab reads along.

The writing is detached from whoever asked for it: a tab may reload or leave, and the text goes on.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, Protocol

Status = Literal["streaming", "done", "stopped", "failed"]

STREAMING_TEXTS = 2  # each may cost its owner money
TEXT_CHARS = 20_000  # a source that never ends is stopped here
COALESCE_SECONDS = 0.03  # 33 frames a second read as fluent; a frame per token is waste

_log = logging.getLogger("clarion.demo")


class SourceFailed(Exception):
    """A source could not go on; the text of this error is a sentence for people."""


class TooManyTexts(Exception):
    """``STREAMING_TEXTS`` texts are being written."""


class Source(Protocol):
    """Where text comes from. ``label`` is shown on the page, honestly."""

    label: str

    def write(self, prompt: str, /) -> AsyncGenerator[str, None]: ...


@dataclass(frozen=True, slots=True)
class Piece:
    """One step of a text. ``seq`` counts from 0; the first carries the prompt, the last a final status."""

    textId: str  # noqa: N815 - the names of the page
    seq: int
    delta: str
    status: Status
    prompt: str | None = None
    user: str | None = None
    source: str | None = None
    reason: str | None = None


class Tell(Protocol):
    """Publishes one piece; returns when it is acknowledged."""

    def __call__(self, piece: Piece, /) -> Awaitable[object]: ...


class Texts:
    """Starts and stops texts. All on one event loop."""

    def __init__(self, source: Source, tell: Tell) -> None:
        self.source = source
        self._tell = tell
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self, prompt: str, user: str) -> str:
        """Begin a text and return its id; raises `TooManyTexts`."""
        if len(self._running) >= STREAMING_TEXTS:
            raise TooManyTexts
        text_id = secrets.token_hex(4)
        task = asyncio.create_task(self._run(text_id, prompt, user))
        self._running[text_id] = task
        task.add_done_callback(lambda _: self._running.pop(text_id, None))
        return text_id

    def stop(self, text_id: str) -> bool:
        """Stop a text; what was written stays. False if it is not being written."""
        task = self._running.get(text_id)
        return task is not None and task.cancel()

    async def close(self) -> None:
        """Stop all texts and wait until each has told its end."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, text_id: str, prompt: str, user: str) -> None:
        seq = 0
        status: Status = "done"
        reason: str | None = None
        try:
            await self._tell(Piece(text_id, seq, "", "streaming", prompt, user, self.source.label))
            async with aclosing(coalesce(self.source.write(prompt))) as deltas:
                async for delta in deltas:
                    seq += 1
                    await self._tell(Piece(text_id, seq, delta, "streaming"))
        except asyncio.CancelledError:
            status = "stopped"  # by a person or by the server's end; this task tells it and is over
        except SourceFailed as failure:
            status, reason = "failed", str(failure)
        except Exception:
            _log.exception("a text broke off")
            status, reason = "failed", "Something went wrong here; the server's log has the details."
        try:
            await self._tell(Piece(text_id, seq + 1, "", status, reason=reason))
        except Exception:  # nobody awaits this task, so tell the log
            _log.exception("the end of a text was not published")


async def coalesce(pieces: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """Join pieces that arrive within ``COALESCE_SECONDS``. The first goes at once, none waits for another."""
    waiting: list[str] = []
    changed = asyncio.Event()

    async def collect() -> None:
        chars = 0
        async with aclosing(pieces):
            async for piece in pieces:
                waiting.append(piece[: TEXT_CHARS - chars])
                chars += len(piece)
                changed.set()
                if chars >= TEXT_CHARS:
                    return

    collecting = asyncio.create_task(collect())
    collecting.add_done_callback(lambda _: changed.set())
    try:
        while waiting or not collecting.done():
            if not waiting:
                await changed.wait()
            changed.clear()
            if waiting:
                joined = "".join(waiting)
                waiting.clear()
                yield joined
                await asyncio.sleep(COALESCE_SECONDS)
        collecting.result()
    finally:
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)

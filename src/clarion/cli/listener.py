"""Listening: the events of a source as they come, and a line about each thing that becomes of the connection."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from clarion.cli.show import printable
from clarion.cli.web import told
from clarion.client import AsyncSource, NotAStream, SourceError, State, Status, StreamKicked, StreamRefused
from clarion.client.errors import phrase_of
from clarion.errors import ClarionError, EventTooLarge
from clarion.parser import Message

if TYPE_CHECKING:
    from clarion.client.transport import Transport
    from clarion.clock import Clock

BYES: Final = frozenset({"drain", "expired", "limit"})


class Listener:
    """Reads a stream, over any number of connections, until it is over for good.

    show: gets each event, those left out that the stream says of itself (but a gap is shown). tell: gets a line about
    the connection. transport, clock, random: for tests. Raises `ValueError` for a URL or a topic that cannot be.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        topics: Sequence[str] = (),
        since: str | None = None,
        last_event_id: str = "",
        show: Callable[[Message], None],
        tell: Callable[[str], None],
        transport: Transport | None = None,
        clock: Clock | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.source = AsyncSource(
            url,
            headers=headers,
            topics=topics,
            since=since,
            last_event_id=last_event_id,
            decode="text",
            values=False,
            transport=transport,
            clock=clock,
            random=random,
        )
        self._show = show
        self._tell = tell
        self.source.on_status(self._tell_status)
        self.source.on_error(self._tell_error)

    async def run(self) -> int:
        """Read until the stream is over for good. Returns the exit status."""
        try:
            async with self.source as source:
                async for event in source:
                    self._show(Message(event.type, event.text, event.id, event.topic, event.change))
        except SourceError:  # the status before it said so
            return 1
        return 0

    def _tell_status(self, status: Status) -> None:
        if status.state is State.OPEN and status.connected is not None:
            self._tell(f"connected ({printable(status.connected.mode)})")
        elif status.state is State.WAITING:
            self._tell(f"{_why_lost(status)}; again in {status.delay_seconds:.1f} s")
        elif status.state is State.CLOSED:
            self._tell(_why_closed(status))

    def _tell_error(self, error: ClarionError) -> None:
        self._tell(f"an event is skipped: {error}" if isinstance(error, EventTooLarge) else str(error))


def _why_lost(status: Status) -> str:
    if isinstance(status.error, StreamRefused):
        return _refusal(status.error)
    if status.reason in BYES:
        return f"the server says bye ({status.reason})"
    return printable(status.detail)


def _why_closed(status: Status) -> str:
    error = status.error
    if isinstance(error, StreamRefused):
        return f"refused: {_refusal(error)}"
    if isinstance(error, NotAStream):
        return f"this is no event stream, but {printable(error.content_type) or 'of no named kind'}"
    if isinstance(error, StreamKicked):
        return f"the server has ended this stream{': ' if error.detail else ''}{printable(error.detail)}"
    return printable(status.detail)


def _refusal(error: StreamRefused) -> str:
    return told(error.status_code, phrase_of(error.status_code), error.body)

"""Taking over: how a server hands a connection to Clarion, without either knowing the other.

A server that can do it puts an `Offer` into `scope["extensions"]["clarion.socket"]`; a stream that sees one may take
it once its response head and first bytes have really been written. `clarion.uvicorn` makes the offers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

EXTENSION: Final = "clarion.socket"


class Offer(Protocol):
    """A server's offer to hand over the connection of the request at hand."""

    async def take(self, first: bytes) -> int | None:
        """Take the connection over: a non-blocking socket's descriptor, the taker's to write to and to close.

        What is written from then on must be framed in chunks (RFC 9112 section 7.1), the last one included.
        first: the body bytes that were sent. Waits until the server itself has written them. None if that does not
        happen soon, if something between changed them (compression), or if the connection cannot be handed over.
        """
        ...

    def on_shutdown(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when the server begins to shut down while the request still runs."""
        ...

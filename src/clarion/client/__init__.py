"""The reading side: a stream's events in a program, each once and in order, or a gap is told.

    async with AsyncSource("https://app/events", topics=["orders/*"], token=fresh_token) as source:
        async for event in source:
            print(event.type, event.topic, event.data)

`Source` is the same for code that blocks. Needs httpx or httpx2 (`pip install "clarion[client]"`), or a transport of
your own. What goes over the wire stands in spec/stream.md, and when a client comes back in spec/vectors/policy.
"""

from clarion.client.blocking import Source
from clarion.client.errors import (
    CallbackRaised,
    CursorNotSaved,
    CursorUnreadable,
    EventUnreadable,
    HeadersFailed,
    IdUnusable,
    NotAStream,
    RequestImpossible,
    SourceError,
    StreamKicked,
    StreamRefused,
    TransportFailed,
    ValueLost,
)
from clarion.client.httpx import HttpxTransport
from clarion.client.options import SourceOptions
from clarion.client.received import Connected, Gap, ReceivedEvent, Refusal, Status
from clarion.client.source import AsyncSource
from clarion.client.states import State
from clarion.client.stores import CursorStore, FileCursor, MemoryCursor

__all__ = [
    "AsyncSource",
    "CallbackRaised",
    "Connected",
    "CursorNotSaved",
    "CursorStore",
    "CursorUnreadable",
    "EventUnreadable",
    "FileCursor",
    "Gap",
    "HeadersFailed",
    "HttpxTransport",
    "IdUnusable",
    "MemoryCursor",
    "NotAStream",
    "ReceivedEvent",
    "Refusal",
    "RequestImpossible",
    "Source",
    "SourceError",
    "SourceOptions",
    "State",
    "Status",
    "StreamKicked",
    "StreamRefused",
    "TransportFailed",
    "ValueLost",
]

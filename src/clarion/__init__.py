"""Clarion: Server-Sent Events push for Python. `Hub` is where to begin."""

from clarion.changes import ValueChange
from clarion.errors import (
    ClarionError,
    EventTooLarge,
    HubClosed,
    InvalidEvent,
    InvalidTopic,
    JournalError,
    NoValue,
    ValueMismatch,
    ValueTooLarge,
)
from clarion.event import Event
from clarion.hub import Hub
from clarion.limits import Limits
from clarion.local import LocalStream, Received
from clarion.observer import Observer
from clarion.position import Position
from clarion.presence import Client
from clarion.publisher import Publisher
from clarion.receipt import Receipt
from clarion.retention import Retention

__version__ = "0.1.0"

__all__ = [
    "ClarionError",
    "Client",
    "Event",
    "EventTooLarge",
    "Hub",
    "HubClosed",
    "InvalidEvent",
    "InvalidTopic",
    "JournalError",
    "Limits",
    "LocalStream",
    "NoValue",
    "Observer",
    "Position",
    "Publisher",
    "Receipt",
    "Received",
    "Retention",
    "ValueChange",
    "ValueMismatch",
    "ValueTooLarge",
]

"""Clarion: Server-Sent Events push for Python. `Hub` is where to begin."""

from clarion.errors import (
    ClarionError,
    EventTooLarge,
    HubClosed,
    InvalidEvent,
    InvalidTopic,
    JournalError,
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
    "Observer",
    "Position",
    "Publisher",
    "Receipt",
    "Received",
    "Retention",
]

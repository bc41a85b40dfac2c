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
from clarion.generation.errors import GenerationRunning
from clarion.hub import Hub
from clarion.limits import Limits
from clarion.local import LocalStream, Received
from clarion.observer import Observer
from clarion.position import Position
from clarion.presence import Client
from clarion.progress import Progress
from clarion.publisher import Publisher
from clarion.receipt import Receipt
from clarion.retention import Retention
from clarion.work.failures import Cancelled, NotCancellable, PublicError, UnknownWork

__version__ = "0.1.0"

__all__ = [
    "Cancelled",
    "ClarionError",
    "Client",
    "Event",
    "EventTooLarge",
    "GenerationRunning",
    "Hub",
    "HubClosed",
    "InvalidEvent",
    "InvalidTopic",
    "JournalError",
    "Limits",
    "LocalStream",
    "NoValue",
    "NotCancellable",
    "Observer",
    "Position",
    "Progress",
    "PublicError",
    "Publisher",
    "Receipt",
    "Received",
    "Retention",
    "UnknownWork",
    "ValueChange",
    "ValueMismatch",
    "ValueTooLarge",
]

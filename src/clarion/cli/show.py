"""How `clarion listen` prints events: a line for people, or a line of JSON for programs."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from clarion import json
from clarion.parser import Message

DIM: Final = "2"
BOLD: Final = "1"
GREEN: Final = "32"
YELLOW: Final = "33"

# A terminal takes some of these for orders, and a stream is a stranger's.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """A text on one line, with control characters written as JSON writes them."""
    return _CONTROL.sub(lambda found: _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}", text)


_SHORT: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def as_line(message: Message, at: datetime, *, colours: bool) -> str:
    """An event for people: time, id, type, topic, data."""
    parts = (
        (at.strftime("%H:%M:%S.%f")[:-3], DIM),
        (message.last_event_id or "-", DIM),
        (message.type, YELLOW if message.type == "gap" else BOLD),
        (message.topic or "-", GREEN),
        (message.data, ""),
    )
    return "  ".join(coloured(printable(text), colour if colours else "") for text, colour in parts)


def as_json(message: Message, at: datetime) -> str:
    """An event for programs: one JSON object on one line. `data` if the event has JSON, else `text`."""
    said: dict[str, Any] = {
        "time": at.isoformat(timespec="milliseconds"),
        "id": message.last_event_id,
        "type": message.type,
        "topic": message.topic,
    }
    try:
        said["data"] = json.decode(message.data)
    except (ValueError, RecursionError):
        said["text"] = message.data
    return printable(json.encode(said).decode())


def coloured(text: str, colour: str) -> str:
    """A text in a colour of the terminal; none if that is empty."""
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text

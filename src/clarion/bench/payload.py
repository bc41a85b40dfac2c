"""The events that every contender publishes: numbered, stamped, and of an exact size.

The data of event `n` is `{"n":n,"t":T,"pad":"xxx"}`, where T is `time.monotonic_ns()` when it was
published. That clock is one for all processes of a machine, so a reader in another process can subtract.
"""

import json
import re
import time

DEFAULT_SIZE = 120
"""Bytes of data in one event; a small JSON object such as a notification."""

EVENT_DATA = re.compile(rb'^data: ?\{"n":(\d+),"t":(\d+),"pad":"x*"\}\r?\n', re.MULTILINE)
"""One whole, undamaged data line. What does not match is not counted, and so shows up as lost."""


def event_data(number: int, size: int = DEFAULT_SIZE) -> dict[str, int | str]:
    """Return the data of one event, stamped now, that is `size` bytes long as compact JSON."""
    data: dict[str, int | str] = {"n": number, "t": time.monotonic_ns(), "pad": ""}
    data["pad"] = "x" * max(0, size - len(json_text(data)))
    return data


def event_text(number: int, size: int = DEFAULT_SIZE) -> str:
    """Return the same data as compact JSON text, for servers that take text."""
    return json_text(event_data(number, size))


def json_text(data: dict[str, int | str]) -> str:
    return json.dumps(data, separators=(",", ":"))

"""Positions as a client may understand them: compared, and asked for without values (spec/stream.md, 4, 9.5 and 10).

Everything else about an id is opaque. An id that is not of this form is kept and sent back as it is.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from clarion.position import parse

MAX_ID_BYTES: Final = 1024  # it travels in a header, and servers take some kilobytes of headers

# What may not stand in a header's value, or at its ends (RFC 9110, section 5.5).
_UNSENDABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f]|^[ \t]|[ \t]$")


class Place(NamedTuple):
    """A position: all events up to `offset`, and of values what was told up to `told`."""

    epoch: str
    offset: int
    told: int
    done: bool = False

    def is_after(self, other: Place, *, values: bool = True) -> bool:
        """Whether it is greater; only asked of the same epoch. values: False compares what was had of events alone."""
        if not values:
            return self.offset > other.offset
        return (self.offset, self.told) > (other.offset, other.told)


def place_of(last_event_id: str) -> Place | None:
    """Read an id. None if it is no position. Never raises."""
    presented = parse(last_event_id)
    if presented is None:
        return None
    return Place(presented.position.epoch, presented.position.offset, presented.told, presented.done)


def without_values(last_event_id: str) -> str:
    """The same position of one who holds no values: it is told all of them, and no event again."""
    place = place_of(last_event_id)
    if place is None or place.done:
        return last_event_id
    return f"{place.epoch}-{place.offset}~0"


def is_sendable(last_event_id: str) -> bool:
    """Whether an id can be sent back in a header."""
    if len(last_event_id) > MAX_ID_BYTES or _UNSENDABLE.search(last_event_id):
        return False
    try:
        return len(last_event_id.encode()) <= MAX_ID_BYTES
    except UnicodeEncodeError:
        return False

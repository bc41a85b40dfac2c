"""What a publisher gets back."""

from __future__ import annotations

from typing import NamedTuple

from clarion.position import Position


class Receipt(NamedTuple):
    """The acknowledgement of a publish: the event is in the journal.

    id: the position as text, what readers get as the event's id.
    clients: readers in this process whose topics match; always 0 where there is no hub.
    duplicate: the idempotency key was seen before; id and position are the first event's, nothing was appended.
    """

    id: str
    position: Position
    clients: int
    duplicate: bool

"""The contract of a sink: where bytes leave.

A sink has lanes. A lane is one way of writing (chunk-framed to a socket, plain to a socket, through ASGI), and all
readers of an audience are on the same lane, so that what is made once serves all of them.

Concurrency: everything here is called in the hub's event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from clarion.event import Entry
from clarion.subscription import Subscription


class Block(NamedTuple):
    """Bytes that are ready to be written, and what they stand for.

    after: the offset that a reader has reached before it. told_before: up to where it was told values.
    marks: places where a reader may stop, each as (end of the bytes, offset reached with them, values told with them),
    rising. After the last one the reader has reached `through` and `told`, which may be further: what followed was not
    for it.
    events: how many events are in it.
    """

    data: bytes
    after: int
    told_before: int
    marks: tuple[tuple[int, int, int], ...]
    through: int
    told: int
    events: int


def is_exact(block: Block, offset: int, told: int) -> bool:
    """Whether a reader that stops at a mark of a block has its values as they were at `told`: not in between of those
    that are told together (spec/stream.md, "Positions with ~")."""
    return told in (offset, block.told_before, block.told)


# How far values are told with a block: None, as far as its entries go; a number, not further than that; or before it
# and after each of its entries.
Telling = int | Sequence[int] | None


class Deliverer(Protocol):
    """What a pass gives its blocks to."""

    def deliver(self, readers: Sequence[Subscription], start: int, block: Block, until: float) -> int:
        """Write `block` to live readers, from the one at `start`, until the time (monotonic, seconds) is over.

        Returns where to go on. Readers that are not live any more are passed over. One that cannot take everything
        is made to fall behind, at the mark that it reaches with what it has taken.
        """
        ...


class Lane(Deliverer, Protocol):
    """One way of writing. streams: whether its readers are clients, not code inside this process."""

    streams: bool

    def block(
        self, entries: Sequence[Entry], after: int, through: int, prefix: bytes = b"", telling: Telling = None
    ) -> Block:
        """Make the bytes of `entries`, framed for this lane. `prefix` is a frame that stands before them."""
        ...

    def feed(self, reader: Subscription) -> None:
        """A reader that is behind may go on: it came, or a page or a position that it waited for is there now."""
        ...

    def end(self, reader: Subscription, bye: bytes | None) -> None:
        """Let go of a closed reader, with this last frame if it can still be told. Does not block."""
        ...

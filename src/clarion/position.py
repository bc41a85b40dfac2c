"""Positions: where in the journal an entry stands, and their text form, the SSE `id`.

The text form is `EPOCH-OFFSET`, for example `k3v9-1042` (spec/stream.md, "Positions"). While a stream is told values
it is `EPOCH-OFFSET~TOLD`: events are complete up to the one, values only up to the other. It comes back from clients as
`Last-Event-ID`, so `parse` takes any text and never raises.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_OFFSET: Final = 2**63 - 1  # what SQLite, Redis and JetStream can number
EPOCH_CHARS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
EPOCH_LENGTH: Final = 6  # 36**6, two billion: two wiped journals in a row do not meet

_TEXT = re.compile(r"([a-z0-9]{4,16})-(0|[1-9][0-9]{0,18})(?:~(0|[1-9][0-9]{0,18}))?(\.done)?", re.ASCII)


class Position(NamedTuple):
    """A place in one journal's order. The cursor of a reader that has everything up to and including `offset`.

    `epoch` names the numbering: equal offsets of different epochs have nothing to do with each other.
    """

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}"


class Presented(NamedTuple):
    """A `Last-Event-ID` that has the form of a position.

    told: the offset up to which values were told; the position's own where the text does not say another.
    done: the stream it belongs to ended with `done`.
    """

    position: Position
    told: int
    done: bool


def text_of(epoch: str, offset: int, told: int) -> str:
    """A position as text, of a reader that has events up to `offset` and values up to `told`."""
    return f"{epoch}-{offset}" if told >= offset else f"{epoch}-{offset}~{told}"


def parse(text: str) -> Presented | None:
    """Read what a client presents. `None` if it is not one of our ids. Never raises."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    epoch, digits, told_digits, done = match.groups()
    offset = int(digits)
    told = offset if told_digits is None else int(told_digits)
    if offset > MAX_OFFSET or told > offset:
        return None
    return Presented(Position(epoch, offset), told, done is not None)


def epoch_from(entropy: bytes) -> str:
    """A new epoch's name from at least `EPOCH_LENGTH` random bytes."""
    number = int.from_bytes(entropy, "big")
    letters: list[str] = []
    for _ in range(EPOCH_LENGTH):
        number, index = divmod(number, len(EPOCH_CHARS))
        letters.append(EPOCH_CHARS[index])
    return "".join(letters)

"""The contract of a format: a generation told as an existing front end wants to hear it.

An encoder is pure. It is asked again and again what is still to be told: it gets what one viewer was told before, and
the generation as it is now. So a viewer that comes late, comes back, or is slow gets one frame for each thing that is
new, however many changes that were; and viewers that were told the same get the same bytes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple, Protocol

from clarion import json
from clarion.generation.view import View

DONE = b"data: [DONE]\n\n"  # both formats end with it


class Frames(NamedTuple):
    """What is new. data: whole SSE frames. told: what the viewer knows with them. ended: there will be no more."""

    data: bytes
    told: Hashable
    ended: bool


class Encoder(Protocol):
    """A format with its options; equal ones give the same bytes.

    headers: of the response, beyond those of every stream. keep_alive: what is sent into a silence.
    """

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def keep_alive(self) -> bytes: ...

    def __hash__(self) -> int: ...

    def frames(self, told: Any, view: View | None) -> Frames:
        """What a viewer that was told `told` (None: nothing yet) has to be told of the generation now.

        view: None if its value is gone. A viewer that was told of another generation is told that that one is over.
        """
        ...


def frame(told: Any) -> bytes:
    """One SSE frame with JSON in it."""
    return b"data: " + json.encode(told) + b"\n\n"

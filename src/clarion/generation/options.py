"""What is said to begin a generation, and what is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypedDict

from clarion.generation.writer import GenerationWriter
from clarion.work.viewers import NoViewers

Produce = Callable[[GenerationWriter], Awaitable[Any]]  # writes a text


class Started(TypedDict):
    """What `Hub.generate` returns: fit to be a route's answer.

    id: the topic, where the value is and what `Hub.cancel` takes. position: of the value's start. messageId: of this
    run of it, the same in every format.
    """

    id: str
    position: str
    messageId: str


class GenerationOptions(TypedDict, total=False):
    """How to generate; each may be left out.

    user: the value is that user's alone. model: named in formats that say one. metadata: any JSON object of your own,
    a member of the value. replace: a generation that is under way on the topic is cancelled first, not a reason to
    refuse. ttl: seconds that the value is kept after its last change; None for ever. lease_seconds: how long the
    process may be silent until the generation is `lost`. cancellable: whether `Hub.cancel` may stop it.
    on_no_viewers: "continue", "cancel", or the seconds without a viewer after which it is cancelled.
    """

    user: str | None
    model: str | None
    metadata: Mapping[str, Any] | None
    replace: bool
    ttl: float | None
    lease_seconds: float
    cancellable: bool
    on_no_viewers: NoViewers

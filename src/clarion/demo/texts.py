"""A text that streams: the hub has it generated, detached from whoever asked, and every tab reads along."""

from __future__ import annotations

from typing import Protocol

from clarion import Hub
from clarion.generation import Produce, Started

TOPIC = "text"  # one for all: everybody sees the same, and no two are paid for at a time
KEEP_SECONDS = 3600  # how long a new tab is still shown the last one
LEASE_SECONDS = 5  # whoever kills the server wants to see soon that the text is lost


class Source(Protocol):
    """Where text comes from. ``label`` is shown on the page, honestly."""

    label: str

    def producer(self, prompt: str, /) -> Produce:
        """What writes one text. It raises `PublicError` with a sentence for people."""
        ...


async def begin(hub: Hub, source: Source, prompt: str, user: str) -> Started:
    """Have a text written. Raises `GenerationRunning` if one is, and `JournalError`."""
    return await hub.generate(
        TOPIC,
        source.producer(prompt),
        metadata={"prompt": prompt, "user": user, "source": source.label},
        ttl=KEEP_SECONDS,
        lease_seconds=LEASE_SECONDS,
    )

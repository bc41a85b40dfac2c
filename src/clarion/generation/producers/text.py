"""Producers from text: any async iterable of text becomes a generation."""

from __future__ import annotations

from typing import Any

from clarion.generation.options import Produce
from clarion.generation.producers.source import opened
from clarion.generation.writer import GenerationWriter


def text_producer(source: Any) -> Produce:
    """A producer that writes what comes from an async iterable of text.

    source: the iterable, or an awaitable of it, or a function without arguments that gives either. It is closed at the
    end, also if the generation is cancelled. Raises `TypeError`, in the generation, for pieces that are no text.
    """

    async def produce(out: GenerationWriter) -> None:
        async with opened(source) as pieces:
            async for piece in pieces:
                await out.write(piece)

    return produce

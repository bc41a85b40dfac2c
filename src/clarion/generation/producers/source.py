"""What the producers read from: an async iterable that is there, or comes when it is asked for."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def opened(source: Any) -> AsyncGenerator[AsyncIterator[Any]]:
    """The items of a source, which is closed at the end.

    source: an async iterable, an awaitable of one, an async context manager that gives one (the vendors' stream
    helpers), or a function without arguments that gives any of these. Raises `TypeError` for anything else.
    """
    found: Any = source() if callable(source) and not hasattr(source, "__aiter__") else source
    if inspect.isawaitable(found):
        found = await found
    if hasattr(found, "__aenter__"):
        async with found as entered:
            yield _items(entered)
        return
    items = _items(found)
    try:
        yield items
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


def member(item: Any, name: str) -> Any:
    """A member of what a vendor's client gives, an object or a mapping; None where there is none."""
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)


def text_of(item: Any, name: str) -> str:
    """The same, if it is text."""
    found = member(item, name)
    return found if isinstance(found, str) else ""


def counts(**found: Any) -> dict[str, int] | None:
    """Those counts of tokens that are known."""
    known = {name: count for name, count in found.items() if isinstance(count, int)}
    return known or None


def _items(source: Any) -> AsyncIterator[Any]:
    if hasattr(source, "__aiter__"):
        found: AsyncIterator[Any] = source.__aiter__()
        return found
    hint = "; a blocking client would stop the event loop: use its async one" if hasattr(source, "__iter__") else ""
    raise TypeError(f"a generation reads from an async iterable, not from a {type(source).__name__}{hint}")

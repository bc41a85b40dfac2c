"""Iterating and counting at once, for `for` and for `async for`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Final, Generic, TypeVar

TURN_SECONDS: Final = 0.01  # how long rows that are at hand may keep the other tasks of the loop waiting

Row = TypeVar("Row")


class Counted(Generic[Row]):
    """Rows that are counted as they are worked off. Iterate once.

    advance: called with 0 before the first row, and without arguments after each; it raises to stop.
    """

    def __init__(self, rows: Iterable[Row] | AsyncIterable[Row], advance: Callable[..., None]) -> None:
        self._rows: Any = rows
        self._advance = advance

    def __iter__(self) -> Iterator[Row]:
        """Raises `TypeError` for rows that only come asynchronously."""
        rows, advance = iter(self._rows), self._advance
        advance(0)
        for row in rows:
            yield row
            advance()

    def __aiter__(self) -> AsyncIterator[Row]:
        rows = self._rows
        return _Rows(aiter(rows) if isinstance(rows, AsyncIterable) else _Patient(iter(rows)), self._advance)


class _Rows(Generic[Row]):
    """No asynchronous generator, which a `break` would leave for the garbage collector to close."""

    def __init__(self, rows: AsyncIterator[Row], advance: Callable[..., None]) -> None:
        self._rows = rows
        self._advance = advance
        self._worked_off = 0

    def __aiter__(self) -> _Rows[Row]:
        return self

    async def __anext__(self) -> Row:
        self._advance(self._worked_off)
        self._worked_off = 0
        row = await anext(self._rows)
        self._worked_off = 1
        return row


class _Patient(Generic[Row]):
    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._began = time.monotonic()

    def __aiter__(self) -> _Patient[Row]:
        return self

    async def __anext__(self) -> Row:
        if time.monotonic() - self._began > TURN_SECONDS:
            await asyncio.sleep(0)
            self._began = time.monotonic()
        for row in self._rows:
            return row
        raise StopAsyncIteration

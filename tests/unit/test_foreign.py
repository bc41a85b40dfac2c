"""Event objects of other libraries, taken as what they mean."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.sse import ServerSentEvent as FastApiEvent
from sse_starlette import JSONServerSentEvent
from sse_starlette import ServerSentEvent as StarletteEvent

from clarion.foreign import unwrap


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (FastApiEvent(data={"a": 1}, event="x"), ({"a": 1}, "x", None)),
        (FastApiEvent(data="text is JSON there"), ("text is JSON there", None, None)),
        (FastApiEvent(raw_data="raw", event="x"), (None, "x", "raw")),
        (StarletteEvent(data="raw", event="x", id="7", retry=5), (None, "x", "raw")),
        (StarletteEvent(data={"a": 1}), (None, None, str({"a": 1}))),
        (StarletteEvent(), (None, None, "")),
        (JSONServerSentEvent(data={"a": 1}, event="x"), (None, "x", '{"a":1}')),  # it is text by then
        ({"a": 1}, ({"a": 1}, None, None)),
        (None, (None, None, None)),
    ],
)
def test_unwrapping(given: Any, meant: tuple[Any, str | None, str | None]) -> None:
    assert unwrap(given, None, None) == meant


def test_the_caller_s_type_goes_before() -> None:
    assert unwrap(FastApiEvent(data=1, event="theirs"), "ours", None) == (1, "ours", None)
    assert unwrap(StarletteEvent(data="d", event="theirs"), "ours", None) == (None, "ours", "d")


def test_what_only_has_the_name_is_left_as_it_is() -> None:
    class ServerSentEvent:
        """Of nobody we know."""

    own = ServerSentEvent()
    assert unwrap(own, None, None) == (own, None, None)

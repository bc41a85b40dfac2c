"""Other libraries' event objects, taken as what they mean, without importing those libraries."""

from __future__ import annotations

from typing import Any, Final

_PLAIN: Final = frozenset({dict, list, str, int, float, bool, type(None)})  # what is published most is no such object


def unwrap(data: Any, event: str | None, text: str | None) -> tuple[Any, str | None, str | None]:
    """Take `fastapi.sse.ServerSentEvent` and sse-starlette's `ServerSentEvent` apart into (data, event, text).

    Their event type is used unless the caller names one. Their `id`, `retry` and `comment` belong to a connection of
    theirs: the hub gives positions for ids and says `retry` itself.
    """
    kind = type(data)
    if kind in _PLAIN or text is not None or not any(base.__name__ == "ServerSentEvent" for base in kind.__mro__):
        return data, event, text
    if hasattr(data, "raw_data"):  # fastapi: data is JSON, raw_data is text
        raw = data.raw_data
        return (None, event or data.event, raw) if raw is not None else (data.data, event or data.event, None)
    if hasattr(data, "data") and hasattr(data, "event"):  # sse-starlette: data is text, also where it says JSON
        return None, event or data.event, "" if data.data is None else str(data.data)
    return data, event, text

"""What a source raises, and what it reports and goes on.

Raised: `StreamRefused`, `NotAStream`, `StreamKicked`, `RequestImpossible`, `CursorUnreadable`. Waited out:
`TransportFailed`. Reported to `on_error`: the others. What a server said is in attributes, never in an error's text.
"""

from __future__ import annotations

from http import HTTPStatus

from clarion.errors import ClarionError


class SourceError(ClarionError):
    """The root of what the reading side says. `status` is for callers of one's own: the server behind has failed."""

    status = 502


class TransportFailed(SourceError):
    """The network did not do it: no connection, or one that broke. What a `Transport` raises for that."""


class RedirectFailed(TransportFailed):
    """Redirects lead nowhere, or never end."""


class RequestImpossible(SourceError, ValueError):
    """There can be no such request: a header with control characters, an unsupported URL. Trying again is no use."""


class StreamRefused(SourceError):
    """The server answered with a status that is final.

    status_code: what it answered. body: the beginning of its body, as it came; a stranger's words.
    """

    def __init__(self, status_code: int, body: bytes = b"") -> None:
        self.status_code = status_code
        self.body = body
        super().__init__(f"the server refused the stream: {status_code} {phrase_of(status_code)}".rstrip())


class NotAStream(SourceError):
    """The server answered 200, but with something else than an event stream. content_type: a stranger's word for it."""

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type
        super().__init__("the server answered, but not with an event stream")


class StreamKicked(SourceError):
    """The server has ended this stream (`bye` with `kicked`). detail: the application's words for it, or empty."""

    def __init__(self, detail: str = "") -> None:
        self.detail = detail
        super().__init__("the server has ended this stream")


class CursorUnreadable(SourceError):
    """The stored cursor is there, but cannot be read or is none. To start anew instead would lose events in silence."""


class CursorNotSaved(SourceError):
    """The cursor could not be stored. The stream goes on; after a crash now, events come again."""


class HeadersFailed(SourceError):
    """The function that gives the headers or the token raised, or gave what cannot be sent. It is asked again later."""


class EventUnreadable(SourceError):
    """An event whose data could not be decoded. It is passed over.

    type, id, topic: of the event. text: its data as it came; a stranger's words.
    """

    def __init__(self, type: str, id: str, topic: str | None, text: str) -> None:  # noqa: A002 - the field's words
        self.type = type
        self.id = id
        self.topic = topic
        self.text = text
        super().__init__("the data of an event could not be decoded; give decode='text' for streams that are no JSON")


class IdUnusable(SourceError):
    """An id that cannot be sent back: too long, or with control characters. The last good one stays in force."""

    def __init__(self, id: str) -> None:  # noqa: A002 - the field's word
        self.id = id
        super().__init__(f"an id of {len(id)} characters cannot be sent as a header; the one before it is kept")


class CallbackRaised(SourceError):
    """A function that was registered with the source raised. function: which. The error itself is the `__cause__`."""

    def __init__(self, function: object) -> None:
        self.function = function
        name = getattr(function, "__qualname__", type(function).__name__)
        super().__init__(f"{name} raised; the stream goes on")


class ValueLost(SourceError):
    """A topic's value is not held any more: a change did not fit it, or it is too large.

    asked_anew: whether the source asks the hub for it again.
    """

    def __init__(self, topic: str, why: str, *, asked_anew: bool) -> None:
        self.topic = topic
        self.asked_anew = asked_anew
        super().__init__(f"the value of a topic is dropped: {why}")


def phrase_of(status_code: int) -> str:
    """The standard words for a status; empty if it has none."""
    try:
        return HTTPStatus(status_code).phrase
    except ValueError:
        return ""

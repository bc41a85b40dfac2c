"""Every error that Clarion raises. One root; who is to blame is a type; the facts are attributes.

`status` is the HTTP status to answer with when the error concerns a request. The text of an error is written for
the developer who reads the log; it is never sent to a remote party by Clarion itself.
"""

from __future__ import annotations


class ClarionError(Exception):
    """The root of all errors raised by Clarion."""

    status: int = 500


class InvalidTopic(ClarionError, ValueError):
    """A topic or a pattern that cannot exist (see `clarion.topics`)."""

    status = 422

    def __init__(self, topic: object, why: str) -> None:
        self.topic = topic
        self.why = why
        shown = repr(topic)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        super().__init__(f"topic {shown}: {why}")


class InvalidEvent(ClarionError, ValueError):
    """An event that cannot be put on the wire: data JSON cannot say, or an impossible event type, key or ttl."""

    status = 422


class EventTooLarge(ClarionError, ValueError):
    """An event over the size limit. `size_bytes` is what it has (at least), `limit_bytes` what is allowed."""

    status = 413

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        super().__init__(f"the event has {size_bytes} bytes or more, the limit is {limit_bytes}")


class ValueMismatch(ClarionError, ValueError):
    """A change that does not fit the value it is for. Nothing was changed.

    change: "append" or "merge". given, present: what kind of JSON was to go onto what kind ("a number", "a text").
    path: where in the value, a JSON pointer; empty for the value itself.
    """

    status = 409

    def __init__(self, change: str, given: str, present: str, path: str = "") -> None:
        self.change = change
        self.given = given
        self.present = present
        self.path = path
        where = f"the value at {path}" if path else "the value"
        super().__init__(f"cannot {change} {given} to {where}, which is {present}")


class ValueTooLarge(ClarionError, ValueError):
    """A change that would make its value larger than the limit. Nothing was changed."""

    status = 413

    def __init__(self, topic: str, size_bytes: int, limit_bytes: int) -> None:
        self.topic = topic
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        super().__init__(f"the value of {topic!r} would have {size_bytes} bytes or more, the limit is {limit_bytes}")


class NoValue(ClarionError, LookupError):
    """There is no value to delete."""

    status = 404

    def __init__(self, topic: str) -> None:
        self.topic = topic
        super().__init__(f"topic {topic!r} has no value")


class HubClosed(ClarionError, RuntimeError):
    """The hub is not open: it was not started yet, or it is closed or draining."""

    status = 503


class TooManyReaders(ClarionError):
    """A limit on readers is reached. `scope` is "hub", "user" or "address"."""

    def __init__(self, scope: str, limit: int, retry_after_seconds: int) -> None:
        self.scope = scope
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds
        self.status = 503 if scope == "hub" else 429
        super().__init__(f"the limit of {limit} readers per {scope} is reached")


class JournalError(ClarionError):
    """The journal did not do what it was asked. What was acknowledged before is not affected."""

    status = 503


class JournalUnavailable(JournalError):
    """The journal cannot be reached or used now (locked, read-only, gone, closed); later it may."""


class JournalFull(JournalError):
    """There is no room left to append. Nothing of the refused batch was written."""

    status = 507


class JournalDamaged(JournalError):
    """The stored journal is not readable as what it claims to be."""

    status = 500


class JournalForeign(JournalError):
    """The location holds something that is not a Clarion journal, or one of a newer version."""

    status = 500


class JournalOverrun(JournalError):
    """A follower was so far behind that retention took away what it had not read yet."""

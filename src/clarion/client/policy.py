"""When to come back, and what an answer means: pure functions, the same as the TypeScript client's.

`spec/vectors/policy` holds cases for all of them, which both clients run.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final, NamedTuple

DEFAULT_RETRY_MS: Final = 3_000  # until a stream says another
MAX_DELAY_MS: Final = 2**31 - 1  # what timers hold; a `Retry-After` beyond it is cut, as `retry:` is
MAX_DOUBLINGS: Final = 30  # beyond any cap
SILENT_HEARTBEATS: Final = 2  # without a byte: the stream is dead (spec/stream.md, 9.4)
EVENT_STREAM: Final = "text/event-stream"

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CREDENTIALS: Final = frozenset({401, 403})
_LATER: Final = frozenset({408, 425, 429})


class Backoff(NamedTuple):
    """How long to wait between attempts; milliseconds.

    min_ms: the least floor, whatever a stream's `retry:` says. cap_ms: where doubling ends; a longer `retry:` counts.
    stable_ms: a stream that was open for so long was no failure.
    """

    min_ms: int = 500
    cap_ms: int = 30_000
    stable_ms: int = 10_000

    def delay_ms(self, *, retry_ms: int | None, failures: int, at_least_ms: int, random: float) -> int:
        """The wait before the next attempt.

        retry_ms: the stream's last `retry:`, None if it said none. failures: attempts that failed in a row before this
        one. at_least_ms: what the server asked for by `Retry-After` or in a `bye`, else 0. random: from 0 up to 1.
        """
        floor = max(DEFAULT_RETRY_MS if retry_ms is None else retry_ms, self.min_ms)
        low = max(floor / 2, at_least_ms)
        high = max(min(self.cap_ms, floor * 2 ** min(failures, MAX_DOUBLINGS)), low + floor / 2)
        return int(min(low + random * (high - low), MAX_DELAY_MS))


class Failures:
    """Counts what failed in a row. A stream that opens is no success yet, only one that stays open is."""

    def __init__(self, stable_ms: int) -> None:
        self._stable_ms = stable_ms
        self._opened_ms: int | None = None
        self._count = 0

    def opened(self, now_ms: int) -> None:
        """A stream was opened."""
        self._opened_ms = now_ms

    def ended(self, now_ms: int) -> None:
        """A stream ended on purpose, which is no failure; nor a success, if it was short."""
        if self._opened_ms is not None and now_ms - self._opened_ms >= self._stable_ms:
            self._count = 0
        self._opened_ms = None

    def lost(self, now_ms: int) -> int:
        """An attempt or a stream ended in failure. How many did before it."""
        self.ended(now_ms)
        self._count += 1
        return self._count - 1

    def forget(self) -> None:
        """Begin anew: the owner asks for an attempt now."""
        self._opened_ms = None
        self._count = 0


class Action(StrEnum):
    """What to do about an answer."""

    OPEN = "open"  # read it
    DONE = "done"  # the stream is complete: close
    REDIRECT = "redirect"  # ask where `Location` says
    ASK_AGAIN = "ask_again"  # ask at once, with fresh credentials
    WAIT = "wait"  # and come back
    CLOSE = "close"  # it will not be different another time


class Answer(NamedTuple):
    """What matters of a response's head. An absent header is empty; `location` may be absent, None."""

    status: int
    content_type: str = ""
    retry_after: str = ""
    location: str | None = None


def action_for(answer: Answer, *, fresh_credentials: bool) -> Action:
    """What to do about an answer.

    fresh_credentials: whether there is a function to ask for new headers, and it was not asked after the last answer.
    """
    status = answer.status
    if status == 200:
        return Action.OPEN if is_event_stream(answer.content_type) else Action.CLOSE
    if status == 204:
        return Action.DONE
    if status in _REDIRECTS and answer.location is not None:
        return Action.REDIRECT
    if status in _CREDENTIALS and fresh_credentials:
        return Action.ASK_AGAIN
    if status in _LATER or 500 <= status <= 599:
        return Action.WAIT
    return Action.CLOSE


def is_event_stream(content_type: str) -> bool:
    """Whether a `Content-Type` is `text/event-stream`. Parameters do not matter: the stream is UTF-8."""
    return content_type.partition(";")[0].strip().lower() == EVENT_STREAM


def retry_after_ms(text: str, wall_ms: int) -> int:
    """`Retry-After` as milliseconds from now: seconds or a date (RFC 9110, section 10.2.3); 0 for anything else."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(int(text.lstrip("0")[:10] or "0") * 1000, MAX_DELAY_MS)
    try:
        due = parsedate_to_datetime(text)
        due_ms = (due.replace(tzinfo=UTC) if due.tzinfo is None else due).timestamp() * 1000
    except (ValueError, TypeError, IndexError, OverflowError):  # it is a stranger's text
        return 0
    return max(0, min(int(due_ms - wall_ms), MAX_DELAY_MS))

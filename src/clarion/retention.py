"""Retention: how much of its past a journal keeps, and where a reader may start in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from clarion.topics import check_pattern, is_pattern, matches

MAX_LAST: Final = 1_000_000  # of "the last n events": more than any journal page-reads in reasonable time

_AGO = re.compile(r"([0-9]{1,9})(s|m|h|d)", re.ASCII)
_LAST = re.compile(r"(?:last:)?([0-9]{1,9})", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Retention(NamedTuple):
    """How much is kept; None for no bound. What goes over any of the bounds is trimmed, oldest first.

    max_count: entries. max_bytes: bytes of their frames. max_age_seconds: since they were published.
    """

    max_count: int | None = None
    max_bytes: int | None = None
    max_age_seconds: float | None = None


# A reader away for a weekend resumes; a disk of any server has room for it.
DURABLE_RETENTION: Final = Retention(max_count=1_000_000, max_bytes=1024**3, max_age_seconds=7 * 86400)
# Enough to resume over a deploy or a tunnel, small beside an app's own memory.
MEMORY_RETENTION: Final = Retention(max_count=10_000, max_bytes=64 * 1024**2, max_age_seconds=86400)


class RetentionRules:
    """The bounds of a journal as a whole, and narrower ones for each topic that a pattern matches.

    The first pattern that matches a topic gives its rule, and the rule holds for each such topic by itself. The
    journal's own bounds hold for everything: a topic's rule can keep less, never more.
    """

    __slots__ = ("hub", "topics")

    def __init__(self, hub: Retention, topics: Mapping[str, Retention] | None = None) -> None:
        self.hub = _checked(hub)
        self.topics = {check_pattern(name): _checked(rule) for name, rule in (topics or {}).items()}

    def rule_for(self, topic: str) -> Retention | None:
        """The rule of `topic`, or None if only the journal's own bounds hold for it."""
        for name, rule in self.topics.items():
            if name == topic or (is_pattern(name) and matches(name, topic)):
                return rule
        return None


def _checked(rule: Retention) -> Retention:
    for name, bound in rule._asdict().items():
        if bound is not None and (isinstance(bound, bool) or not bound > 0):
            raise ValueError(f"retention {name} must be above 0 or None, not {bound!r}")
    return rule


class Since(NamedTuple):
    """Where a reader without a `Last-Event-ID` starts. Exactly one of the three is set; none of them is "live".

    earliest: at the oldest entry kept. after_ms: at the first entry published after that Unix time.
    last: at the n-th newest entry of its topics.
    """

    earliest: bool = False
    after_ms: int | None = None
    last: int | None = None

    @property
    def live(self) -> bool:
        return not self.earliest and self.after_ms is None and self.last is None


LIVE: Final = Since()


def parse_since(since: str | int | timedelta | datetime | None, now_ms: int) -> Since:
    """Read a start choice: "live" or None, "earliest", "5m" or a timedelta (so long ago), a datetime, or n (last n).

    Raises `ValueError` for anything else; the text of it is fit to be shown to who asked.
    """
    if since is None or since == "live":
        return LIVE
    if since == "earliest":
        return Since(earliest=True)
    if isinstance(since, timedelta):
        return Since(after_ms=max(0, now_ms - round(since.total_seconds() * 1000)))
    if isinstance(since, datetime):
        return Since(after_ms=max(0, round(since.timestamp() * 1000)))
    if isinstance(since, int) and not isinstance(since, bool):
        return Since(last=min(since, MAX_LAST)) if since > 0 else LIVE
    if isinstance(since, str):
        if match := _AGO.fullmatch(since):
            return Since(after_ms=max(0, now_ms - int(match[1]) * _SECONDS[match[2]] * 1000))
        if match := _LAST.fullmatch(since):
            return parse_since(int(match[1]), now_ms)
        try:
            if "-" in since:
                return parse_since(datetime.fromisoformat(since), now_ms)
        except (ValueError, OverflowError):
            pass
    raise ValueError(
        'since must be "live", "earliest", a time back such as "5m", an ISO 8601 time, or a number of events'
    )

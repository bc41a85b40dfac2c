"""Limits: how many readers there may be, and how much each may ask for."""

from __future__ import annotations

import sys
from datetime import datetime
from math import ceil
from typing import Final, NamedTuple

from clarion.errors import TooManyReaders
from clarion.event import MAX_EVENT_BYTES

RETRY_AFTER_SECONDS: Final = 5  # told with a refusal; jittered by whoever sends it
MAX_SECONDS: Final = 10 * 366 * 86400.0  # ten years: nobody waits longer, and timers can count them
MAX_UNIX_SECONDS: Final = 253_402_300_800.0  # the year 10000: as far as a datetime goes
MOST_RATE_PER_SECOND: Final = 1_000.0  # a millisecond is what timers count in
SPARE_DESCRIPTORS: Final = 256  # left to the app: its database, files, and requests that are not streams
SPARE_SHARE: Final = 4  # ... or a quarter of them, where there are few


class Limits(NamedTuple):
    """Bounds of a hub; None for none.

    max_readers: streams in this process. None: as many as the process may have open files, less a spare.
    max_readers_per_user, max_readers_per_address: streams of one user, and from one address. The address is the peer
        that the server names, so behind a proxy it is the proxy unless the server is told to trust its headers.
    max_topics: topics and patterns of one stream.
    max_event_bytes: one event as framed.
    max_last_events: of `since=n` in a query; who asks for more gets so many.
    max_replay_events: events replayed to one reader when it comes; who missed more is told a gap.
    """

    max_readers: int | None = None
    max_readers_per_user: int | None = None
    max_readers_per_address: int | None = None
    max_topics: int = 256
    max_event_bytes: int = MAX_EVENT_BYTES
    max_last_events: int = 1_000
    max_replay_events: int | None = None


class Admission:
    """Counts readers against the limits. `admit` and `release` come in pairs."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._max_readers = most_readers() if limits.max_readers is None else limits.max_readers
        self._readers = 0
        self._users: dict[str, int] = {}
        self._addresses: dict[str, int] = {}

    def check(self, user: str | None, address: str | None) -> None:
        """Raise `TooManyReaders` if one more reader would be too many."""
        limits = self._limits
        if self._readers >= self._max_readers:
            raise TooManyReaders("hub", self._max_readers, RETRY_AFTER_SECONDS)
        if user is not None and _reached(limits.max_readers_per_user, self._users.get(user, 0)):
            raise TooManyReaders("user", limits.max_readers_per_user or 0, RETRY_AFTER_SECONDS)
        if address is not None and _reached(limits.max_readers_per_address, self._addresses.get(address, 0)):
            raise TooManyReaders("address", limits.max_readers_per_address or 0, RETRY_AFTER_SECONDS)

    def admit(self, user: str | None, address: str | None) -> None:
        """Count a reader in, or raise `TooManyReaders`."""
        self.check(user, address)
        self._readers += 1
        if user is not None and self._limits.max_readers_per_user is not None:
            self._users[user] = self._users.get(user, 0) + 1
        if address is not None and self._limits.max_readers_per_address is not None:
            self._addresses[address] = self._addresses.get(address, 0) + 1

    def release(self, user: str | None, address: str | None) -> None:
        """Count a reader out that was admitted."""
        self._readers -= 1
        _count_down(self._users, user)
        _count_down(self._addresses, address)


def most_readers() -> int:
    """How many readers the process's limit on open files has room for."""
    try:
        import resource  # not on Windows
    except ImportError:
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft - min(SPARE_DESCRIPTORS, soft // SPARE_SHARE)


def check_seconds(name: str, seconds: float) -> float:
    """Return `seconds` if it can be an interval; else raise `ValueError`."""
    if not 0 <= seconds < MAX_SECONDS:  # not for NaN either
        raise ValueError(f"{name} must be a number of seconds from 0 on, not {seconds!r}")
    return seconds


def interval_ms(max_rate_per_second: float | None) -> int:
    """The shortest time between two of so many a second; 0 for None. Raises `ValueError` for what is no rate."""
    if max_rate_per_second is None:
        return 0
    if not 1 / MAX_SECONDS < max_rate_per_second < MOST_RATE_PER_SECOND:  # not for NaN either
        raise ValueError(f"max_rate_per_second must be above 0 and below {MOST_RATE_PER_SECOND:g}")
    return ceil(1000 / max_rate_per_second)


def unix_seconds(moment: datetime | float) -> float:
    """A moment as Unix time; a naive datetime is local time. Raises `ValueError` for what is no moment."""
    seconds = moment.timestamp() if isinstance(moment, datetime) else float(moment)
    if not abs(seconds) < MAX_UNIX_SECONDS:  # not for NaN either
        raise ValueError(f"{moment!r} is not a moment")
    return seconds


def _reached(limit: int | None, count: int) -> bool:
    return limit is not None and count >= limit


def _count_down(counts: dict[str, int], key: str | None) -> None:
    if key in counts:
        counts[key] -= 1
        if not counts[key]:
            del counts[key]

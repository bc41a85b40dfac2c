"""The observer: a hub tells it what happens. Figures for whoever watches; `clarion.prometheus` is one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("clarion.observer")


class Observer:
    """Does nothing; override what you want to know.

    Called in the hub's event loop, at most once for a batch and never once for each reader of an event, so an
    override may cost a microsecond and must not block. What an override raises is logged and harms nothing.
    """

    def connected(self, readers: int) -> None:
        """A reader came; there are now so many."""

    def disconnected(self, readers: int, reason: str, seconds: float) -> None:
        """A reader went after so many seconds; there are now so many. `reason`: see `clarion.subscription`."""

    def refused(self, reason: str) -> None:
        """A stream was not begun: "hub", "user" or "address" (limits), "topics", "draining", "journal"."""

    def published(self, events: int, size_bytes: int) -> None:
        """The journal acknowledged so many events from this process."""

    def delivered(self, events: int, size_bytes: int) -> None:
        """So many events were written to readers, all readers counted."""

    def latency(self, seconds: float) -> None:
        """A pass over the live readers is done, so long after its oldest event was published (by wall clocks)."""

    def replayed(self, mode: str) -> None:
        """A stream began as "live", "resumed" or "gap"."""

    def gap(self, reason: str, missed: int | None) -> None:
        """A reader was told a gap: "expired", "unknown", "epoch" or "limit"."""

    def lag(self, entries: int) -> None:
        """So many entries are in the log but not planned for readers yet."""


def guarded(observer: Observer) -> Observer:
    """An observer that tells `observer` everything, and does not let its exceptions reach the hub."""
    if type(observer) is Observer:
        return observer
    guard = Observer()
    for name in (name for name in vars(Observer) if not name.startswith("_")):
        setattr(guard, name, _guarded(getattr(observer, name)))
    return guard


def _guarded(method: Callable[..., None]) -> Callable[..., None]:
    def call(*values: Any) -> None:
        try:
            method(*values)
        except Exception:
            logger.exception("an observer failed")

    return call

"""The observer: a hub tells it what happens. Figures for whoever watches; `clarion.prometheus` is one."""

from __future__ import annotations


class Observer:
    """Does nothing; override what you want to know.

    Called in the hub's event loop, at most once for a batch and never once for each reader of an event, so an
    override may cost a microsecond and must not block. An exception in one is a bug of the override and is not caught.
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

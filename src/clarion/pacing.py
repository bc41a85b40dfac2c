"""Pacing: readers who are told values no more often than they asked for, each audience at its own time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from clarion.audience import Audience
from clarion.clock import Clock
from clarion.fanout import Fanout
from clarion.sinks.base import Block, Deliverer
from clarion.subscription import State, Subscription

if TYPE_CHECKING:
    from clarion.clock import Timer

READERS_PER_TURN: Final = (
    48  # released in one turn of the loop: about a millisecond of writing, or of their coroutines' work
)

Work = tuple[Deliverer, Sequence[Subscription], Block]


class Pacing:
    """The audiences for which changes of values wait, and when they are told them. wake: have `due` asked for soon."""

    def __init__(self, fanout: Fanout, clock: Clock, wake: Callable[[], None]) -> None:
        self._fanout = fanout
        self._clock = clock
        self._wake = wake
        self._waiting: list[Audience] = []
        self._timer: Timer | None = None
        self._timer_due_ms = 0

    def add(self, audiences: Iterable[Audience]) -> None:
        """Changes wait for these audiences now."""
        self._waiting += audiences
        self._arm()

    def due(self) -> list[Work]:
        """What is to be worked on now, while no pass is under way: readers to be told their values."""
        if not self._waiting:
            return []
        now_ms = self._clock.monotonic_ms()
        work: list[Work] = []
        waiting, self._waiting = self._waiting, []
        for audience in waiting:
            if audience.pending is None:
                continue  # its readers go on by themselves
            if _due_ms(audience) > now_ms:
                self._waiting.append(audience)
                continue
            planned = self._fanout.planned
            release = Block(b"", planned, audience.pending, (), planned, planned, 0)
            work.append((_Release(self._fanout), list(audience.live), release))
            audience.pending, audience.told_ms = None, now_ms
        self._arm()
        return work

    def close(self) -> None:
        """Stop."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if not self._waiting:
            return
        due_ms = min([_due_ms(audience) for audience in self._waiting])
        if self._timer is not None:
            if self._timer_due_ms <= due_ms:
                return
            self._timer.cancel()
        self._timer_due_ms = due_ms
        self._timer = self._clock.call_later(max(0, due_ms - self._clock.monotonic_ms()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._wake()


def _due_ms(audience: Audience) -> int:
    return 0 if audience.told_ms is None else audience.told_ms + audience.interval_ms


class _Release:
    """Stands in the place of a lane: lets live readers fall behind, by the values that wait, to be told them."""

    def __init__(self, fanout: Fanout) -> None:
        self._fanout = fanout

    def deliver(self, readers: Sequence[Subscription], start: int, block: Block, until: float) -> int:
        end = min(len(readers), start + READERS_PER_TURN)
        for reader in readers[start:end]:
            if reader.state is State.LIVE:
                self._fanout.fell_behind(reader, block.after, max(block.told_before, reader.told))
                reader.due = True
                reader.audience.lane.feed(reader)
        return end

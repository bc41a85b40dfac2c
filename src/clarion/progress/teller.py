"""What is told of a task, and when: the value of its topic, told only for what one can see. Pure."""

from __future__ import annotations

import math
from typing import Any, Final

from clarion.progress.reading import Reading, StepReading, fraction
from clarion.progress.speed import Speed
from clarion.progress.throttle import Throttle
from clarion.work.failures import shown
from clarion.work.status import COMPLETED, ENDED, PENDING, RUNNING

MAX_TITLE_CHARS: Final = 200  # a line of a page
MAX_MESSAGE_CHARS: Final = 500  # two or three lines
FIGURES_MS: Final = 1_000  # how often counts, rate and ETA are told where the bar and the words stay the same
LONGEST_ETA_SECONDS: Final = 30 * 86_400.0  # nobody plans by an estimate that is longer
UNPLANNED_MOST: Final = 99.0  # while more steps may come, all that is known being done is not the end

_RATE_DIGITS: Final = 3


class Teller:
    """Of one task. Times are milliseconds: `now_ms` monotonic, `wall_ms` Unix. Not safe for concurrent use.

    heartbeat_ms: it is told at least so often while it runs, so that who watches sees it live.
    """

    def __init__(self, heartbeat_ms: int) -> None:
        self._heartbeat_ms = heartbeat_ms
        self._throttle = Throttle()
        self._units = Speed()
        self._way = Speed()
        self._resets = 0
        self._floor: float | None = None  # what was reached: less is not told
        self._told: dict[str, Any] | None = None

    def look(self, reading: Reading, now_ms: int, wall_ms: int) -> dict[str, Any] | None:
        """The value to tell now, or None. Call `told` when it was. The end is always to be told."""
        value = self.value(reading, now_ms, wall_ms)
        before = self._told
        if before is None or reading.status in ENDED:
            return value
        last_ms = self._throttle.last_ms or 0
        urgent = _landmarks(value) != _landmarks(before)
        if not self._throttle.allows(now_ms, urgent=urgent):
            return None
        if urgent or _looks(value) != _looks(before):
            return value
        if now_ms - last_ms >= FIGURES_MS and _figures(value) != _figures(before):
            return value
        return value if now_ms - last_ms >= self._heartbeat_ms else None

    def told(self, value: dict[str, Any], now_ms: int) -> None:
        """`value` was told."""
        self._told = value
        self._throttle.told(now_ms)

    def value(self, reading: Reading, now_ms: int, wall_ms: int) -> dict[str, Any]:
        """The value of the task's topic, as the counters say it now."""
        counted = reading.counted
        if reading.resets != self._resets:
            self._resets = reading.resets
            self._floor = None
            self._units.restart()
            self._way.restart()
        part = fraction(counted)
        running = reading.status == RUNNING
        self._units.sample(counted.current if running else None, now_ms)
        self._way.sample(part if running else None, now_ms)
        return {
            "taskId": reading.task_id,
            "title": shown(reading.title)[:MAX_TITLE_CHARS],
            "status": reading.status,
            "progress": self._progress(reading, part),
            "message": shown(reading.message)[:MAX_MESSAGE_CHARS],
            "current": _plain(counted.current),
            "total": None if counted.total is None else _plain(counted.total),
            "unit": reading.unit,
            "rate": self._rate(counted, now_ms),
            "eta": self._eta(part, now_ms),
            "steps": [_step(step) for step in counted.steps],
            "attempt": reading.attempt,
            "error": reading.error,
            "cancellable": reading.cancellable,
            "cancelRequested": reading.cancel_requested,
            "startedAt": reading.started_ms,
            "updatedAt": wall_ms,
        }

    def _progress(self, reading: Reading, part: float | None) -> float | None:
        """Percent; never less than before, unless the task was reset. A failure keeps what was reached."""
        if reading.status == COMPLETED:
            return 100.0
        percent = None if part is None else _percent(part)
        has_steps = bool(reading.counted.steps or reading.counted.folded_weight)
        if percent is not None and has_steps and not reading.planned:
            percent = min(percent, UNPLANNED_MOST)
        if percent is None:
            return self._floor
        self._floor = percent if self._floor is None else max(self._floor, percent)
        return self._floor

    def _rate(self, counted: StepReading, now_ms: int) -> float | None:
        speed = self._units.per_second(now_ms)
        if speed is None or (counted.total is None and not counted.current):
            return None
        return _significant(speed)

    def _eta(self, part: float | None, now_ms: int) -> float | None:
        speed = self._way.per_second(now_ms)
        if part is None or not speed:
            return None
        seconds = (1 - part) / speed
        return float(math.ceil(seconds)) if seconds < LONGEST_ETA_SECONDS else None


def _step(step: StepReading) -> dict[str, Any]:
    part = fraction(step)
    status = RUNNING if step.status == PENDING and step.current else step.status
    told: dict[str, Any] = {
        "name": shown(step.name)[:MAX_TITLE_CHARS],
        "status": status,
        "progress": None if part is None else _percent(part),
        "weight": _plain(step.weight),
        "current": _plain(step.current),
        "total": None if step.total is None else _plain(step.total),
    }
    if step.steps:
        told["steps"] = [_step(inner) for inner in step.steps]
    return told


def _percent(part: float) -> float:
    """To one decimal, as a bar shows it; downwards, so that 100 is only what is done."""
    return math.floor(part * 1000 + 1e-9) / 10


def _plain(number: float) -> float | None:
    """A count as JSON says it: whole where it is whole; null where it is no number."""
    if not math.isfinite(number):
        return None
    return int(number) if float(number).is_integer() and abs(number) < 2**53 else round(number, 6)


def _significant(number: float) -> float:
    if not number:
        return 0.0
    digits = _RATE_DIGITS - 1 - math.floor(math.log10(number))
    return round(number, digits) if digits > 0 else float(round(number))


def _landmarks(value: dict[str, Any]) -> tuple[Any, ...]:
    """What is told at once when it changes."""
    return (
        value["status"],
        value["title"],
        value["error"],
        value["attempt"],
        value["cancelRequested"],
        [_stages(step) for step in value["steps"]],
    )


def _stages(step: dict[str, Any]) -> tuple[Any, ...]:
    return step["name"], step["status"], [_stages(inner) for inner in step.get("steps", ())]


def _looks(value: dict[str, Any]) -> tuple[Any, ...]:
    """What one sees move."""
    counted = value["current"] if value["progress"] is None else None  # the count is all there is to see then
    return value["progress"], value["message"], counted, [_bars(step) for step in value["steps"]]


def _bars(step: dict[str, Any]) -> tuple[Any, ...]:
    return step["progress"], [_bars(inner) for inner in step.get("steps", ())]


def _figures(value: dict[str, Any]) -> tuple[Any, ...]:
    return value["current"], value["total"], value["unit"], value["rate"], value["eta"]

"""Percentiles by the nearest rank: always a value that was really measured."""

import math
from collections.abc import Sequence


def percentile(ordered: Sequence[int], share: float) -> int:
    """Return the smallest of the ascending values that at least `share` per cent do not exceed; 0 if there
    is none."""
    if not ordered:
        return 0
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)]


def median(values: Sequence[float]) -> float:
    """Return the middle value; of two middle ones the lower, so that a median is always a run that
    happened."""
    return sorted(values)[(len(values) - 1) // 2]

"""The states of a work, as its value says them in `status`."""

from __future__ import annotations

from typing import Final

PENDING: Final = "pending"
RUNNING: Final = "running"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
LOST: Final = "lost"  # whoever did it died without a word

STATUSES: Final = (PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, LOST)
ENDED: Final = frozenset({COMPLETED, FAILED, CANCELLED, LOST})
"""From these nothing follows, but for two cases: one that was thought lost speaks again, and a new run begins."""

"""What limits make of numbers: how many readers there is room for, and which times can be."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from clarion import Hub
from clarion.limits import MAX_SECONDS, check_seconds, most_readers, unix_seconds

resource = pytest.importorskip("resource")

NO_INTERVALS = (-1, -0.001, float("nan"), float("inf"), float("-inf"), MAX_SECONDS)


@pytest.mark.parametrize(
    ("files", "readers"),
    [(4, 3), (64, 48), (256, 192), (1_024, 768), (4_096, 3_840), (65_536, 65_280)],
)
def test_there_is_room_for_readers_under_every_limit_on_open_files(
    files: int, readers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda what: (files, 1_000_000))
    assert most_readers() == readers


def test_no_limit_on_open_files_is_none_on_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda what: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert most_readers() == sys.maxsize


@pytest.mark.parametrize("seconds", NO_INTERVALS)
def test_what_is_no_interval_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="heartbeat_seconds must be a number of seconds"):
        Hub(heartbeat_seconds=seconds)
    with pytest.raises(ValueError, match="drain_seconds must be a number of seconds"):
        Hub(drain_seconds=seconds)
    hub = Hub()
    with pytest.raises(ValueError, match="heartbeat_seconds must be a number of seconds"):
        hub.stream(heartbeat_seconds=seconds)
    with pytest.raises(ValueError, match="max_age_seconds must be a number of seconds"):
        hub.stream(max_age_seconds=seconds)


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), float("-inf"), 1e308])
def test_what_is_no_moment_is_refused(moment: float) -> None:
    with pytest.raises(ValueError, match="is not a moment"):
        Hub().stream(expires_at=moment)


@pytest.mark.parametrize("seconds", [0, 0.5, 15, MAX_SECONDS - 1])
def test_intervals(seconds: float) -> None:
    assert check_seconds("s", seconds) == seconds


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [(1_790_000_000, 1.79e9), (-5.5, -5.5), (datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC), 1.79e9)],
)
def test_moments(moment: Any, seconds: float) -> None:
    assert unix_seconds(moment) == seconds

"""The vectors of `spec/vectors/frames`, encoded: what they mean stands in spec/README.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clarion import wire
from clarion.changes import NAMES, change_draft
from clarion.errors import InvalidEvent, InvalidTopic
from clarion.event import Draft, draft
from clarion.position import Position

VECTORS = Path(__file__).parents[2] / "spec" / "vectors" / "frames"
CASES = [
    pytest.param(case, id=f"{file.stem}: {case['name']}")
    for file in sorted(VECTORS.glob("*.json"))
    for case in json.loads(file.read_text(encoding="utf-8"))["cases"]
]


def _position(text: str) -> Position:
    epoch, offset = text.split("-")
    return Position(epoch, int(offset))


def _draft(event: dict[str, Any]) -> Draft:
    return draft(
        event["topic"], event.get("data"), text=event.get("text"), event=event["type"], created_ms=1_790_000_000_000
    )


def _frame(case: dict[str, Any]) -> bytes:
    if (event := case.get("event")) is not None:
        position = _position(event["position"])
        if "change" in event:
            change = change_draft(
                event["topic"],
                NAMES[event["change"]],
                event["data"],
                created_ms=1_790_000_000_000,
                event=event["type"],
            )
            return wire.event_frame(position.epoch, position.offset, change.body)
        return wire.event_frame(position.epoch, position.offset, _draft(event).body)
    if (said := case.get("connected")) is not None:
        return wire.connected(
            said["from"],
            client_id=said["clientId"],
            mode=said["mode"],
            to=_position(said["to"]),
            heartbeat_ms=said["heartbeat"],
            retry_ms=said["retry"],
            values=said["values"],
        )
    if (said := case.get("heartbeat")) is not None:
        return wire.heartbeat(said["position"], said["timestamp"])
    if (said := case.get("gap")) is not None:
        return wire.gap(
            said["position"],
            reason=said["reason"],
            requested=said["requested"],
            oldest=_position(said["oldest"]),
            missed=said["missed"],
        )
    said = case["bye"]
    position = _position(said["position"]) if "position" in said else None
    return wire.bye(said["reason"], retry_ms=said["retry"], detail=said.get("detail"), position=position)


def test_the_vectors_are_there() -> None:
    assert len(CASES) >= 81


@pytest.mark.parametrize("case", CASES)
def test_vector(case: dict[str, Any]) -> None:
    if "refused" in case:
        with pytest.raises(InvalidTopic if case["refused"] == "topic" else InvalidEvent):
            _draft(case["event"])
    else:
        assert _frame(case) == case["frame"].encode()


def test_a_long_id_of_a_stranger_is_cut() -> None:
    frame = wire.gap("k3v9-0", reason="unknown", requested="z" * 5_000, oldest=Position("k3v9", 1), missed=None)
    assert b"z" * 100 in frame
    assert b"z" * 101 not in frame


def test_only_done_carries_an_id() -> None:
    position = Position("k3v9", 4)
    assert b"id: " not in wire.bye("drain", retry_ms=1, position=position)
    assert b"id: k3v9-4.done\n" in wire.bye("done", retry_ms=1, position=position)

"""`spec/vectors/values`: what every implementation makes of changes, held against this one's reducer."""

import json
from pathlib import Path
from typing import Any

import pytest

from clarion.changes import NAMES
from clarion.errors import ValueMismatch
from clarion.parser import Parser
from clarion.position import parse
from clarion.values import MISSING, Change, Folding, applied

FOLDER = Path(__file__).parents[2] / "spec" / "vectors" / "values"
CASES = {path.stem: json.loads(path.read_text())["cases"] for path in sorted(FOLDER.glob("*.json"))}


def cases(*names: str) -> Any:
    chosen = [case for name in names for case in CASES[name]]
    return pytest.mark.parametrize("case", chosen, ids=[case["name"] for case in chosen])


def test_the_vectors_are_there_and_their_names_are_unique() -> None:
    assert set(CASES) == {"append", "merge", "refused", "set", "streams"}
    for some in CASES.values():
        assert len({case["name"] for case in some}) == len(some) >= 8


@cases("set", "append", "merge")
def test_changes_make_the_value(case: dict[str, Any]) -> None:
    value: Any = MISSING
    folding = Folding()
    is_one = True
    for one in case["changes"]:
        value = applied(value, NAMES[one["change"]], one["data"])
        is_one = is_one and folding.add(NAMES[one["change"]], one["data"])
    assert ("value" in case) == (value is not MISSING)
    assert value == case.get("value", MISSING)
    if is_one and folding.folded is not None:
        assert applied(MISSING, *folding.folded) == value


@cases("refused")
def test_what_does_not_fit_is_refused(case: dict[str, Any]) -> None:
    before = json.dumps(case["value"])
    with pytest.raises(ValueMismatch):
        applied(case["value"], NAMES[case["change"]], case["data"])
    assert json.dumps(case["value"]) == before


@cases("streams")
def test_a_stream_makes_the_values(case: dict[str, Any]) -> None:
    values: dict[str, Any] = dict(case.get("held", {}))
    reached = (0, 0)
    for message in Parser().feed(case["stream"].encode()):
        presented = parse(message.last_event_id)
        assert presented is not None
        position = (presented.position.offset, presented.told)
        if message.type == "connected" and json.loads(message.data)["values"] == "all":
            values.clear()
        if message.change is not None and position > reached:
            assert message.topic is not None
            change = NAMES[message.change]
            value = applied(values.pop(message.topic, MISSING), change, json.loads(message.data))
            if change is not Change.DELETE:
                values[message.topic] = value
        reached = max(reached, position)
    assert values == case["values"]

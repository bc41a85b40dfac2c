"""What a generation's value is, and how it grows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from clarion.errors import InvalidEvent
from clarion.generation.state import RESERVED_PARTS, GenerationState, check_part
from clarion.generation.view import view
from clarion.values import Change, Folding, applied
from clarion.work.status import COMPLETED, FAILED
from tests.unit.generated import play, scripts


def state() -> GenerationState:
    return GenerationState("msg_1", 1_790_000_000_000)


def test_it_begins_as_running_and_empty() -> None:
    assert state().value == {
        "messageId": "msg_1",
        "status": "running",
        "text": "",
        "startedAt": 1_790_000_000_000,
        "segments": [],
    }
    named = GenerationState("msg_1", 1, model="small", metadata={"asked": "why"})
    assert (named.value["model"], named.value["metadata"]) == ("small", {"asked": "why"})


def test_parts_and_tool_calls_are_told_in_the_order_in_which_they_came() -> None:
    made = state()
    made.write("reasoning", "Hm. ")
    made.write("text", "One")
    made.begin_tool_call("call_a", "weather")
    made.write_input("call_a", '{"city":')
    assert made.take() == {
        "reasoning": "Hm. ",
        "text": "One",
        "segments": [{"part": "reasoning", "from": 0}, {"part": "text", "from": 0}, {"toolCall": "call_a"}],
        "toolCalls": {"call_a": {"name": "weather", "input": '{"city":'}},
    }
    made.write_input("call_a", '"Oslo"}')
    made.answer("call_a", "output", {"celsius": 3})
    made.write("text", " two")
    made.write("title", "Beside")
    assert made.take() == {
        "text": " two",
        "title": "Beside",
        "segments": [{"part": "text", "from": 3}],
        "toolCalls": {"call_a": {"done": True, "output": {"celsius": 3}, "input": '"Oslo"}'}},
    }
    assert made.take() is None
    assert made.value["text"] == "One two"
    assert made.text("text") == "One two"


def test_the_text_is_known_before_it_is_told() -> None:
    made = state()
    made.write("text", "a")
    made.take()
    made.write("text", "b")
    assert made.text("text") == "ab"
    assert made.value["text"] == "a"


def test_it_ends_with_a_small_patch_that_says_what_is_known() -> None:
    made = state()
    made.write("text", "x" * 10_000)
    made.take()
    assert made.end(COMPLETED, 5, finishReason="stop", usage=None, error=None) == {
        "status": "completed",
        "finishReason": "stop",
        "endedAt": 5,
    }
    assert made.value["status"] == "completed"
    assert made.value["text"] == "x" * 10_000
    assert made.end(FAILED, 6, error={"code": "c"})["error"] == {"code": "c"}


@pytest.mark.parametrize("name", [*sorted(RESERVED_PARTS), "", "1st", "a-b", "a b", "x" * 65, "é", None, 3, "a\n"])
def test_a_part_cannot_have_every_name(name: Any) -> None:
    with pytest.raises(ValueError, match="part"):
        check_part(name)


def test_what_is_no_text_is_refused_and_changes_nothing() -> None:
    made = state()
    made.begin_tool_call("a", "tool")
    made.take()
    for bad in (None, 3, b"bytes", ["text"]):
        with pytest.raises(TypeError):
            made.write("text", bad)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            made.write_input("a", bad)  # type: ignore[arg-type]
    with pytest.raises(InvalidEvent):
        made.write("text", "\ud800")
    with pytest.raises(InvalidEvent):
        made.answer("a", "output", {1, object()})
    for call_id, name in (("", "t"), ("x" * 256, "t"), ("b", ""), (3, "t"), ("b", None), ("a", "again")):
        with pytest.raises(ValueError, match="tool"):
            made.begin_tool_call(call_id, name)  # type: ignore[arg-type]
    assert made.take() is None
    made.answer("a", "output", 1)
    made.take()
    with pytest.raises(ValueError, match="complete"):
        made.write_input("a", "more")
    with pytest.raises(ValueError, match="already"):
        made.answer("a", "errorText", "late")
    assert made.take() is None


@given(scripts())
def test_the_deltas_applied_one_by_one_or_folded_give_the_value(script: list[tuple[Any, ...]]) -> None:
    made = state()
    begun: Any = made.value
    value, folding = begun, Folding()
    deltas = list(play(made, script))
    for delta in deltas:
        value = applied(value, Change.APPEND, delta)
        assert folding.add(Change.APPEND, delta)  # a slow reader's backlog is always one change
    assert value == made.value
    if folding.folded is not None:
        assert applied(begun, *folding.folded) == made.value


@given(scripts())
def test_the_segments_are_the_flow_as_it_was_written(script: list[tuple[Any, ...]]) -> None:
    made = state()
    flow: list[tuple[str, str]] = []
    for action, *given_ in script:
        if action == "write" and given_[0] != "title":
            if flow and flow[-1][0] == given_[0]:
                flow[-1] = (flow[-1][0], flow[-1][1] + given_[1])
            else:
                flow.append((given_[0], given_[1]))
        elif action == "call" and ("toolCall", given_[0]) not in flow:
            flow.append(("toolCall", given_[0]))
    list(play(made, script))
    seen = view(made.value)
    assert seen is not None
    assert [(one.part, one.text if one.tool_call is None else one.tool_call.id) for one in seen.segments] == flow
    assert len({one.key for one in seen.segments}) == len(flow)
    for part in ("text", "reasoning", "refusal"):
        assert "".join(text for name, text in flow if name == part) == made.value.get(part, "")

"""Generations in the formats of others: whoever comes late, is slow or comes back is told the same in the end."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.generation.formats.ai_sdk import UIMessageStream
from clarion.generation.formats.base import Encoder
from clarion.generation.formats.openai import ChatCompletion
from clarion.generation.state import GenerationState
from clarion.generation.view import View, view
from clarion.work.status import CANCELLED, COMPLETED, FAILED, LOST
from tests.unit.generated import Completion, UIMessage, frames_of, play, scripts

ENCODERS = (UIMessageStream(5), UIMessageStream(6), UIMessageStream(7), ChatCompletion())
CHUNK_TYPES_OF_5 = set(
    "start start-step finish-step text-start text-delta text-end reasoning-start reasoning-delta reasoning-end "
    "tool-input-start tool-input-delta tool-input-available tool-input-error tool-output-available tool-output-error "
    "data-title finish error abort".split()
)


def seen(value: Any) -> View:
    found = view(copy.deepcopy(value))
    assert found is not None
    return found


def history(script: list[tuple[Any, ...]], status: str = COMPLETED, **facts: Any) -> list[View]:
    """A generation as it is after each of its changes."""
    state = GenerationState("msg_1", 1_790_000_000_000)
    views = [seen(state.value)]
    views += [seen(state.value) for _ in play(state, script)]
    state.end(status, 1_790_000_009_000, **facts)
    return [*views, seen(state.value)]


def told(encoder: Encoder, views: list[View]) -> bytes:
    """All that one is told who looks at these moments."""
    data, known = b"", None
    for index, one in enumerate(views):
        made = encoder.frames(known, one)
        data, known = data + made.data, made.told
        assert made.ended == (index == len(views) - 1)
    return data


def reader_of(encoder: Encoder) -> UIMessage | Completion:
    return UIMessage() if isinstance(encoder, UIMessageStream) else Completion()


def read(encoder: Encoder, data: bytes) -> dict[str, Any]:
    """What a client has in the end."""
    reader = reader_of(encoder)
    reader.feed(data)
    assert reader.done
    return {name: found for name, found in vars(reader).items() if not name.startswith("_")}


def without_steps(found: dict[str, Any]) -> dict[str, Any]:
    """Where a step begins depends on when a tool's answer came; for who saw it late, there may be more of them."""
    if "parts" in found:
        found["parts"] = [part for part in found["parts"] if part["type"] != "step"]
    return found


@pytest.mark.parametrize("encoder", ENCODERS, ids=str)
@given(script=scripts(), chance=st.randoms(use_true_random=False))
def test_whoever_looks_when_ends_up_with_the_same(
    encoder: Encoder, script: list[tuple[Any, ...]], chance: random.Random
) -> None:
    views = history(script)
    whole = without_steps(read(encoder, told(encoder, views)))
    late = without_steps(read(encoder, told(encoder, views[-1:])))
    looks = [one for one in views[:-1] if chance.random() < 0.5]
    some = without_steps(read(encoder, told(encoder, [*looks, views[-1]])))
    assert whole == late == some


@pytest.mark.parametrize("encoder", ENCODERS, ids=str)
@given(script=scripts())
def test_all_that_was_written_is_told(encoder: Encoder, script: list[tuple[Any, ...]]) -> None:
    views = history(script)
    found = read(encoder, told(encoder, views))
    last = views[-1]
    if isinstance(encoder, ChatCompletion):
        names = {"text": "content", "reasoning": "reasoning_content", "refusal": "refusal"}
        assert {part: found["texts"].get(name, "") for part, name in names.items()} == {
            part: last.texts.get(part, "") for part in names
        }
        assert [(call["id"], call["arguments"]) for call in found["calls"]] == [
            (call.id, call.input) for call in last.tool_calls
        ]
        assert found["ids"] == {"chatcmpl-msg_1"}
    else:
        assert found["id"] == "msg_1"
        flow = [part for part in found["parts"] if part["type"] in ("text", "reasoning", "tool")]
        assert [part.get("text", part.get("raw")) for part in flow] == [one.text for one in last.segments]
        assert all(part.get("state") != "streaming" for part in flow)


@pytest.mark.parametrize("encoder", ENCODERS[:3], ids=str)
@given(script=scripts(), status=st.sampled_from([COMPLETED, FAILED, CANCELLED, LOST]))
def test_no_version_of_the_sdk_gets_a_chunk_that_it_does_not_know(
    encoder: UIMessageStream, script: list[tuple[Any, ...]], status: str
) -> None:
    chunks = [one for one in frames_of(told(encoder, history(script, status))) if one != "[DONE]"]
    assert {chunk["type"] for chunk in chunks} <= CHUNK_TYPES_OF_5
    reasons = {chunk["finishReason"] for chunk in chunks if chunk["type"] == "finish"}
    known = {"stop", "length", "content-filter", "tool-calls", "error", "other"}
    assert reasons <= (known if encoder.sdk_version < 7 else known | {"interrupted"})


def test_a_late_reader_of_a_long_text_is_told_little_more_than_the_text() -> None:
    chance = random.Random(1)
    words = [("write", "text", " " + "".join(chance.choices("abcdefghij", k=4))) for _ in range(2_000)]
    state = GenerationState("msg_0123456789abcdef01234567", 1_790_000_000_000)
    for _ in play(state, [step for word in words for step in (word, ("take",))]):
        pass
    size = len(state.value["text"].encode())
    assert len(json.dumps(state.value).encode()) <= 1.2 * size  # Clarion's own frame
    for encoder in ENCODERS:
        assert len(encoder.frames(None, seen(state.value)).data) <= 1.2 * size


@pytest.mark.parametrize(
    ("status", "openai", "ai_sdk"),
    [
        (
            FAILED,
            {"message": "No paper.", "type": "failed", "param": None, "code": "paper"},
            [{"type": "error", "errorText": "No paper."}],
        ),
        (
            CANCELLED,
            {"message": "The generation was cancelled.", "type": "cancelled", "param": None, "code": "cancelled"},
            [{"type": "abort", "reason": "cancelled"}],
        ),
        (
            LOST,
            {"message": "The generation broke off.", "type": "lost", "param": None, "code": "lost"},
            [
                {"type": "finish", "finishReason": "interrupted"},
                {"type": "error", "errorText": "The generation broke off."},
            ],
        ),
    ],
)
def test_what_did_not_end_well_does_not_look_as_if_it_had(status: str, openai: Any, ai_sdk: Any) -> None:
    error = {"code": "paper", "message": "No paper.", "ref": "1"} if status == FAILED else None
    views = history([("write", "text", "Half")], status, error=error)
    assert read(ChatCompletion(), told(ChatCompletion(), views))["end"] == [openai]
    assert read(UIMessageStream(7), told(UIMessageStream(7), views))["end"] == ai_sdk


def test_older_versions_of_the_sdk_are_told_the_end_in_their_words() -> None:
    lost = history([], LOST)
    assert read(UIMessageStream(6), told(UIMessageStream(6), lost))["end"] == [
        {"type": "error", "errorText": "The generation broke off."}
    ]
    cancelled = history([], CANCELLED)
    assert read(UIMessageStream(5), told(UIMessageStream(5), cancelled))["end"] == [{"type": "abort"}]


@pytest.mark.parametrize("encoder", ENCODERS, ids=str)
def test_who_watched_a_generation_is_not_told_of_the_next_one(encoder: Encoder) -> None:
    first, other = GenerationState("msg_1", 1), GenerationState("msg_2", 2)
    first.write("text", "one")
    first.take()
    other.write("text", "another")
    other.take()
    made = encoder.frames(None, seen(first.value))
    over = encoder.frames(made.told, seen(other.value))
    assert over.ended
    assert b"another" not in over.data
    reader = reader_of(encoder)
    reader.feed(made.data + over.data)
    assert reader.done
    assert json.dumps(reader.end).count("cancelled") or reader.end == [{"type": "abort"}]


@pytest.mark.parametrize("encoder", ENCODERS, ids=str)
def test_a_value_that_is_taken_away_ends_the_stream_as_lost(encoder: Encoder) -> None:
    made = encoder.frames(None, seen(GenerationState("msg_1", 1).value))
    over = encoder.frames(made.told, None)
    assert over.ended
    assert b"broke off" in over.data


def test_why_a_model_stopped() -> None:
    call = [("call", "a"), ("end", "a")]
    for script, reason, openai, ai_sdk in (
        ([], "stop", "stop", "stop"),
        ([], "length", "length", "length"),
        ([], "content-filter", "content_filter", "content-filter"),
        (call, "tool-calls", "tool_calls", "tool-calls"),
        (call, None, "tool_calls", "tool-calls"),
        ([*call, ("output", "a", 1)], None, "stop", "stop"),
        ([], "strange", "stop", "other"),
        ([], None, "stop", "stop"),
    ):
        views = history(script, finishReason=reason)
        assert read(ChatCompletion(), told(ChatCompletion(), views))["end"] == [openai]
        (end,) = read(UIMessageStream(5), told(UIMessageStream(5), views))["end"]
        assert end == {"type": "finish", "finishReason": ai_sdk}


def test_the_usage_comes_last_for_who_wants_it() -> None:
    views = history([], usage={"inputTokens": 3, "outputTokens": 4})
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    wanted = ChatCompletion(include_usage=True)
    assert read(wanted, told(wanted, views))["end"] == ["stop", usage]


def test_the_model_is_named() -> None:
    state = GenerationState("msg_1", 1_790_000_000_500, model="small")
    for encoder, name in ((ChatCompletion(), "small"), (ChatCompletion("large"), "large")):
        (chunk,) = frames_of(encoder.frames(None, seen(state.value)).data)
        assert (chunk["model"], chunk["created"], chunk["object"]) == (name, 1_790_000_000, "chat.completion.chunk")


def test_a_step_ends_when_a_model_goes_on_with_the_answers_of_its_tools() -> None:
    script = [("write", "text", "See"), ("call", "1"), ("call", "b"), ("end", "1"), ("end", "b"), ("take",)]
    answered = [("output", "1", 1), ("output", "b", 2), ("write", "text", "So")]
    encoder = UIMessageStream(5)
    kinds = [part["type"] for part in read(encoder, told(encoder, history([*script, *answered])))["parts"]]
    assert kinds == ["step", "text", "tool", "tool", "step", "text"]
    half = history([*script, ("output", "1", 1), ("write", "text", "So")])  # the other answer may still come
    kinds = [part["type"] for part in read(encoder, told(encoder, half))["parts"]]
    assert kinds == ["step", "text", "tool", "tool", "text"]


def test_a_tool_call_whose_input_is_no_json_is_told_as_an_error() -> None:
    encoder = UIMessageStream(5)
    views = history([("call", "a"), ("input", "a", "{no"), ("end", "a"), ("call", "b")])
    first, second = [part for part in read(encoder, told(encoder, views))["parts"] if part["type"] == "tool"]
    assert (first["state"], first["input"]) == ("tool-input-error", "{no")
    assert (second["state"], second["input"]) == ("tool-input-available", {})


def test_a_tool_that_failed_is_told() -> None:
    state = GenerationState("msg_1", 1)
    state.begin_tool_call("a", "weather")
    state.answer("a", "errorText", "no wind")
    state.take()
    reader = UIMessage()
    reader.feed(UIMessageStream(5).frames(None, seen(state.value)).data)
    assert (reader.parts[1]["state"], reader.parts[1]["errorText"]) == ("tool-output-error", "no wind")


def test_the_metadata_comes_with_the_start() -> None:
    state = GenerationState("msg_1", 1, metadata={"asked": "why"})
    start = frames_of(UIMessageStream(5).frames(None, seen(state.value)).data)[0]
    assert start == {"type": "start", "messageId": "msg_1", "messageMetadata": {"asked": "why"}}


def test_the_version_is_one_that_there_is() -> None:
    assert UIMessageStream(6).headers == {"x-vercel-ai-ui-message-stream": "v1"}
    with pytest.raises(ValueError, match="sdk_version"):
        UIMessageStream(4)

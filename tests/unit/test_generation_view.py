"""Values read as generations: also those that somebody else made."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from clarion.generation.formats.ai_sdk import UIMessageStream
from clarion.generation.formats.openai import ChatCompletion
from clarion.generation.view import view
from tests.unit.generated import Completion, UIMessage

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
members = st.fixed_dictionaries(
    {"messageId": st.just("m"), "status": st.sampled_from(["running", "completed", "failed", "lost", "odd"])},
    optional={
        "text": anything | st.just("some text"),
        "reasoning": anything | st.just("thought"),
        "title": anything,
        "segments": anything
        | st.lists(
            st.fixed_dictionaries(
                {}, optional={"part": st.sampled_from(["text", "reasoning", "x", 1]), "from": st.integers(-2, 12)}
            )
            | st.fixed_dictionaries({"toolCall": st.sampled_from(["a", "b", 3])}),
            max_size=5,
        ),
        "toolCalls": anything
        | st.dictionaries(
            st.sampled_from(["a", "b"]),
            anything
            | st.fixed_dictionaries(
                {}, optional={"name": anything, "input": anything, "done": anything, "output": anything}
            ),
        ),
        "metadata": anything,
        "usage": anything,
        "error": anything,
        "startedAt": anything,
        "endedAt": anything,
        "finishReason": anything,
        "model": anything,
    },
)


@given(anything)
def test_any_value_is_a_generation_or_none(value: Any) -> None:
    view(value)


@given(members)
def test_any_members_can_be_told_in_every_format(value: dict[str, Any]) -> None:
    seen = view(value)
    assert seen is not None
    client, completion = UIMessage(), Completion()
    client.feed(UIMessageStream(7).frames(None, seen).data)
    completion.feed(ChatCompletion().frames(None, seen).data)
    assert client.done == completion.done == (value["status"] not in ("running", "odd"))


def test_a_value_made_by_hand_needs_no_segments() -> None:
    seen = view({"messageId": "m", "status": "running", "text": "Hello", "reasoning": "Hm"})
    assert seen is not None
    assert [(one.part, one.text, one.settled) for one in seen.segments] == [
        ("text", "Hello", False),  # both may still grow
        ("reasoning", "Hm", False),
    ]


def test_what_is_none() -> None:
    for value in (None, 3, "text", [], {}, {"status": "running"}, {"messageId": "m"}, {"messageId": "", "status": "x"}):
        assert view(value) is None


def test_the_lost_say_when_by_another_name() -> None:
    seen = view({"messageId": "m", "status": "lost", "updatedAt": 7})
    assert seen is not None
    assert seen.ended_ms == 7

"""Generations for tests: a random writer, and readers of the formats that judge what they are told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import strategies as st

from clarion.generation.state import GenerationState
from clarion.parser import Message, Parser

Action = Callable[[GenerationState], int]

# Text with line ends, quotes, and characters of two, three and four bytes.
texts = st.text(alphabet='ab \n\r"\\{}é€\u2028\U0001f976', min_size=1, max_size=8)


def scripts(max_size: int = 25) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """What a writer does: parts, tool calls, and moments in which a delta is taken."""
    parts = st.sampled_from(["text", "reasoning", "refusal", "title"])
    calls = st.sampled_from(["1", "call_a", "b"])
    action = st.one_of(
        st.tuples(st.just("write"), parts, texts),
        st.tuples(st.just("call"), calls),
        st.tuples(st.just("input"), calls, texts),
        st.tuples(st.just("end"), calls),
        st.tuples(st.just("output"), calls, st.sampled_from([None, 3, {"a": [1]}])),
        st.tuples(st.just("take")),
    )
    return st.lists(action, max_size=max_size)


def play(state: GenerationState, script: Iterable[tuple[Any, ...]]) -> Iterable[dict[str, Any]]:
    """Have the state written to; yields the deltas. What a call does not allow any more is passed over."""
    begun: dict[str, str] = {}
    for action, *given in script:
        match action:
            case "write":
                state.write(*given)
            case "take":
                if (delta := state.take()) is not None:
                    yield delta
            case "call" if given[0] not in begun:
                begun[given[0]] = "open"
                state.begin_tool_call(given[0], f"tool {given[0]}")
            case "input" if begun.get(given[0]) == "open":
                state.write_input(*given)
            case "end" if begun.get(given[0]) == "open":
                begun[given[0]] = "complete"
                state.end_input(given[0])
            case "output" if begun.get(given[0]) in ("open", "complete"):
                begun[given[0]] = "answered"
                state.answer(given[0], "output", given[1])
    if (delta := state.take()) is not None:
        yield delta


def frames_of(data: bytes) -> list[Any]:
    """The SSE frames of a response, each as what its JSON says, or as its text."""
    found: list[Message] = list(Parser().feed(data))
    return [told if (told := one.data) == "[DONE]" else json.loads(told) for one in found]


class UIMessage:
    """An AI SDK client, in short: it is as strict about the order of chunks as the real one, and keeps the parts."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.parts: list[dict[str, Any]] = []
        self.end: list[dict[str, Any]] = []
        self.done = False
        self._active: dict[str, dict[str, Any]] = {}
        self._tools: dict[str, dict[str, Any]] = {}

    def feed(self, data: bytes) -> None:
        for chunk in frames_of(data):
            assert not self.done
            if chunk == "[DONE]":
                self.done = True
            else:
                self._take(dict(chunk))

    def _take(self, chunk: dict[str, Any]) -> None:
        kind = chunk.pop("type")
        if kind == "start":
            assert self.id is None
            self.id = chunk["messageId"]
        elif kind in ("text-start", "reasoning-start"):
            assert chunk["id"] not in self._active
            part = self._active[chunk["id"]] = {"type": kind[:-6], "text": "", "state": "streaming"}
            self.parts.append(part)
        elif kind in ("text-delta", "reasoning-delta"):
            assert chunk["delta"]
            self._active[chunk["id"]]["text"] += chunk["delta"]
        elif kind in ("text-end", "reasoning-end"):
            self._active.pop(chunk["id"])["state"] = "done"
        elif kind == "start-step":
            self.parts.append({"type": "step"})
        elif kind == "finish-step":
            assert not self._active
        elif kind.startswith("tool-"):
            self._tool(kind, chunk)
        elif kind.startswith("data-"):
            self.parts.append({"type": kind, **chunk})
        else:
            assert kind in ("finish", "error", "abort")
            self.end.append({"type": kind, **chunk})

    def _tool(self, kind: str, chunk: dict[str, Any]) -> None:
        call_id = chunk.pop("toolCallId")
        if kind == "tool-input-start":
            assert call_id not in self._tools
            self._tools[call_id] = {
                "type": "tool",
                "id": call_id,
                "name": chunk["toolName"],
                "raw": "",
                "state": "input",
            }
            self.parts.append(self._tools[call_id])
        tool = self._tools[call_id]
        if kind == "tool-input-delta":
            assert tool["state"] == "input"
            tool["raw"] += chunk["inputTextDelta"]
        elif kind in ("tool-input-available", "tool-input-error"):
            assert tool["state"] == "input"
            tool |= {"state": kind, "input": chunk["input"]}
        elif kind in ("tool-output-available", "tool-output-error"):
            assert tool["state"].startswith("tool-input-")
            tool |= {"state": kind, **chunk}


class Completion:
    """An OpenAI client, in short."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.calls: list[dict[str, str]] = []
        self.ids: set[str] = set()
        self.end: list[Any] = []
        self.done = False

    def feed(self, data: bytes) -> None:
        for chunk in frames_of(data):
            assert not self.done
            if chunk == "[DONE]":
                self.done = True
            elif "error" in chunk:
                self.end.append(chunk["error"])
            elif not chunk["choices"]:
                self.end.append(chunk["usage"])
            else:
                self._take(chunk)

    def _take(self, chunk: dict[str, Any]) -> None:
        self.ids.add(chunk["id"])
        (choice,) = chunk["choices"]
        if choice["finish_reason"] is not None:
            self.end.append(choice["finish_reason"])
        delta = choice["delta"]
        assert self.texts or delta == {"role": "assistant", "content": ""}
        for name, told in delta.items():
            if name == "tool_calls":
                for call in told:
                    if call["index"] == len(self.calls):
                        self.calls.append({"id": call["id"], "name": call["function"]["name"], "arguments": ""})
                    self.calls[call["index"]]["arguments"] += call["function"]["arguments"]
            elif name != "role":
                self.texts[name] = self.texts.get(name, "") + told

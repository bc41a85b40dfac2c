"""The UI message stream (v1) of the AI SDK, versions 5 to 7: `useChat` reads a generation unmodified. Pure.

Text, reasoning and tool calls come in the order of the generation's `segments`, and a new step begins where a model
goes on after the answers of its tools; other named parts come as `data-NAME` when the generation ends. A viewer that
comes again gets the whole message again, under the same id; that is how the SDK resumes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final, NamedTuple

from clarion import json
from clarion.generation.formats.base import DONE, Frames, frame
from clarion.generation.state import FINISH_REASONS
from clarion.generation.view import Segment, ToolCall, View
from clarion.work.status import CANCELLED, COMPLETED, FAILED, LOST

HEADERS: Final = {"x-vercel-ai-ui-message-stream": "v1"}
SDK_VERSIONS: Final = (5, 6, 7)

_REASONING: Final = "reasoning"
_SENTENCES: Final = {FAILED: "The text could not be generated.", LOST: "The generation broke off."}


class Stage(NamedTuple):
    """What a viewer was told of a segment. chars: of its text or input. closed: that it is complete. answered: the
    tool's answer."""

    chars: int = 0
    closed: bool = False
    answered: bool = False


class Told(NamedTuple):
    """What a viewer was told."""

    message_id: str
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class UIMessageStream:
    """See `clarion.generation.formats.base.Encoder`. sdk_version: the major version of the reader's `ai` package."""

    sdk_version: int = 5

    def __post_init__(self) -> None:
        if self.sdk_version not in SDK_VERSIONS:
            raise ValueError(f"sdk_version must be 5, 6 or 7, not {self.sdk_version!r}")

    @property
    def headers(self) -> Mapping[str, str]:
        return HEADERS

    @property
    def keep_alive(self) -> bytes:
        return b": keep-alive\n\n"

    def frames(self, told: Told | None, view: View | None) -> Frames:
        chunks: list[dict[str, Any]] = []
        if view is None:
            return self._over(told, self._failed(LOST, None))
        if told is None:
            start: dict[str, Any] = {"type": "start", "messageId": view.message_id}
            if view.metadata is not None:
                start["messageMetadata"] = view.metadata
            chunks += [start, {"type": "start-step"}]
            told = Told(view.message_id, ())
        elif told.message_id != view.message_id:  # another generation has taken its place
            return self._over(told, self._aborted())
        stages: list[Stage] = []
        for index, segment in enumerate(view.segments):
            known = told.stages[index] if index < len(told.stages) else None
            if known is None and _begins_step(view.segments[:index], segment):
                chunks += [{"type": "finish-step"}, {"type": "start-step"}]
            if segment.tool_call is None:
                stages.append(_text(segment, known, view.ended or segment.settled, chunks))
            else:
                stages.append(_tool_call(segment.tool_call, known, chunks))
        if view.ended:
            chunks += [{"type": f"data-{name}", "id": name, "data": part} for name, part in view.extras.items()]
            chunks += self._end(view)
        data = b"".join(map(frame, chunks))
        return Frames(data + DONE if view.ended else data, Told(view.message_id, tuple(stages)), view.ended)

    def _end(self, view: View) -> list[dict[str, Any]]:
        if view.status == COMPLETED:
            reason = view.finish_reason
            if reason is None:
                reason = "tool-calls" if any(call.answer is None for call in view.tool_calls) else "stop"
            finish = {"type": "finish", "finishReason": reason if reason in FINISH_REASONS else "other"}
            return [{"type": "finish-step"}, finish]
        if view.status == CANCELLED:
            return self._aborted()
        return self._failed(view.status, view.error_message)

    def _failed(self, status: str, message: str | None) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        if status == LOST and self.sdk_version >= 7:
            told.append({"type": "finish", "finishReason": "interrupted"})  # older ones do not know the word
        told.append({"type": "error", "errorText": message or _SENTENCES[status]})
        return told

    def _aborted(self) -> list[dict[str, Any]]:
        abort: dict[str, Any] = {"type": "abort"}
        if self.sdk_version >= 6:
            abort["reason"] = CANCELLED
        return [abort]

    def _over(self, told: Told | None, chunks: list[dict[str, Any]]) -> Frames:
        return Frames(b"".join(map(frame, chunks)) + DONE, told, True)


def _begins_step(before: Sequence[Segment], segment: Segment) -> bool:
    """Whether a model goes on here with the answers of its tools. Until all are there, the step that called them is
    open: parts of an older step cannot be changed."""
    calls = [one.tool_call for one in takewhile(lambda one: one.tool_call is not None, reversed(before))]
    if segment.tool_call is not None or not calls:
        return False
    return all(call is not None and call.done and call.answer is not None for call in calls)


def _text(segment: Segment, known: Stage | None, complete: bool, chunks: list[dict[str, Any]]) -> Stage:
    """Text or reasoning; a refusal is text to the people who read it."""
    kind = _REASONING if segment.part == _REASONING else "text"
    if known is None:
        chunks.append({"type": f"{kind}-start", "id": segment.key})
        known = Stage()
    if len(segment.text) > known.chars:
        chunks.append({"type": f"{kind}-delta", "id": segment.key, "delta": segment.text[known.chars :]})
    if complete and not known.closed:
        chunks.append({"type": f"{kind}-end", "id": segment.key})
    return Stage(len(segment.text), complete)


def _tool_call(call: ToolCall, known: Stage | None, chunks: list[dict[str, Any]]) -> Stage:
    if known is None:
        chunks.append({"type": "tool-input-start", "toolCallId": call.id, "toolName": call.name})
        known = Stage()
    if len(call.input) > known.chars:
        delta = call.input[known.chars :]
        chunks.append({"type": "tool-input-delta", "toolCallId": call.id, "inputTextDelta": delta})
    if call.done and not known.closed:
        chunks.append(_tool_input(call))
    answered = call.done and call.answer is not None
    if answered and not known.answered:
        assert call.answer is not None
        name, result = call.answer
        kind = "tool-output-available" if name == "output" else "tool-output-error"
        chunks.append({"type": kind, "toolCallId": call.id, name: result})
    return Stage(len(call.input), call.done, answered)


def _tool_input(call: ToolCall) -> dict[str, Any]:
    told: dict[str, Any] = {"type": "tool-input-available", "toolCallId": call.id, "toolName": call.name}
    try:
        told["input"] = json.decode(call.input) if call.input.strip() else {}
    except ValueError:
        told |= {"type": "tool-input-error", "input": call.input, "errorText": "The tool's input is not JSON."}
    return told

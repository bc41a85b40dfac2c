"""Chat completion chunks, as OpenAI's API streams them: any OpenAI client reads a generation. Pure.

`reasoning` is told as `reasoning_content`, as most servers that speak this format do; other named parts have no place
in it. What did not end well is told as an error in the stream, which clients raise: a clean end would look complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from clarion.generation.formats.base import DONE, Frames, frame
from clarion.generation.view import View
from clarion.work.status import CANCELLED, COMPLETED, FAILED, LOST

DELTAS: Final = {"reasoning": "reasoning_content", "text": "content", "refusal": "refusal"}
FINISH_REASONS: Final = {"length": "length", "content-filter": "content_filter", "tool-calls": "tool_calls"}
DEFAULT_MODEL: Final = "generation"  # told where nobody named one; clients want some text there

_SENTENCES: Final = {
    FAILED: "The text could not be generated.",
    CANCELLED: "The generation was cancelled.",
    LOST: "The generation broke off.",
}


class Told(NamedTuple):
    """What a viewer was told. chars: of each part in the order of `DELTAS`. inputs: characters of each tool call's."""

    message_id: str
    chars: tuple[int, ...]
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class ChatCompletion:
    """See `clarion.generation.formats.base.Encoder`.

    model: told instead of the generation's own. include_usage: a last chunk with the usage, as `stream_options` ask.
    """

    model: str | None = None
    include_usage: bool = False

    @property
    def headers(self) -> Mapping[str, str]:
        return {}

    @property
    def keep_alive(self) -> bytes:
        return b": keep-alive\n\n"

    def frames(self, told: Told | None, view: View | None) -> Frames:
        chunks: list[dict[str, Any]] = []
        if view is None:
            return Frames(_error(LOST, None, None) + DONE, told, True)
        if told is None:
            chunks.append({"role": "assistant", "content": ""})
            told = Told(view.message_id, (0,) * len(DELTAS), ())
        elif told.message_id != view.message_id:  # another generation has taken its place
            return Frames(_error(CANCELLED, None, None) + DONE, told, True)
        chars = []
        for (part, name), known in zip(DELTAS.items(), told.chars, strict=True):
            text = view.texts.get(part, "")
            if len(text) > known:
                chunks.append({name: text[known:]})
            chars.append(len(text))
        inputs = []
        for index, call in enumerate(view.tool_calls):
            if index >= len(told.inputs):
                function = {"name": call.name, "arguments": call.input}
                chunks.append(
                    {"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]}
                )
            elif len(call.input) > told.inputs[index]:
                function = {"arguments": call.input[told.inputs[index] :]}
                chunks.append({"tool_calls": [{"index": index, "function": function}]})
            inputs.append(len(call.input))
        data = b"".join([self._chunk(view, delta) for delta in chunks])
        if view.ended:
            data += self._end(view)
        return Frames(data, Told(view.message_id, tuple(chars), tuple(inputs)), view.ended)

    def _end(self, view: View) -> bytes:
        if view.status != COMPLETED:
            return _error(view.status, view.error_code, view.error_message) + DONE
        reason = FINISH_REASONS.get(view.finish_reason or "", "stop")
        if view.finish_reason is None and any(call.answer is None for call in view.tool_calls):
            reason = "tool_calls"
        data = self._chunk(view, {}, reason)
        if self.include_usage:
            sent, received = view.usage.get("inputTokens", 0), view.usage.get("outputTokens", 0)
            usage = {
                "prompt_tokens": sent,
                "completion_tokens": received,
                "total_tokens": view.usage.get("totalTokens", sent + received),
            }
            data += frame({**self._head(view), "choices": [], "usage": usage})
        return data + DONE

    def _head(self, view: View) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{view.message_id}",
            "object": "chat.completion.chunk",
            "created": view.started_ms // 1000,
            "model": self.model or view.model or DEFAULT_MODEL,
        }

    def _chunk(self, view: View, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return frame({**self._head(view), "choices": [choice]})


def _error(status: str, code: str | None, message: str | None) -> bytes:
    """An error in the stream. Its message was made to be shown to people (`clarion.work`)."""
    told = message or _SENTENCES[status]
    return frame({"error": {"message": told, "type": status, "param": None, "code": code or status}})

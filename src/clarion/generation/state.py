"""What a generation's value is, and how it changes. Pure.

    {"messageId": "msg_...", "status": "running", "text": "Let me see.", "startedAt": 1790000000000,
     "segments": [{"part": "reasoning", "from": 0}, {"part": "text", "from": 0}, {"toolCall": "call_1"}],
     "reasoning": "...", "toolCalls": {"call_1": {"name": "weather", "input": "{\\"city\\":\\"Oslo\\"}", "done": true}}}

It begins with a `set`, grows by `append` alone (so whatever waits for a slow reader folds into one `append`), and ends
with one small `merge`. `segments` says in which order the parts of one flow came: `text`, `reasoning`, `refusal` and
tool calls; `from` counts characters (Unicode code points) of the part. Other named parts stand beside `text` and have
no place in that order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from clarion import json
from clarion.errors import InvalidEvent
from clarion.values import Change, applied
from clarion.work.status import RUNNING

EVENT_TYPE: Final = "generation"  # of the value: frames are `generation`, `generation.append`, `generation.merge`

# Why a model stopped, where it is said; the same words as in the AI SDK.
FINISH_REASONS: Final = frozenset({"stop", "length", "content-filter", "tool-calls", "other"})

FLOW_PARTS: Final = ("text", "reasoning", "refusal")
RESERVED_PARTS: Final = frozenset(
    {
        "messageId", "status", "model", "metadata", "segments", "toolCalls", "finishReason", "usage", "error",
        "startedAt", "endedAt",
    }
)  # fmt: skip
MAX_NAME_CHARS: Final = 255  # of a tool's name and a call's id: what vendors use is far below

_PART_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_TOOL_CALL_BYTES: Final = 64  # what the JSON around a new tool call has, about


class GenerationState:
    """The value of one generation: what was written, and what of it is still to be told.

    message_id: the generation's own id, the same in every format. metadata: the app's own, any JSON object.
    Everything that is written returns how many bytes it adds, about; what is refused changes nothing.
    """

    def __init__(
        self,
        message_id: str,
        started_ms: int,
        *,
        model: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.value: dict[str, Any] = {"messageId": message_id, "status": RUNNING, "text": "", "startedAt": started_ms}
        if model is not None:
            self.value["model"] = model
        if metadata is not None:
            self.value["metadata"] = dict(metadata)
        self.value["segments"] = []
        self._texts: dict[str, list[str]] = {}
        self._segments: list[dict[str, Any]] = []
        self._tool_calls: dict[str, dict[str, Any]] = {}
        self._inputs: dict[str, list[str]] = {}
        self._chars: dict[str, int] = {}
        self._done: dict[str, bool] = {}  # tool calls, and whether their input is complete
        self._answered: set[str] = set()
        self._open: str | None = None  # the part of the flow that is being written

    def text(self, part: str) -> str:
        """All that was written of a part, told or not."""
        told: str = self.value.get(part, "")
        return told + "".join(self._texts.get(part, ()))

    def write(self, part: str, text: str) -> int:
        """More of a part. Raises `InvalidEvent` for text that is not valid Unicode."""
        size = text_bytes(text)
        if not text:
            return 0
        if part in FLOW_PARTS and self._open != part:
            self._segments.append({"part": part, "from": self._chars.get(part, 0)})
            self._open = part
        self._texts.setdefault(part, []).append(text)
        self._chars[part] = self._chars.get(part, 0) + len(text)
        return size

    def begin_tool_call(self, call_id: str, name: str) -> int:
        """A tool is called; its input follows. Raises `ValueError` for an id that is in use or names too long."""
        for what, told in (("a tool call's id", call_id), ("a tool's name", name)):
            if not isinstance(told, str) or not 0 < len(told) <= MAX_NAME_CHARS:
                raise ValueError(f"{what} must be text of 1 to {MAX_NAME_CHARS} characters, not {told!r:.80}")
        if call_id in self._done:
            raise ValueError(f"there is a tool call {call_id!r} already; each needs an id of its own")
        size = _TOOL_CALL_BYTES + text_bytes(call_id) + text_bytes(name)
        self._done[call_id] = False
        self._open = None
        self._segments.append({"toolCall": call_id})
        self._tool_calls[call_id] = {"name": name}
        self._inputs[call_id] = [""]
        return size

    def write_input(self, call_id: str, text: str) -> int:
        """More of a tool call's input, which is JSON in the end. Raises `ValueError` once it is complete."""
        size = text_bytes(text)
        if self._done[call_id]:
            raise ValueError(f"the input of tool call {call_id!r} is complete; nothing can be added to it")
        self._inputs.setdefault(call_id, []).append(text)
        return size

    def end_input(self, call_id: str) -> int:
        """A tool call's input is complete. Twice is once."""
        if self._done[call_id]:
            return 0
        self._done[call_id] = True
        self._tool_calls.setdefault(call_id, {})["done"] = True
        return len('"done":true')

    def answer(self, call_id: str, name: str, result: Any) -> int:
        """What a tool gave (`output`), or what is told of its failure (`errorText`); once for each call.

        Raises `ValueError` the second time, `InvalidEvent` for what JSON cannot say.
        """
        if call_id in self._answered:
            raise ValueError(f"tool call {call_id!r} has its output already")
        encoded = json.encode(result)
        size = self.end_input(call_id) + len(encoded)
        self._answered.add(call_id)
        self._tool_calls.setdefault(call_id, {})[name] = json.decode(encoded)
        return size

    def take(self) -> dict[str, Any] | None:
        """All that was written since the last time, as what is to be appended to the value; None if nothing was."""
        delta: dict[str, Any] = {part: "".join(pieces) for part, pieces in self._texts.items()}
        if self._segments:
            delta["segments"] = self._segments
        for call_id, pieces in self._inputs.items():
            self._tool_calls.setdefault(call_id, {})["input"] = "".join(pieces)
        if self._tool_calls:
            delta["toolCalls"] = self._tool_calls
        if not delta:
            return None
        self._texts, self._segments, self._tool_calls, self._inputs = {}, [], {}, {}
        self.value = applied(self.value, Change.APPEND, delta)
        return delta

    def end(self, status: str, ended_ms: int, **facts: Any) -> dict[str, Any]:
        """The patch that ends it; `facts` that are None are not said."""
        patch = {"status": status, **{name: fact for name, fact in facts.items() if fact is not None}}
        patch["endedAt"] = ended_ms
        self.value = applied(self.value, Change.MERGE, patch)
        return patch


def check_part(name: object) -> str:
    """Return `name` if a part may be called so; else raise `ValueError`."""
    if not isinstance(name, str) or not _PART_NAME.fullmatch(name):
        raise ValueError(f"a part is named by a letter and up to 63 letters, digits and _, not {name!r:.80}")
    if name in RESERVED_PARTS:
        raise ValueError(f"a part cannot be named {name!r}: the value has a member of that name")
    return name


def text_bytes(text: object) -> int:
    """How many bytes a text has. Raises `TypeError` for what is none, `InvalidEvent` for a lone surrogate."""
    if not isinstance(text, str):
        raise TypeError(f"text must be text, not {type(text).__name__}")
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise InvalidEvent("the text is not valid Unicode (it holds a lone surrogate)") from None

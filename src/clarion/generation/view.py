"""A generation's value as those who tell it in another format read it. Pure.

Values come from a journal that other processes write to: a member of a kind that it cannot have counts as absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from clarion.generation.state import FLOW_PARTS, RESERVED_PARTS
from clarion.work.status import COMPLETED, ENDED

_NOT_PARTS: Final = RESERVED_PARTS | frozenset(FLOW_PARTS)


class ToolCall(NamedTuple):
    """A tool call so far. input: JSON text. done: it is all. answer: what the tool gave, `output` or `errorText`."""

    id: str
    name: str
    input: str
    done: bool
    answer: tuple[str, Any] | None


class Segment(NamedTuple):
    """One piece of the flow: a run of one part, or a tool call.

    key: unlike all others of the generation. settled: its text grows no more, since something else followed.
    """

    key: str
    part: str
    text: str
    settled: bool
    tool_call: ToolCall | None = None


class View(NamedTuple):
    """A generation at one moment. texts: the parts of the flow, whole. segments: the same in order, with tool calls.
    extras: the other named parts."""

    message_id: str
    status: str
    model: str | None
    metadata: dict[str, Any] | None
    started_ms: int
    ended_ms: int | None
    finish_reason: str | None
    usage: dict[str, int]
    error_message: str | None
    error_code: str | None
    texts: dict[str, str]
    segments: tuple[Segment, ...]
    extras: dict[str, str]

    @property
    def ended(self) -> bool:
        """Whether it has its terminal state."""
        return self.status in ENDED

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The tool calls in order."""
        return [segment.tool_call for segment in self.segments if segment.tool_call is not None]


def view(value: Any) -> View | None:
    """What a topic's value says of a generation; None if it is none."""
    if not isinstance(value, dict):
        return None
    message_id, status = _text(value, "messageId"), _text(value, "status")
    if not message_id or not status:
        return None
    error = _object(value, "error")
    metadata = value.get("metadata")
    texts = {part: told for part in FLOW_PARTS if (told := _text(value, part))}
    return View(
        message_id,
        status,
        _text(value, "model"),
        metadata if isinstance(metadata, dict) else None,
        _integer(value, "startedAt") or 0,
        _integer(value, "endedAt") or _integer(value, "updatedAt"),
        _text(value, "finishReason"),
        {name: count for name, count in _object(value, "usage").items() if _is_integer(count)},
        _text(error, "message"),
        _text(error, "code"),
        texts,
        tuple(_segments(value, texts, status == COMPLETED)),
        {name: part for name, part in value.items() if isinstance(part, str) and name not in _NOT_PARTS},
    )


def _segments(value: dict[str, Any], texts: dict[str, str], complete: bool) -> list[Segment]:
    """The flow. What has no place in `segments` comes last: somebody else wrote the value."""
    tool_calls = _object(value, "toolCalls")
    places = list(_places(value.get("segments"), texts, tool_calls))
    settled = len(places) - 1
    placed = {part for part, begin in places if begin is not None}
    places += [(part, 0) for part in texts if part not in placed]
    ends = {part: len(text) for part, text in texts.items()}
    segments: list[Segment] = []
    for index, (part, begin) in reversed(list(enumerate(places))):
        if begin is None:
            call = _tool_call(part, tool_calls[part], complete)
            segments.append(Segment(f"call-{part}", "toolCall", call.input, call.done, call))
        else:
            number = sum(1 for one, _ in places[: index + 1] if one == part)
            text = texts[part][begin : ends[part]]
            segments.append(Segment(f"{part}-{number}", part, text, index < settled))
            ends[part] = begin
    return segments[::-1]


def _places(listed: Any, texts: dict[str, str], tool_calls: dict[str, Any]) -> Iterator[tuple[str, int | None]]:
    """The beginnings of parts, rising, and the tool calls (their id and None), each once."""
    begins: dict[str, int] = {}
    called: set[str] = set()
    for one in listed if isinstance(listed, list) else ():
        if not isinstance(one, dict):
            continue
        part, begin, call_id = one.get("part"), _integer(one, "from"), one.get("toolCall")
        if isinstance(part, str) and part in texts and begin is not None:
            if part not in begins:
                begin = 0  # nothing of it is left out
            elif not begins[part] < begin < len(texts[part]):
                continue
            begins[part] = begin
            yield part, begin
        elif isinstance(call_id, str) and call_id not in called and isinstance(tool_calls.get(call_id), dict):
            called.add(call_id)
            yield call_id, None


def _tool_call(call_id: str, told: dict[str, Any], complete: bool) -> ToolCall:
    answer: tuple[str, Any] | None = None
    if "output" in told:
        answer = ("output", told["output"])
    elif (failure := _text(told, "errorText")) is not None:
        answer = ("errorText", failure)
    return ToolCall(
        call_id, _text(told, "name") or "", _text(told, "input") or "", complete or bool(told.get("done")), answer
    )


def _text(members: dict[str, Any], name: str) -> str | None:
    found = members.get(name)
    return found if isinstance(found, str) else None


def _object(members: dict[str, Any], name: str) -> dict[str, Any]:
    found = members.get(name)
    return found if isinstance(found, dict) else {}


def _integer(members: dict[str, Any], name: str) -> int | None:
    found = members.get(name)
    return found if _is_integer(found) else None


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

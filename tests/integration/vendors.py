"""Local servers that speak the vendors' wire formats, as their documentation and their own clients have them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from tests.integration.serving import served

CUT = object()  # in a script: the connection breaks here
FOR_EVER = object()  # in a script: nothing more comes, and the connection stays


class Broken(Exception):
    """The script wants the connection to break."""


class Vendor:
    """Answers each request with a script of frames. `closed` says that the client has hung up."""

    def __init__(self, script: Sequence[Any], status: int = 200) -> None:
        self.script = script
        self.status = status
        self.asked: list[dict[str, Any]] = []
        self.closed = asyncio.Event()

    async def answer(self, request: Request) -> Any:
        self.asked.append(await request.json())
        if self.status != 200:
            return JSONResponse({"error": {"message": "the secret inner text"}}, self.status)
        return StreamingResponse(self._frames(), media_type="text/event-stream")

    async def _frames(self) -> AsyncIterator[bytes]:
        try:
            for frame in self.script:
                if frame is CUT:
                    raise Broken
                if frame is FOR_EVER:
                    await asyncio.sleep(60)
                yield frame
                await asyncio.sleep(0)
        finally:
            self.closed.set()

    @asynccontextmanager
    async def served(self) -> AsyncGenerator[str]:
        """Serve it; gives its URL."""
        async with served(Starlette(routes=[Route("/{path:path}", self.answer, methods=["POST"])])) as url:
            yield url


def data(told: Any) -> bytes:
    """A frame without an event type: chat completions."""
    return b"data: " + json.dumps(told).encode() + b"\n\n"


def event(told: dict[str, Any]) -> bytes:
    """A frame whose event type is the data's own: responses, and Anthropic's messages."""
    return f"event: {told['type']}\n".encode() + data(told)


DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any] | None, finish_reason: str | None = None, **more: Any) -> bytes:
    """A chat completion chunk; without a choice if there is no delta."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "m"}
    return data({**head, "choices": choices, **more})


CHAT = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning_content": "They want weather. "}),
    chunk({"content": "Let me"}),
    chunk({"content": " see."}),
    chunk(
        {
            "tool_calls": [
                {"index": 0, "id": "call_a", "type": "function", "function": {"name": "weather", "arguments": ""}}
            ]
        }
    ),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"Oslo"}'}}]}),
    chunk(
        {
            "tool_calls": [
                {"index": 1, "id": "call_b", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
            ]
        }
    ),
    chunk({}, "tool_calls"),
    chunk(None, usage={"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}),
    DONE,
]

_RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_790_000_000,
    "model": "m",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "error": None,
    "incomplete_details": None,
}
_USAGE = {
    "input_tokens": 5,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 14,
}


def responses(end: str = "response.completed", **facts: Any) -> list[bytes]:
    """A stream of the Responses API that ends in this way."""
    item = {"id": "fc_1", "type": "function_call", "call_id": "call_a", "name": "weather", "status": "in_progress"}
    custom = {"id": "ct_1", "type": "custom_tool_call", "call_id": "call_b", "name": "shell", "input": ""}
    text = {"item_id": "msg_1", "output_index": 1, "content_index": 0}
    thought = {"id": "rs_1", "type": "reasoning", "summary": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    summary = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    told: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**_RESPONSE, "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": thought},
        {"type": "response.reasoning_summary_text.delta", **summary, "delta": "They want "},
        {"type": "response.reasoning_summary_text.delta", **summary, "delta": "weather. "},
        {"type": "response.output_item.done", "output_index": 0, "item": thought},
        {"type": "response.output_item.added", "output_index": 1, "item": {**message, "status": "in_progress"}},
        {"type": "response.content_part.added", **text, "part": {"type": "output_text", "text": "", "annotations": []}},
        {"type": "response.output_text.delta", **text, "delta": "Let me", "logprobs": []},
        {"type": "response.output_text.delta", **text, "delta": " see.", "logprobs": []},
        {"type": "response.output_text.done", **text, "text": "Let me see.", "logprobs": []},
        {"type": "response.output_item.done", "output_index": 1, "item": {**message, "status": "completed"}},
        {"type": "response.output_item.added", "output_index": 2, "item": {**item, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 2, "delta": '{"city":'},
        {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 2, "delta": '"Oslo"}'},
        {"type": "response.output_item.done", "output_index": 2, "item": {**item, "arguments": '{"city":"Oslo"}'}},
        {"type": "response.output_item.added", "output_index": 3, "item": custom},
        {"type": "response.custom_tool_call_input.delta", "item_id": "ct_1", "output_index": 3, "delta": '"ls"'},
        {"type": "response.output_item.done", "output_index": 3, "item": {**custom, "input": '"ls"'}},
    ]
    if end == "error":
        told.append({"type": "error", "code": "server_error", "message": "the secret inner text", "param": None})
    elif end:
        status = end.removeprefix("response.")
        told.append({"type": end, "response": {**_RESPONSE, "status": status, "usage": _USAGE, **facts}})
    return [event({**one, "sequence_number": number}) for number, one in enumerate(told)]


def _block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *[{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas],
        {"type": "content_block_stop", "index": index},
    ]


def messages(stop_reason: str = "tool_use", end: str = "message_stop") -> list[bytes]:
    """A stream of Anthropic's messages."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 1},
    }
    search = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}}
    found = {
        "type": "web_search_tool_result",
        "tool_use_id": "srv_1",
        "content": [
            {
                "type": "web_search_result",
                "title": "Oslo",
                "url": "https://example.com/",
                "encrypted_content": "x",
                "page_age": None,
            }
        ],
    }
    told: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        *_block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "They want "},
            {"type": "thinking_delta", "thinking": "weather. "},
            {"type": "signature_delta", "signature": "abc"},
        ),
        {"type": "ping"},
        *_block(
            1,
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "Let me"},
            {"type": "text_delta", "text": " see."},
        ),
        *_block(2, search, {"type": "input_json_delta", "partial_json": '{"query":"Oslo"}'}),
        *_block(3, found),
        *_block(
            4,
            {"type": "tool_use", "id": "call_a", "name": "weather", "input": {}},
            {"type": "input_json_delta", "partial_json": ""},
            {"type": "input_json_delta", "partial_json": '{"city":'},
            {"type": "input_json_delta", "partial_json": '"Oslo"}'},
        ),
    ]
    if end == "error":
        told.append({"type": "error", "error": {"type": "overloaded_error", "message": "the secret inner text"}})
    else:
        told.append(
            {
                "type": "message_delta",
                "delta": {"stop_reason": stop_reason, "stop_sequence": None},
                "usage": {"output_tokens": 9},
            }
        )
        if end:
            told.append({"type": end})
    return [event(one) for one in told]

"""Producers from OpenAI's streams: chat completions and responses, as any compatible server sends them.

Nothing is imported: items are read by the names of their members, so that every client will do that gives them as
objects or mappings.
"""

from __future__ import annotations

from typing import Any, Final

from clarion.generation.errors import IncompleteStream
from clarion.generation.options import Produce
from clarion.generation.producers.source import counts, member, opened, text_of
from clarion.generation.writer import GenerationWriter, ToolCallWriter

VENDOR: Final = "OpenAI"
FINISH_REASONS: Final = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool-calls",
    "function_call": "tool-calls",
    "content_filter": "content-filter",
}
INCOMPLETE_REASONS: Final = {"max_output_tokens": "length", "content_filter": "content-filter"}
REASONING_MEMBERS: Final = ("reasoning_content", "reasoning")  # not OpenAI's own: compatible servers use either


def openai_producer(source: Any) -> Produce:
    """A producer that writes what an OpenAI-compatible stream says: text, reasoning, refusals and tool calls.

    source: the stream of `AsyncOpenAI`'s `chat.completions.create` or `responses.create` with `stream=True` (or of
    their `stream` helpers), an awaitable of it, or, best, a function without arguments that gives either, such as
    `lambda: client.chat.completions.create(..., stream=True)`. Of several choices only the first is written.

    In the generation, it raises what the client raises, and `IncompleteStream` for a stream that fails or ends before
    it has said that it is complete.
    """

    async def produce(out: GenerationWriter) -> None:
        async with opened(source) as items:
            chat, responses = _Chat(out), _Responses(out)
            async for item in items:
                kind = text_of(item, "type")
                if kind == "chunk":  # of the helper for chat completions, between its own events
                    await chat.take(member(item, "chunk"))
                elif member(item, "choices") is not None:
                    await chat.take(item)
                elif kind == "error" or kind.startswith("response."):
                    await responses.take(kind, item)
            if not (chat.complete or responses.complete):
                raise IncompleteStream(VENDOR, "it ended without a finish reason")

    return produce


class _Chat:
    """Chat completion chunks."""

    def __init__(self, out: GenerationWriter) -> None:
        self._out = out
        self._calls: dict[int, tuple[str, ToolCallWriter]] = {}
        self.complete = False

    async def take(self, chunk: Any) -> None:
        usage = member(chunk, "usage")
        if usage is not None:
            self._out.usage = counts(
                inputTokens=member(usage, "prompt_tokens"),
                outputTokens=member(usage, "completion_tokens"),
                totalTokens=member(usage, "total_tokens"),
            )
        for choice in member(chunk, "choices") or ():
            if member(choice, "index") not in (0, None):
                continue
            if (delta := member(choice, "delta")) is not None:
                await self._delta(delta)
            if reason := text_of(choice, "finish_reason"):
                self.complete = True
                self._out.finish_reason = FINISH_REASONS.get(reason, "other")
                for _, call in self._calls.values():
                    await call.end()

    async def _delta(self, delta: Any) -> None:
        for name in REASONING_MEMBERS:
            if text := text_of(delta, name):
                await self._out.part("reasoning").write(text)
                break
        if text := text_of(delta, "content"):
            await self._out.write(text)
        if text := text_of(delta, "refusal"):
            await self._out.part("refusal").write(text)
        for position, told in enumerate(member(delta, "tool_calls") or ()):
            index = member(told, "index")
            await self._tool_call(index if isinstance(index, int) else position, told)

    async def _tool_call(self, index: int, told: Any) -> None:
        """Its id and name come first, then pieces of its input. Some servers give several calls one index."""
        function = member(told, "function")
        call_id = text_of(told, "id")
        present = self._calls.get(index)
        if present is None or (call_id and call_id != present[0]):
            if present is not None:
                await present[1].end()
            call = await self._out.tool_call(text_of(function, "name") or "unnamed", id=call_id or None)
            present = self._calls[index] = (call_id, call)
        if text := text_of(function, "arguments"):
            await present[1].write(text)


class _Responses:
    """Events of the Responses API."""

    def __init__(self, out: GenerationWriter) -> None:
        self._out = out
        self._calls: dict[str, ToolCallWriter] = {}
        self.complete = False

    async def take(self, kind: str, event: Any) -> None:
        match kind:
            case "response.output_text.delta":
                await self._out.write(text_of(event, "delta"))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                await self._out.part("reasoning").write(text_of(event, "delta"))
            case "response.refusal.delta":
                await self._out.part("refusal").write(text_of(event, "delta"))
            case "response.output_item.added":
                await self._item(member(event, "item"))
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                if (call := self._calls.get(text_of(event, "item_id"))) is not None:
                    await call.write(text_of(event, "delta"))
            case "response.output_item.done":
                if (call := self._calls.get(text_of(member(event, "item"), "id"))) is not None:
                    await call.end()
            case "response.completed" | "response.incomplete":
                self._end(kind, member(event, "response"))
            case "response.failed":
                error = member(member(event, "response"), "error")
                raise IncompleteStream(VENDOR, f"it failed: {text_of(error, 'code')} {text_of(error, 'message')}")
            case "error":
                raise IncompleteStream(VENDOR, f"it failed: {text_of(event, 'code')} {text_of(event, 'message')}")

    async def _item(self, item: Any) -> None:
        if text_of(item, "type") in ("function_call", "custom_tool_call"):
            call = await self._out.tool_call(text_of(item, "name") or "unnamed", id=text_of(item, "call_id") or None)
            self._calls[text_of(item, "id")] = call

    def _end(self, kind: str, response: Any) -> None:
        self.complete = True
        usage = member(response, "usage")
        self._out.usage = counts(
            inputTokens=member(usage, "input_tokens"),
            outputTokens=member(usage, "output_tokens"),
            totalTokens=member(usage, "total_tokens"),
        )
        if kind == "response.completed":
            self._out.finish_reason = "tool-calls" if self._calls else "stop"
        else:
            reason = text_of(member(response, "incomplete_details"), "reason")
            self._out.finish_reason = INCOMPLETE_REASONS.get(reason, "other")

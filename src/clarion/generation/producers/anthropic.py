"""A producer from Anthropic's streams of messages.

Nothing is imported: events are read by the names of their members.
"""

from __future__ import annotations

from typing import Any, Final

from clarion.generation.errors import IncompleteStream
from clarion.generation.options import Produce
from clarion.generation.producers.source import counts, member, opened, text_of
from clarion.generation.writer import GenerationWriter, ToolCallWriter

VENDOR: Final = "Anthropic"
FINISH_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool-calls",
    "refusal": "content-filter",
}
TOOL_BLOCKS: Final = ("tool_use", "server_tool_use", "mcp_tool_use")
RESULT_ENDING: Final = "_tool_result"  # of the types of blocks that hold what the vendor's own tools gave


def anthropic_producer(source: Any) -> Produce:
    """A producer that writes what a stream of messages says: text, thinking (as `reasoning`) and tool calls.

    source: the stream of `AsyncAnthropic`'s `messages.create(..., stream=True)`, what `messages.stream(...)` gives, an
    awaitable of either, or, best, a function without arguments that gives one of these.

    In the generation, it raises what the client raises, and `IncompleteStream` for a stream that ends before its
    `message_stop`.
    """

    async def produce(out: GenerationWriter) -> None:
        async with opened(source) as events:
            message = _Message(out)
            async for event in events:
                await message.take(event)
            if not message.complete:
                raise IncompleteStream(VENDOR, "it ended without message_stop")

    return produce


class _Message:
    """The events of one message."""

    def __init__(self, out: GenerationWriter) -> None:
        self._out = out
        self._blocks: dict[Any, ToolCallWriter] = {}
        self._calls: dict[str, ToolCallWriter] = {}
        self._usage: dict[str, int | None] = {}
        self.complete = False

    async def take(self, event: Any) -> None:
        match text_of(event, "type"):
            case "message_start":
                self._count(member(member(event, "message"), "usage"))
            case "content_block_start":
                await self._begin_block(member(event, "index"), member(event, "content_block"))
            case "content_block_delta":
                await self._delta(member(event, "index"), member(event, "delta"))
            case "content_block_stop":
                if (call := self._blocks.get(member(event, "index"))) is not None:
                    await call.end()
            case "message_delta":
                if reason := text_of(member(event, "delta"), "stop_reason"):
                    self._out.finish_reason = FINISH_REASONS.get(reason, "other")
                self._count(member(event, "usage"))
            case "message_stop":
                self.complete = True

    async def _begin_block(self, index: Any, block: Any) -> None:
        kind = text_of(block, "type")
        if kind in TOOL_BLOCKS:
            call = await self._out.tool_call(text_of(block, "name") or "unnamed", id=text_of(block, "id") or None)
            self._blocks[index] = self._calls[call.id] = call
        elif kind.endswith(RESULT_ENDING):
            asked = self._calls.get(text_of(block, "tool_use_id"))
            if asked is not None:
                await asked.output(member(block, "content"))
        else:
            await self._out.write(text_of(block, "text"))
            await self._out.part("reasoning").write(text_of(block, "thinking"))

    async def _delta(self, index: Any, delta: Any) -> None:
        match text_of(delta, "type"):
            case "text_delta":
                await self._out.write(text_of(delta, "text"))
            case "thinking_delta":
                await self._out.part("reasoning").write(text_of(delta, "thinking"))
            case "input_json_delta":
                if (call := self._blocks.get(index)) is not None:
                    await call.write(text_of(delta, "partial_json"))

    def _count(self, usage: Any) -> None:
        """What is counted later is the whole, not more."""
        for name, told in (("inputTokens", "input_tokens"), ("outputTokens", "output_tokens")):
            count = member(usage, told)
            if isinstance(count, int):
                self._usage[name] = count
        self._out.usage = counts(**self._usage)

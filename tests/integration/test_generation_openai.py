"""A generation as chat completion chunks, read by the real OpenAI client: whole, cut and resumed at every chunk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from fastapi import FastAPI
from openai.types.chat import ChatCompletionChunk

from clarion import Hub
from clarion.generation import GenerationWriter
from clarion.work.failures import PublicError
from tests.integration.serving import served

ASK: list[Any] = [{"role": "user", "content": "weather?"}]
PAUSE_SECONDS = 0.04  # longer than pieces are gathered: each is a chunk of its own
TEXT = "Let me see, it is 3 °C \U0001f976 in Oslo.\n"
REASONING = "They want the weather."


async def weather(out: GenerationWriter) -> None:
    for text in ("They want ", "the weather."):
        await out.part("reasoning").write(text)
        await asyncio.sleep(PAUSE_SECONDS)
    for text in ("Let me ", "see, ", "it is ", "3 °C \U0001f976 ", "in Oslo.\n"):
        await out.write(text)
        await asyncio.sleep(PAUSE_SECONDS)
    for name, pieces in (("weather", ('{"city":', '"Oslo"}')), ("clock", ("{}",))):
        call = await out.tool_call(name)
        for piece in pieces:
            await call.write(piece)
            await asyncio.sleep(PAUSE_SECONDS)
        await call.end()
    out.usage = {"inputTokens": 5, "outputTokens": 9}
    out.finish_reason = "tool-calls"


async def failing(out: GenerationWriter) -> None:
    await out.write("Half of ")
    await asyncio.sleep(PAUSE_SECONDS)
    raise PublicError("The model is out of paper.", code="paper")


async def endless(out: GenerationWriter) -> None:
    while True:
        await out.write("on and ")
        await asyncio.sleep(PAUSE_SECONDS)


SCRIPTS = {"weather": weather, "failing": failing, "endless": endless}


class Chat:
    """An app as people have it, with the real client."""

    def __init__(self, hub: Hub, client: openai.AsyncOpenAI) -> None:
        self.hub = hub
        self._client = client

    async def ask(self, chat_id: str, script: str = "weather", *, resume: bool = False) -> Any:
        return await self._client.chat.completions.create(
            model=script,
            messages=ASK,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"chat": chat_id, "resume": resume},
        )

    async def ask_helper(self, chat_id: str) -> Any:
        async with self._client.chat.completions.stream(
            model="weather", messages=ASK, extra_body={"chat": chat_id}
        ) as stream:
            return await stream.get_final_completion()


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    hub = Hub()
    app = FastAPI(lifespan=hub.lifespan)

    @app.post("/v1/chat/completions")
    async def completions(body: dict[str, Any]) -> Any:
        topic = f"chat/{body['chat']}"
        if not body.get("resume"):
            await hub.generate(topic, SCRIPTS[body["model"]], model=body["model"])
        usage = body.get("stream_options", {}).get("include_usage", False)
        return hub.generation_stream(topic, format="openai", include_usage=usage)

    async with served(app) as url:
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
        yield Chat(hub, client)
        await client.close()


class Answer:
    """What the chunks of a client add up to."""

    def __init__(self, chunks: list[ChatCompletionChunk]) -> None:
        self.ids = {chunk.id for chunk in chunks}
        self.models = {chunk.model for chunk in chunks}
        deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
        self.role = deltas[0].role if deltas else None
        self.text = "".join(delta.content or "" for delta in deltas)
        self.reasoning = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
        self.calls: dict[int, list[str]] = {}
        for call in (call for delta in deltas for call in delta.tool_calls or ()):
            assert call.function is not None
            name, arguments = self.calls.setdefault(call.index, [call.function.name or "", ""])
            self.calls[call.index] = [name, arguments + (call.function.arguments or "")]
        reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
        self.reason = reasons[0] if reasons else None
        assert len(reasons) <= 1
        self.tokens = chunks[-1].usage.total_tokens if chunks and chunks[-1].usage else None

    def check_whole(self) -> None:
        assert (self.role, self.text, self.reasoning) == ("assistant", TEXT, REASONING)
        assert self.calls == {0: ["weather", '{"city":"Oslo"}'], 1: ["clock", "{}"]}
        assert (self.reason, self.tokens) == ("tool_calls", 14)
        assert len(self.ids) == 1
        assert self.models == {"weather"}


async def test_the_whole(chat: Chat) -> None:
    chunks = [chunk async for chunk in await chat.ask("whole")]
    Answer(chunks).check_whole()
    assert len(chunks) > 10


async def test_cut_and_resumed_at_every_chunk(chat: Chat) -> None:
    async def cut(count: int) -> int:
        """Read so many chunks, hang up, and come back; how many chunks told the rest."""
        stream = await chat.ask(f"cut-{count}")
        before: list[ChatCompletionChunk] = []
        while len(before) < count:
            before.append(await anext(stream))
        await stream.close()
        after = [chunk async for chunk in await chat.ask(f"cut-{count}", resume=True)]
        Answer(after).check_whole()
        assert Answer(before).ids <= Answer(after).ids
        assert TEXT.startswith(Answer(before).text)
        return len(after)

    counts = await asyncio.gather(*[cut(count) for count in range(14)])
    assert counts[0] > counts[6] > counts[13]  # what was told before comes back joined


async def test_cut_again_and_again(chat: Chat) -> None:
    stream = await chat.ask("again")
    for count in range(1, 12):
        for _ in range(min(count, 3)):
            await anext(stream)
        await stream.close()
        stream = await chat.ask("again", resume=True)
    Answer([chunk async for chunk in stream]).check_whole()


async def test_a_second_viewer_who_comes_late_sees_the_same(chat: Chat) -> None:
    first = asyncio.create_task(_read(await chat.ask("two")))
    await asyncio.sleep(5 * PAUSE_SECONDS)
    second = await _read(await chat.ask("two", resume=True))
    third = await _read(await chat.ask("two", resume=True))  # after the end
    for chunks in (await first, second, third):
        Answer(chunks).check_whole()


async def _read(stream: Any) -> list[ChatCompletionChunk]:
    return [chunk async for chunk in stream]


async def test_the_clients_own_helper_understands_it(chat: Chat) -> None:
    completion = await chat.ask_helper("helper")
    (choice,) = completion.choices
    assert choice.message.content == TEXT
    assert [call.function.arguments for call in choice.message.tool_calls] == ['{"city":"Oslo"}', "{}"]


async def test_a_failure_is_raised_with_the_words_that_are_meant_for_people(chat: Chat) -> None:
    stream = await chat.ask("failing", "failing")
    text = ""
    with pytest.raises(openai.APIError, match="out of paper") as caught:  # noqa: PT012
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
    assert text == "Half of "
    assert (caught.value.code, caught.value.type) == ("paper", "failed")


async def test_a_viewer_of_what_is_stopped_is_told_so(chat: Chat) -> None:
    stream = await chat.ask("endless", "endless")
    with pytest.raises(openai.APIError, match="cancelled"):  # noqa: PT012
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                await chat.hub.cancel("chat/endless")


async def test_a_hub_that_drains_breaks_the_connection(chat: Chat) -> None:
    stream = await chat.ask("drained", "endless")
    await anext(stream)
    await anext(stream)
    await chat.hub.drain(0)
    with pytest.raises(openai.APIConnectionError):
        async for _ in stream:
            pass

"""The ready producers with the vendors' real clients, against local servers that speak their wire formats."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import anthropic
import openai
import pytest

from clarion import Hub, Limits
from clarion.generation import IncompleteStream, anthropic_producer, openai_producer, text_producer
from tests.integration.vendors import CHAT, CUT, DONE, FOR_EVER, Vendor, chunk, data, messages, responses

TOPIC = "chat/1"
ASK: list[Any] = [{"role": "user", "content": "weather?"}]


clients: list[openai.AsyncOpenAI | anthropic.AsyncAnthropic] = []


@pytest.fixture(autouse=True)
async def _clients_are_closed() -> AsyncIterator[None]:
    yield
    while clients:
        await clients.pop().close()


def openai_client(url: str) -> openai.AsyncOpenAI:
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
    clients.append(client)
    return client


def anthropic_client(url: str) -> anthropic.AsyncAnthropic:
    client = anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=0)
    clients.append(client)
    return client


async def generated(produce: Any, hub: Hub | None = None) -> dict[str, Any]:
    """The value that a producer makes."""
    if hub is None:
        async with Hub() as hub:
            return await generated(produce, hub)
    await hub.generate(TOPIC, produce)
    async with asyncio.timeout(20):
        while hub.supervisor.working(TOPIC):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    value: dict[str, Any] = await hub.get(TOPIC)
    return value


Make = Callable[[str], Any]


def chat(url: str) -> Any:
    client = openai_client(url)
    return openai_producer(lambda: client.chat.completions.create(model="m", messages=ASK, stream=True))


def chat_helper(url: str) -> Any:
    client = openai_client(url)
    return openai_producer(lambda: client.chat.completions.stream(model="m", messages=ASK))


def response(url: str) -> Any:
    client = openai_client(url)
    return openai_producer(lambda: client.responses.create(model="m", input="weather?", stream=True))


def response_helper(url: str) -> Any:
    client = openai_client(url)
    return openai_producer(lambda: client.responses.stream(model="m", input="weather?"))


def message(url: str) -> Any:
    client = anthropic_client(url)
    return anthropic_producer(lambda: client.messages.create(model="m", max_tokens=9, messages=ASK, stream=True))


def message_helper(url: str) -> Any:
    client = anthropic_client(url)
    return anthropic_producer(lambda: client.messages.stream(model="m", max_tokens=9, messages=ASK))


WEATHER = {"name": "weather", "input": '{"city":"Oslo"}', "done": True}


async def test_chat_completions() -> None:
    vendor = Vendor(CHAT)
    async with vendor.served() as url:
        for make in (chat, chat_helper):
            value = await generated(make(url))
            assert value["status"] == "completed"
            assert (value["text"], value["reasoning"]) == ("Let me see.", "They want weather. ")
            assert value["toolCalls"] == {"call_a": WEATHER, "call_b": {"name": "clock", "input": "{}", "done": True}}
            assert value["finishReason"] == "tool-calls"
            assert value["usage"] == {"inputTokens": 5, "outputTokens": 9, "totalTokens": 14}
            assert [one.get("part", one.get("toolCall")) for one in value["segments"]] == [
                "reasoning",
                "text",
                "call_a",
                "call_b",
            ]
    assert all(asked["stream"] for asked in vendor.asked)


async def test_responses() -> None:
    async with Vendor(responses()).served() as url:
        for make in (response, response_helper):
            value = await generated(make(url))
            assert value["status"] == "completed"
            assert (value["text"], value["reasoning"]) == ("Let me see.", "They want weather. ")
            assert value["toolCalls"] == {"call_a": WEATHER, "call_b": {"name": "shell", "input": '"ls"', "done": True}}
            assert value["finishReason"] == "tool-calls"
            assert value["usage"] == {"inputTokens": 5, "outputTokens": 9, "totalTokens": 14}


async def test_messages() -> None:
    async with Vendor(messages()).served() as url:
        for make in (message, message_helper):
            value = await generated(make(url))
            assert value["status"] == "completed"
            assert (value["text"], value["reasoning"]) == ("Let me see.", "They want weather. ")
            assert value["toolCalls"]["call_a"] == WEATHER
            search = value["toolCalls"]["srv_1"]
            assert (search["name"], search["input"], search["done"]) == ("web_search", '{"query":"Oslo"}', True)
            assert search["output"][0]["title"] == "Oslo"
            assert value["finishReason"] == "tool-calls"
            assert value["usage"] == {"inputTokens": 5, "outputTokens": 9}


@pytest.mark.parametrize(
    ("make", "script"),
    [
        (chat, CHAT[:4]),  # the server is gone, and says nothing of it
        (chat, [*CHAT[:4], DONE]),
        (chat, [*CHAT[:4], CUT]),
        (chat, [*CHAT[:4], data({"error": {"message": "the secret inner text", "type": "server_error", "code": 1}})]),
        (chat, [*CHAT[:4], b"data: {no json\n\n"]),
        (response, responses("")),
        (response, [*responses("")[:9], CUT]),
        (response, responses("response.failed", error={"code": "server_error", "message": "the secret inner text"})),
        (response, responses("error")),
        (message, messages(end="")),
        (message, [*messages()[:11], CUT]),
        (message, messages(end="error")),
    ],
)
async def test_a_stream_that_does_not_say_that_it_is_complete_is_a_failure(make: Make, script: Any) -> None:
    async with Vendor(script).served() as url:
        value = await generated(make(url))
    assert value["status"] == "failed"
    assert value["text"] == "Let me see." or make is chat
    assert "secret" not in json.dumps(value)


@pytest.mark.parametrize("make", [chat, response, message])
async def test_a_vendor_that_refuses_is_a_failure(make: Make) -> None:
    async with Vendor([], status=429).served() as url:
        value = await generated(make(url))
    assert (value["status"], value["error"]["code"]) == ("failed", "internal")
    assert "secret" not in json.dumps(value)


@pytest.mark.parametrize(
    ("make", "script", "reason"),
    [
        (chat, [*CHAT[:3], chunk({}, "length"), DONE], "length"),
        (chat, [*CHAT[:3], chunk({}, "content_filter"), DONE], "content-filter"),
        (chat, [*CHAT[:3], chunk({}, "stop"), DONE], "stop"),
        (chat, [*CHAT[:3], chunk({}, "eaten"), DONE], "other"),
        (response, responses("response.incomplete", incomplete_details={"reason": "max_output_tokens"}), "length"),
        (response, responses("response.incomplete", incomplete_details={"reason": "content_filter"}), "content-filter"),
        (message, messages("end_turn"), "stop"),
        (message, messages("max_tokens"), "length"),
        (message, messages("refusal"), "content-filter"),
        (message, messages("pause_turn"), "other"),
    ],
)
async def test_why_the_model_stopped_is_told(make: Make, script: Any, reason: str) -> None:
    async with Vendor(script).served() as url:
        value = await generated(make(url))
    assert (value["status"], value["finishReason"]) == ("completed", reason)


@pytest.mark.parametrize(
    ("make", "script"), [(chat, CHAT[:4]), (response, responses("")[:9]), (message, messages()[:11])]
)
async def test_when_it_is_stopped_the_connection_to_the_vendor_is_closed(make: Make, script: Any) -> None:
    vendor = Vendor([*script, FOR_EVER])
    async with vendor.served() as url, Hub() as hub:
        await hub.generate(TOPIC, make(url))
        async with asyncio.timeout(20):
            while (await hub.get(TOPIC))["text"] != "Let me see.":  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await hub.cancel(TOPIC)
            while hub.supervisor.working(TOPIC):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await vendor.closed.wait()
        assert (await hub.get(TOPIC))["status"] == "cancelled"


async def test_what_a_refusal_says_is_a_part_of_its_own() -> None:
    script = [chunk({"role": "assistant", "refusal": "I will "}), chunk({"refusal": "not."}), chunk({}, "stop"), DONE]
    async with Vendor(script).served() as url:
        value = await generated(chat(url))
    assert (value["refusal"], value["text"]) == ("I will not.", "")


async def test_servers_that_are_only_nearly_compatible() -> None:
    def call(index: int | None, call_id: str, name: str | None, arguments: str) -> dict[str, Any]:
        return {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}

    script = [
        chunk({"reasoning": "Hm"}),
        chunk({"content": None, "tool_calls": [call(0, "a", "one", "{}")]}),
        chunk({"tool_calls": [call(0, "b", "two", '{"x":1}')]}),  # one index for all
        chunk({"tool_calls": [call(2, "", "three", "{}")]}),  # no id
        chunk({"tool_calls": [call(3, "d", None, "{}")]}),  # no name
        data({"id": "x", "choices": [{"index": 1, "delta": {"content": "another choice"}}]}),
        chunk({"content": "Done"}, "stop"),
    ]  # no [DONE]
    async with Vendor(script).served() as url:
        value = await generated(chat(url))
    assert (value["status"], value["text"], value["reasoning"]) == ("completed", "Done", "Hm")
    assert {key: (one["name"], one["input"]) for key, one in value["toolCalls"].items()} == {
        "a": ("one", "{}"),
        "b": ("two", '{"x":1}'),
        "call_1": ("three", "{}"),
        "d": ("unnamed", "{}"),
    }


async def test_items_may_be_mappings_and_the_stream_may_be_there_already() -> None:
    async def items() -> AsyncIterator[dict[str, Any]]:
        yield {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]}
        yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}

    value = await generated(openai_producer(items()))
    assert (value["status"], value["text"], value["usage"]) == ("completed", "Hi", {"inputTokens": 1})

    async with Vendor(CHAT).served() as url:
        client = openai_client(url)
        stream = await client.chat.completions.create(model="m", messages=ASK, stream=True)
        assert (await generated(openai_producer(stream)))["status"] == "completed"
        awaitable = client.chat.completions.create(model="m", messages=ASK, stream=True)
        assert (await generated(openai_producer(awaitable)))["status"] == "completed"


async def test_a_blocking_client_is_refused_with_a_hint(caplog: pytest.LogCaptureFixture) -> None:
    for produce in (openai_producer([]), anthropic_producer(list), text_producer(["text"]), text_producer(3)):
        value = await generated(produce)
        assert value["status"] == "failed"
    assert "use its async one" in caplog.text


async def test_a_source_of_text_is_closed_when_it_is_stopped() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                yield "on "
                await asyncio.sleep(0.01)
        finally:
            closed.set()

    async with Hub() as hub:
        await hub.generate(TOPIC, text_producer(endless))
        async with asyncio.timeout(20):
            while not (await hub.get(TOPIC))["text"]:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await hub.cancel(TOPIC)
            await closed.wait()


class Words:
    """An async iterator as some clients have them: it does not close by itself."""

    def __init__(self) -> None:
        self.closed = 0

    def __aiter__(self) -> Words:
        return self

    async def __anext__(self) -> str:
        return "on "

    async def aclose(self) -> None:
        self.closed += 1


async def test_a_source_is_closed_when_writing_to_its_generation_fails() -> None:
    words = Words()

    async def produce(out: Any) -> None:
        await text_producer(words)(out)

    async with Hub(limits=Limits(max_event_bytes=20_000)) as hub:
        value = await generated(produce, hub)
    assert value["error"]["code"] == "too_large"
    assert words.closed == 1


def test_an_incomplete_stream_says_whose_it_was() -> None:
    error = IncompleteStream("OpenAI", "it ended")
    assert (error.vendor, error.status) == ("OpenAI", 502)
    assert "OpenAI" in str(error)

"""A chat: the text is generated once, detached from whoever asked, and everybody reads along, also after a reload.

OPENAI_BASE_URL=http://127.0.0.1:11434/v1 OPENAI_API_KEY=none MODEL=llama3 clarion run examples.chat:app
curl -X POST http://127.0.0.1:8000/chats/7 -H 'content-type: application/json' -d '{"text": "Tell me a story"}'
curl -N http://127.0.0.1:8000/chats/7/events
curl -X POST http://127.0.0.1:8000/chats/7/stop

Without a model it makes its own words. `/api/chat` is what the AI SDK's `useChat` expects, and an OpenAI client finds
`/v1/chat/completions`.
"""

import asyncio
import os
import secrets
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from clarion import Hub
from clarion.generation import GenerationRunning, GenerationWriter, Produce, openai_producer
from clarion.work.failures import UnknownWork

MODEL = os.environ.get("MODEL", "gpt-4o-mini")

hub = Hub()  # or Hub("sqlite:///events.db"), which all workers and the next start share
app = FastAPI(lifespan=hub.lifespan)


class Ask(BaseModel):
    text: str


def answer(messages: list[dict[str, Any]]) -> Produce:
    """What writes the answer: a model, if there is one."""
    if "OPENAI_BASE_URL" not in os.environ:
        return lambda out: babble(out, messages[-1]["content"])
    from openai import AsyncOpenAI

    client = AsyncOpenAI()
    return openai_producer(lambda: client.chat.completions.create(model=MODEL, messages=messages, stream=True))


async def babble(out: GenerationWriter, text: str) -> None:
    await out.part("reasoning").write("They say something. I say something back.")
    for word in f"You said {text!r}, and that is what I say, too.".split(" "):
        await out.write(word + " ")
        await asyncio.sleep(0.05)
    # `out.text` is the whole: here is the place to put it into a database.


# Your own page: any EventSource, or Clarion's client.


@app.post("/chats/{chat_id}")
async def begin(chat_id: str, ask: Ask):
    try:
        return await hub.generate(f"chats/{chat_id}", answer([{"role": "user", "content": ask.text}]))
    except GenerationRunning:
        raise HTTPException(409, "an answer is being written") from None


@app.get("/chats/{chat_id}/events")
async def events(chat_id: str):
    return hub.stream(topics=[f"chats/{chat_id}"])


@app.post("/chats/{chat_id}/stop", status_code=204)
async def stop(chat_id: str):
    try:
        await hub.cancel(f"chats/{chat_id}")
    except UnknownWork:
        raise HTTPException(404, "nothing is being written") from None


# The AI SDK: `useChat({ resume: true })` with its default transport. Stopping is a request of its own here, too.


@app.post("/api/chat")
async def ai_sdk(body: dict[str, Any]):
    said = [
        {"role": one["role"], "content": "".join(part.get("text", "") for part in one["parts"])}
        for one in body["messages"]
    ]
    topic = f"chats/{body['id']}"
    await hub.generate(topic, answer(said), replace=True)
    return hub.generation_stream(topic, format="ai-sdk")


@app.get("/api/chat/{chat_id}/stream")
async def ai_sdk_resume(chat_id: str):
    return hub.generation_stream(f"chats/{chat_id}", format="ai-sdk")


# An OpenAI client that streams.


@app.post("/v1/chat/completions")
async def completions(body: dict[str, Any]):
    topic = f"completions/{secrets.token_urlsafe(12)}"
    await hub.generate(topic, answer(body["messages"]), on_no_viewers="cancel")  # nobody can come back to it
    return hub.generation_stream(topic, format="openai")

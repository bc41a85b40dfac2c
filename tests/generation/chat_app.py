"""A chat as an app has it, for the AI SDK: what is asked begins a generation, and what is answered is its stream."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI

from clarion import Hub
from clarion.generation import GenerationWriter
from clarion.work.failures import PublicError

PAUSE_SECONDS = 0.06  # about twice as long as pieces are gathered: each is a chunk of its own


async def weather(out: GenerationWriter) -> None:
    """Every kind of thing that a generation can say."""
    for text in ("They want ", "the weather."):
        await out.part("reasoning").write(text)
        await asyncio.sleep(PAUSE_SECONDS)
    for text in ("Let me ", "see. "):
        await out.write(text)
        await asyncio.sleep(PAUSE_SECONDS)
    call = await out.tool_call("weather", id="call_a")
    for text in ('{"city":', '"Oslo"}'):
        await call.write(text)
        await asyncio.sleep(PAUSE_SECONDS)
    await call.output({"celsius": 3})
    await asyncio.sleep(PAUSE_SECONDS)
    await out.part("reasoning").write("Cold.")
    await asyncio.sleep(PAUSE_SECONDS)
    for text in ("It is ", "3 °C \U0001f976 ", "in Oslo.\n"):
        await out.write(text)
        await asyncio.sleep(PAUSE_SECONDS)
    await out.part("title").write("Weather in Oslo")
    out.finish_reason = "stop"


async def failing(out: GenerationWriter) -> None:
    await out.write("Half of ")
    await asyncio.sleep(PAUSE_SECONDS)
    raise PublicError("The model is out of paper.")


def make_app() -> FastAPI:
    hub = Hub()
    app = FastAPI(lifespan=hub.lifespan)

    async def stopped(out: GenerationWriter) -> None:
        await out.write("Half of ")
        await asyncio.sleep(PAUSE_SECONDS)
        await hub.cancel(out.topic)
        await asyncio.sleep(60)

    async def lost(out: GenerationWriter) -> None:
        await out.write("Half of ")
        await asyncio.sleep(PAUSE_SECONDS)
        await hub.merge(out.topic, {"status": "lost"}, event="generation")  # as another hub would tell it
        await asyncio.sleep(60)

    scripts = {"weather": weather, "failing": failing, "stopped": stopped, "lost": lost}

    @app.post("/chat")
    async def chat(body: dict[str, Any]) -> Any:
        topic = f"chat/{body['id']}"
        await hub.generate(topic, scripts[body["script"]], metadata={"asked": "weather?"})
        return hub.generation_stream(topic, format="ai-sdk", sdk_version=body["sdk"])

    @app.get("/chat/{chat_id}/stream")
    async def resume(chat_id: str) -> Any:
        return hub.generation_stream(f"chat/{chat_id}", format="ai-sdk")

    return app

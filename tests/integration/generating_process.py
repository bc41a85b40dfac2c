"""A process that generates, for tests that kill it or end it: `python -m tests.integration.generating_process`.

With a journal as its argument it writes until it is killed. `make_app` is for a server, with its journal in the
environment.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from fastapi import FastAPI

from clarion import Hub
from clarion.generation import GenerationWriter

TOPIC = "chat/1"


async def endless(out: GenerationWriter) -> None:
    while True:
        await out.write("on and ")
        await asyncio.sleep(0.01)


def make_app() -> FastAPI:
    hub = Hub(os.environ["CLARION_TEST_JOURNAL"])
    app = FastAPI(lifespan=hub.lifespan)

    @app.get("/chat")
    async def chat() -> Any:
        await hub.generate(TOPIC, endless)
        return hub.generation_stream(TOPIC, format="ai-sdk")

    @app.get("/chat/stream")
    async def resume() -> Any:
        return hub.generation_stream(TOPIC, format="ai-sdk")

    return app


async def main(journal: str) -> None:
    async with Hub(journal) as hub:
        await hub.generate(TOPIC, endless, lease_seconds=1)
        async with asyncio.timeout(10):
            while not (await hub.get(TOPIC))["text"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        print("said", flush=True)
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

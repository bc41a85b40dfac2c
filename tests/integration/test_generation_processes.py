"""What becomes of a generation when its process dies, or is told to end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from clarion import Hub
from tests.integration.generating_process import TOPIC
from tests.integration.servers import free_port
from tests.unit.generated import UIMessage

SECONDS = 20


async def until_lost(hub: Hub) -> dict[str, Any]:
    async with asyncio.timeout(SECONDS):
        while (value := await hub.get(TOPIC))["status"] == "running":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert value["status"] == "lost"
    assert value["text"].startswith("on and ")
    return value


async def dead(journal: str) -> None:
    """Have a process generate, and kill it in the midst."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.generating_process", journal, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(SECONDS):
        assert await process.stdout.readline() == b"said\n"
        process.kill()
        await process.wait()


async def test_of_a_killed_process_the_others_tell_that_its_text_is_lost(tmp_path: Path) -> None:
    journal = f"sqlite:///{tmp_path / 'events.db'}"
    async with Hub(journal) as hub:
        await dead(journal)
        assert (await hub.get(TOPIC))["status"] == "running"
        await until_lost(hub)
        await hub.generate(TOPIC, lambda out: out.write("anew"))  # the topic is free again


async def test_a_process_that_starts_anew_tells_what_was_lost_before(tmp_path: Path) -> None:
    journal = f"sqlite:///{tmp_path / 'events.db'}"
    await dead(journal)
    async with Hub(journal) as hub:
        await until_lost(hub)


@asynccontextmanager
async def server(journal: str, *options: str) -> AsyncGenerator[tuple[asyncio.subprocess.Process, str]]:
    """The app on uvicorn; its URL."""
    port = free_port()
    app = "tests.integration.generating_process:make_app"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "--factory", app, "--port", str(port), *options),
        env={**os.environ, "CLARION_TEST_JOURNAL": journal},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def read(response: httpx.Response) -> tuple[bytes, bool]:
    """What comes, and whether the response is complete at its end."""
    body = b""
    try:
        async for chunk in response.aiter_raw():
            body += chunk
    except httpx.RemoteProtocolError:
        return body, False
    return body, True


@pytest.mark.parametrize("options", [(), ("--http", "clarion.uvicorn:Protocol")], ids=["uvicorn", "clarion"])
async def test_on_a_deploy_streams_break_and_resume_to_hear_that_the_text_is_lost(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    journal = f"sqlite:///{tmp_path / 'events.db'}"
    async with httpx.AsyncClient(timeout=SECONDS, trust_env=False) as client:
        async with server(journal, *options) as (process, url), client.stream("GET", f"{url}/chat") as response:
            assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
            reading = asyncio.create_task(read(response))
            await asyncio.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            body, complete = await reading
            async with asyncio.timeout(SECONDS):
                assert await process.wait() in (0, -signal.SIGTERM)
        assert not complete
        assert b"[DONE]" not in body
        assert b"on and" in body
        async with server(journal, *options) as (_, url):
            answer = await client.get(f"{url}/chat/stream")
    message = UIMessage()
    message.feed(answer.content)
    assert message.done
    assert message.end == [{"type": "error", "errorText": "The generation broke off."}]
    assert message.parts[1]["text"].startswith("on and ")

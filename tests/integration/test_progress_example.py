"""The example of progress: in the app, cancelled by its route, and from a process of its own."""

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from clarion.testing import read_events

EXAMPLE = Path(__file__).parents[2] / "examples" / "progress.py"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("EVENTS", f"sqlite:///{tmp_path}/events.db")
    spec = importlib.util.spec_from_file_location("example_progress_here", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def ann(example: ModuleType) -> AsyncIterator[Any]:
    async with read_events(example.app, "/events?user=ann") as events:
        yield events


async def until_ended(events: Any) -> list[dict[str, Any]]:
    values: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while not values or values[-1]["status"] in ("pending", "running"):
            values.append((await events.next(20)).data)
    return values


async def test_in_the_app(example: ModuleType, ann: Any) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(example.app), base_url="http://test") as client:
        answer = await client.post("/imports?user=ann&rows=30")
        assert answer.status_code == 202
        values = await until_ended(ann)
        assert {value["taskId"] for value in values} == {answer.json()["taskId"]}
        assert [step["status"] for step in values[-1]["steps"]] == ["completed", "completed"]
        assert values[-1]["status"] == "completed"
        task_id = (await client.post("/imports?user=ann&rows=3000")).json()["taskId"]
        assert (await client.post(f"/tasks/{task_id}/cancel?user=bob")).status_code == 404
        assert (await client.post(f"/tasks/{task_id}/cancel?user=ann")).status_code == 202
        assert (await until_ended(ann))[-1]["status"] == "cancelled"


async def test_from_a_process_of_its_own(example: ModuleType, ann: Any) -> None:
    process = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", f"import runpy; runpy.run_path({str(EXAMPLE)!r})['work']('import:42', 'ann', 50)"],
        env=dict(os.environ),
        check=True,
        timeout=60,
    )
    assert process.returncode == 0
    values = await until_ended(ann)
    assert (values[-1]["status"], values[-1]["unit"], values[-1]["total"]) == ("completed", "orders", 50)

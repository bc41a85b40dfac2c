"""Every example runs, and does what it says. (In process, but for the worker, which is a process of its own.)"""

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from starlette.types import ASGIApp

from clarion.testing import Events, read_events

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    """An example, imported anew."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # FastAPI looks annotations up there
    spec.loader.exec_module(module)
    return module


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


def test_every_example_has_a_test() -> None:
    tested = {name.removeprefix("test_example_") for name in globals() if name.startswith("test_example_")}
    assert tested == {path.stem for path in EXAMPLES.glob("*.py")}


async def test_example_minimal() -> None:
    app = example("minimal").app
    async with read_events(app, "/events?user=ann") as events, client_of(app) as client:
        answer = await client.post("/notify/ann", json={"text": "hello"})
        event = await events.next()
        assert (event.type, event.data) == ("notification", {"text": "hello"})
        assert answer.json() == {"id": event.id, "sent": 1}


async def test_example_starlette_app() -> None:
    app = example("starlette_app").app
    async with read_events(app, "/events") as events, client_of(app) as client:
        assert (await client.post("/chat/lobby", json="hello")).status_code == 201
        async with asyncio.timeout(3):
            seen = {event.topic: event async for event in _first(events, 2)}
        assert seen["chat/lobby"].data == "hello"
        assert seen["clock"].type == "tick"


async def _first(events, count):
    for _ in range(count):
        yield await events.next(timeout=2)


async def test_example_auth() -> None:
    module = example("auth")
    app = module.app
    async with client_of(app) as client:
        token = (await client.post("/login?name=ann")).json()["token"]
    ann = {"authorization": f"Bearer {token}"}
    for refused in ({}, {"authorization": f"Bearer {token}x"}, {"cookie": f"session={module.sign('ann', 1)}"}):
        async with read_events(app, "/events", headers=refused) as events:
            assert events.status == 401
    async with read_events(app, "/events?topic=projects/bob/1", headers=ann) as events:
        assert events.status == 403
    cookie = {"cookie": f"session={token}"}
    async with (
        read_events(app, "/events?topic=projects/ann/1", headers=cookie) as events,
        client_of(app) as client,
    ):
        for topic, status in (("news", 403), ("projects/bob/1", 403), ("projects/ann/1", 200)):
            answer = await client.post("/publish", json={"topic": topic, "data": 1}, headers=ann)
            assert answer.status_code == status
        assert (await events.next()).topic == "projects/ann/1"
        assert (await client.post("/logout/bob", headers=ann)).status_code == 403
        assert (await client.post("/logout/ann", headers=ann)).status_code == 200
        (bye,) = await events.end()
        assert bye.data["reason"] == "expired"


async def test_example_chat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    app = example("chat").app
    async with read_events(app, "/chats/7/events") as events, client_of(app) as client:
        answer = await client.post("/chats/7", json={"text": "hello"})
        assert answer.json()["id"] == "chats/7"
        assert (await client.post("/chats/7", json={"text": "again"})).status_code == 409
        said = ""
        while (event := await events.next()).type != "generation.merge":
            said += event.data.get("text", "")
        assert said.startswith("You said 'hello'")
        assert event.data["status"] == "completed"
        assert (await client.post("/chats/7/stop")).status_code == 404
        asked = {"id": "8", "messages": [{"role": "user", "parts": [{"type": "text", "text": "hi"}]}]}
        streamed = await client.post("/api/chat", json=asked)
        assert streamed.headers["x-vercel-ai-ui-message-stream"] == "v1"
        again = await client.get("/api/chat/8/stream")
        assert streamed.text.endswith("data: [DONE]\n\n")
        assert again.text.endswith("data: [DONE]\n\n")
        assert (await client.get("/api/chat/9/stream")).status_code == 204
        completion = await client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hi"}]})
        assert '"finish_reason":"stop"' in completion.text


async def test_example_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS", f"sqlite:///{tmp_path / 'events.db'}")
    app = example("progress").app
    async with read_events(app, "/events?user=ann") as events, client_of(app) as client:
        task_id = (await client.post("/imports?user=ann&rows=3")).json()["taskId"]
        assert await _end_of(events, task_id) == "completed"
        task_id = (await client.post("/imports?user=ann&rows=100000")).json()["taskId"]
        assert (await client.post(f"/tasks/{task_id}/cancel?user=bob")).status_code == 404
        assert (await client.post(f"/tasks/{task_id}/cancel?user=ann")).status_code == 202
        assert await _end_of(events, task_id) == "cancelled"
        script = str(EXAMPLES / "progress.py")
        process = await asyncio.create_subprocess_exec(sys.executable, script, "import:42", "ann")
        while (event := await events.next(timeout=20)).topic != "import:42":
            pass
        assert event.type == "progress"
        assert (await client.post("/tasks/import:42/cancel?user=ann")).status_code == 202
        assert await _end_of(events, "import:42") == "cancelled"
        await process.wait()


async def _end_of(events: Events, task_id: str) -> str:
    while True:
        event = await events.next(timeout=20)
        if event.topic == task_id and event.data["status"] not in ("pending", "running"):
            return str(event.data["status"])


async def test_example_metrics() -> None:
    app = example("metrics").app
    async with read_events(app, "/events") as events, client_of(app) as client:
        assert (await client.post("/publish", json={"topic": "news", "data": 1})).status_code == 200
        assert (await events.next()).data == 1
        told = (await client.get("/metrics")).text
        assert "\nclarion_readers 1.0\n" in told
        assert "\nclarion_published_events_total 1.0\n" in told


async def test_example_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS", f"sqlite:///{tmp_path / 'events.db'}")
    app = example("worker").app
    async with read_events(app, "/tasks/42/events") as events:
        process = await asyncio.create_subprocess_exec(sys.executable, str(EXAMPLES / "worker.py"), "42")
        received = [await events.next(timeout=20) for _ in range(5)]
        assert await process.wait() == 0
    assert [event.data["step"] for event in received] == [1, 2, 3, 4, 5]
    assert [event.type for event in received] == ["progress"] * 4 + ["done"]
    async with read_events(app, "/tasks/42/events") as events:
        assert (await events.next()).data["step"] == 1

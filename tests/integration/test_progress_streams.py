"""What readers of a real hub are told of tasks: on each journal, by the frames that an `EventSource` gets."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from clarion.hub import Hub
from clarion.progress import Progress
from clarion.progress.routes import cancel_routes
from clarion.testing import read_events
from clarion.work.failures import Cancelled, UnknownWork


@pytest.fixture(params=["memory", "sqlite"])
async def hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Hub]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/events.db"
    async with Hub(url) as hub:
        yield hub


def read(hub: Hub, **options: Any) -> Any:
    return read_events(hub.stream(**options), "/events")


async def until_completed(events: Any) -> Any:
    """The event that tells the end; those before it may have been folded into it."""
    while (event := await events.next(2)).data["status"] != "completed":
        assert event.data["status"] == "running"
    return event


async def test_an_event_source_hears_every_change_by_one_event_type(hub: Hub) -> None:
    async with read(hub, topics="import:42") as events:
        async with hub.progress("import:42", total=4) as task:
            for number in range(4):
                task.advance(1, message=f"row {number}")
                await asyncio.sleep(0.12)
        values = []
        while not values or values[-1]["status"] != "completed":
            event = await events.next(2)
            assert (event.type, event.topic) == ("progress", "import:42")
            values.append(event.data)
    assert [value["progress"] for value in values] == sorted(value["progress"] for value in values)
    assert {"taskId", "progress", "status", "message"} <= set(values[0])
    assert 2 <= len(values) <= 7


async def test_who_comes_late_gets_the_state_in_one_frame(hub: Hub) -> None:
    async with hub.progress("import:42", total=100) as task:
        for _ in range(50):
            task.advance()
            await asyncio.sleep(0)
        await asyncio.sleep(0.25)
        async with read(hub, topics="import:42") as events:
            assert (await events.next()).data["progress"] == 50.0
            await events.none(0.05)
    async with read(hub, topics="import:42") as events:
        await until_completed(events)


async def test_a_users_task_is_that_users_alone(hub: Hub) -> None:
    async with read(hub, user="ann") as ann, read(hub, user="bob", topics="**") as bob:
        async with hub.progress("import:42", user="ann", total=4):
            pass
        await until_completed(ann)
        await bob.none(0.1)
    assert await hub.get("import:42") is None
    assert (await hub.get("import:42", user="ann"))["status"] == "completed"


async def test_named_users_and_topics(hub: Hub) -> None:
    async with read(hub, user="ann") as ann, read(hub, user="bob") as bob, read(hub, topics="admin/*") as admin:
        async with hub.progress("import:42", users=["ann", "bob"], topics=["admin/imports"]):
            pass
        for events, topic in ((ann, "import:42"), (bob, "import:42"), (admin, "admin/imports")):
            told = await until_completed(events)
            assert (told.topic, told.data["taskId"]) == (topic, "import:42")


async def test_a_thread_of_the_process(hub: Hub) -> None:
    def work() -> str:
        with hub.progress("import:42", total=4) as task:
            for _ in task.iter(range(4)):
                pass
            return threading.current_thread().name

    await asyncio.to_thread(work)
    assert (await hub.get("import:42"))["current"] == 4


async def test_a_task_function(hub: Hub) -> None:
    @hub.task(title="Report", total=2)
    async def report(task: Progress, month: str) -> str:
        task.advance()
        return month

    task = report.start(month="2026-10")
    assert await task == "2026-10"
    value = await hub.get(task.id)
    assert (value["title"], value["status"]) == ("Report", "completed")


async def test_cancelling_by_the_route(hub: Hub) -> None:
    app = FastAPI()
    app.include_router(cancel_routes(hub, current_user=lambda user: user))
    begun = asyncio.Event()

    @hub.task(user="ann")
    async def report(task: Progress) -> None:
        begun.set()
        await asyncio.sleep(3_600)

    task = report.start()
    await begun.wait()
    async with AsyncClient(transport=ASGITransport(app), base_url="http://hub") as client:
        assert (await client.post(f"/tasks/{task.id}/cancel?user=bob")).status_code == 404
        assert not task.done()
        assert (await client.post(f"/tasks/{task.id}/cancel?user=ann")).status_code == 202
        with pytest.raises(Cancelled):
            await task
        assert (await client.post(f"/tasks/{task.id}/cancel?user=ann")).status_code == 404
    assert (await hub.get(task.id, user="ann"))["status"] == "cancelled"


async def test_bad_requests_change_nothing(hub: Hub) -> None:
    with pytest.raises(UnknownWork):
        await hub.cancel("import:43")
    assert await hub.control_values("cancel") == {}


async def test_it_is_cancelled_when_nobody_looks_any_more(hub: Hub) -> None:
    async def work() -> None:
        async with hub.progress("import:42", on_no_viewers=0.2):
            await asyncio.sleep(3_600)

    async with read(hub, topics="import:42"):
        running = asyncio.create_task(work())
        await asyncio.sleep(1.5)
        assert not running.done()
    with pytest.raises(Cancelled) as caught:
        async with asyncio.timeout(5):
            await running
    assert caught.value.reason == "no_viewers"


async def test_nothing_is_left_behind(hub: Hub) -> None:
    for number in range(5):
        async with hub.progress(f"import:{number}"):
            pass
    assert await hub.control_values("lease") == {}
    assert await hub.control_values("cancel") == {}
    await hub.close()
    await hub.open()
    async with hub.progress("import:again"):
        pass
    assert (await hub.get("import:again"))["status"] == "completed"

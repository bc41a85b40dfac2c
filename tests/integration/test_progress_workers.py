"""Tasks in processes without a hub, told over SQLite: seen, cancelled, lost, and flushed at their end."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clarion.hub import Hub
from clarion.publisher import Publisher
from clarion.testing import read_events
from clarion.work.failures import UnknownWork

WORKER = Path(__file__).with_name("progress_worker.py")
ENDED = ("completed", "failed", "cancelled", "lost")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/events.db"


@pytest.fixture
async def hub(url: str) -> AsyncIterator[Hub]:
    async with Hub(url) as hub:
        yield hub


@contextmanager
def worker(role: str, url: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(WORKER), role, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


async def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return (await asyncio.to_thread(process.stdout.readline)).strip()


async def until_ended(events: Any, timeout: float = 10.0) -> list[dict[str, Any]]:
    """The values that a reader is told, up to the end of the task."""
    values = []
    async with asyncio.timeout(timeout):
        while not values or values[-1]["status"] not in ENDED:
            event = await events.next(timeout)
            assert event.type == "progress"
            values.append(event.data)
    return values


def read(hub: Hub, **options: Any) -> Any:
    return read_events(hub.stream(**options), "/events")


async def test_a_worker_that_is_killed_is_lost_within_its_lease_and_readers_are_told(hub: Hub, url: str) -> None:
    with worker("count", url) as process:
        async with read(hub, user="ann") as ann, read(hub, user="bob", topics="**") as bob:
            assert await said(process) == "ready"
            assert (await ann.next(5)).data["status"] == "running"
            process.kill()
            loop = asyncio.get_running_loop()
            killed = loop.time()
            values = await until_ended(ann)
            assert loop.time() - killed < 2  # the lease is one second
            assert (values[-1]["status"], values[-1]["progress"]) == ("lost", 60.0)
            assert values[-1]["message"] == "under way"
            await bob.none(0.1)
    with pytest.raises(UnknownWork):
        await hub.cancel("import:42")
    await asyncio.sleep(0)
    assert await hub.control_values("lease") == {}


async def test_cancelling_reaches_a_worker_process(hub: Hub, url: str) -> None:
    with worker("count", url) as process:
        async with read(hub, user="ann") as ann:
            assert await said(process) == "ready"
            await ann.next(5)
            with pytest.raises(UnknownWork):
                await hub.cancel("import:42", user="bob")
            await hub.cancel("import:42", user="ann")
            values = await until_ended(ann)
            assert (values[-1]["status"], values[-1]["progress"]) == ("cancelled", 60.0)
            assert values[-1]["cancelRequested"]
            assert await said(process) == "asked"
            assert await asyncio.to_thread(process.wait) == 1
    assert await hub.control_values("cancel") == {}
    assert await hub.control_values("lease") == {}


async def test_a_hub_that_comes_later_finds_what_was_lost_before(url: str) -> None:
    with worker("count", url) as process:
        assert await said(process) == "ready"
        process.kill()
    async with Hub(url) as hub, read(hub, user="ann") as ann:
        values = await until_ended(ann)
    assert (values[-1]["status"], values[-1]["progress"]) == ("lost", 60.0)


async def test_a_hub_that_was_killed_finds_its_own_task_lost_when_it_is_back(url: str) -> None:
    with worker("hub", url) as process:
        assert await said(process) == "ready"
        process.kill()
    async with Hub(url) as hub, read(hub, topics="import:42") as events:
        values = await until_ended(events)
    assert (values[-1]["status"], values[-1]["progress"], values[-1]["message"]) == ("lost", 25.0, "in the hub")


async def test_a_failure_in_a_worker_keeps_its_text_to_its_log(hub: Hub, url: str) -> None:
    with worker("fail", url) as process:
        _, log = await asyncio.to_thread(process.communicate)
    value = await hub.get("import:42")
    assert (value["status"], value["progress"], value["error"]["code"]) == ("failed", 75.0, "internal")
    assert "secret" not in str(value)
    assert value["error"]["ref"] in log
    assert "secret" in log


@pytest.mark.parametrize(("role", "status"), [("forget", "lost"), ("exit_inside", "failed")])
def test_what_was_counted_is_told_when_the_process_ends(url: str, role: str, status: str) -> None:
    with worker(role, url) as process:
        _, log = process.communicate()
    assert "Traceback" not in log or role == "exit_inside"
    with Publisher(url) as publisher:
        value = publisher.get("import:42")
    assert (value["status"], value["progress"], value["current"]) == (status, 75.0, 3)


async def test_a_task_of_one_hub_is_cancelled_by_another(hub: Hub, url: str) -> None:
    async with Hub(url) as other:
        begun = asyncio.Event()

        @other.task(user="ann")
        async def report(task: Any) -> None:
            begun.set()
            await asyncio.sleep(3_600)

        task = report.start()
        await begun.wait()
        async with read(hub, user="ann") as ann:
            await hub.cancel(task.id, user="ann")
            assert (await until_ended(ann))[-1]["status"] == "cancelled"


async def test_a_hub_that_closes_tells_its_tasks_lost(hub: Hub, url: str) -> None:
    async with read(hub, topics="import:42") as events:
        async with Hub(url) as other:
            begun = asyncio.Event()

            async def work() -> None:
                async with other.progress("import:42", total=4) as task:
                    task.advance(2)
                    begun.set()
                    await asyncio.sleep(3_600)

            running = asyncio.create_task(work())
            await begun.wait()
        assert (await until_ended(events))[-1]["status"] == "lost"
        await asyncio.gather(running, return_exceptions=True)

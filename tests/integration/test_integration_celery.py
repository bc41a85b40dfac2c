"""The real Celery: its filesystem transport, a worker process with a child for each task, and a hub that reads."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from clarion.hub import Hub
from clarion.work.failures import UnknownWork

HERE = Path(__file__).parent
ENDED = ("completed", "failed", "cancelled", "lost")
PATIENCE_SECONDS = 30.0  # for a worker to start on a busy machine

pytestmark = pytest.mark.filterwarnings("default")  # Celery's own


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("celery")


@pytest.fixture(scope="module")
def url(place: Path) -> str:
    return f"sqlite:///{place}/events.db"


@pytest.fixture(scope="module")
def shop(place: Path, url: str) -> Iterator[Any]:
    """The app, as a producer has it."""
    os.environ |= {"CELERY_FOLDER": str(place / "queue"), "EVENTS_URL": url}
    sys.path.insert(0, str(HERE))
    try:
        import celery_app

        yield celery_app
        celery_app.progress.disconnect()
        celery_app.app.close()
    finally:
        sys.path.remove(str(HERE))


@pytest.fixture(scope="module")
def worker(shop: Any, place: Path) -> Iterator[None]:
    log = place / "worker.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "-A", "celery_app", "worker", "--pool", "prefork"),
                *("--concurrency", "1", "--loglevel", "INFO", "--without-gossip", "--without-mingle"),
            ],
            cwd=HERE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # a warm shutdown of this transport takes Celery seven seconds
        process.wait()
        print(log.read_text())


@pytest.fixture
async def hub(url: str) -> AsyncIterator[Hub]:
    async with Hub(url) as hub:
        yield hub


async def until(hub: Hub, task_id: str, *statuses: str, user: str | None = None) -> dict[str, Any]:
    """The task's value once it has one of these statuses."""
    value: dict[str, Any] | None = None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (value := await hub.get(task_id, user=user)) is None or value["status"] not in statuses:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise TimeoutError(f"not {statuses}, but {value}") from None
    return value


def statuses(values: list[dict[str, Any]]) -> list[str]:
    """Each status once, in order."""
    found: list[str] = []
    for value in values:
        if not found or found[-1] != value["status"]:
            found.append(value["status"])
    return found


async def send(task: Any, *args: Any, **options: Any) -> str:
    return str((await asyncio.to_thread(task.apply_async, args, **options)).id)


async def test_a_task_that_knows_nothing_of_progress(shop: Any, hub: Hub, worker: None) -> None:
    task_id = await send(shop.plain, 21)
    value = await until(hub, task_id, *ENDED)
    values = shop.told(task_id)
    assert statuses(values) == ["pending", "running", "completed"]
    assert (values[0]["title"], values[0]["startedAt"], values[0]["attempt"]) == ("Plain", None, 1)
    assert (value["status"], value["progress"]) == ("completed", 100.0)


async def test_a_task_that_counts(shop: Any, hub: Hub, worker: None) -> None:
    value = await until(hub, await send(shop.counting, 1_000), *ENDED)
    assert (value["status"], value["current"], value["total"]) == ("completed", 1_000, 1_000)


async def test_failures_are_safe(shop: Any, hub: Hub, worker: None, place: Path) -> None:
    task_id = await send(shop.failing)
    value = await until(hub, task_id, *ENDED)
    assert statuses(shop.told(task_id)) == ["pending", "running", "failed"]
    assert value["error"]["message"] == "Something went wrong."
    assert "secret" not in str(shop.told(task_id))
    assert value["error"]["ref"] in (place / "worker.log").read_text()
    value = await until(hub, await send(shop.public), *ENDED)
    assert value["error"]["message"] == "Row 7 has no date."


async def test_retries(shop: Any, hub: Hub, worker: None) -> None:
    task_id = await send(shop.retrying)
    value = await until(hub, task_id, *ENDED)
    values = shop.told(task_id)
    assert statuses(values) == ["pending", "running", "pending", "running", "pending", "running", "completed"]
    waiting = [value for value in values if value["status"] == "pending"]
    assert [value["attempt"] for value in waiting] == [1, 2, 3]
    assert [value["error"] and value["error"]["code"] for value in waiting] == [None, "internal", "internal"]
    assert value["attempt"] == 3


async def test_one_user_alone(shop: Any, hub: Hub, worker: None) -> None:
    by_argument = await send(shop.plain, 1, kwargs={"user": "ann"})
    by_header = await send(shop.plain, 1, headers={"clarion": {"user": "bob", "title": "Bob's", "queue_id": "x"}})
    assert (await until(hub, by_argument, *ENDED, user="ann"))["status"] == "completed"
    value = await until(hub, by_header, *ENDED, user="bob")
    assert (value["status"], value["title"]) == ("completed", "Bob's")
    assert await hub.get(by_argument) is None
    assert await hub.get(by_header) is None


async def test_a_task_that_is_not_to_be_told(shop: Any, hub: Hub, worker: None) -> None:
    silent = await send(shop.silent)
    await until(hub, await send(shop.plain, 1), *ENDED)  # there is one child, and one order
    assert await hub.get(silent) is None
    assert shop.told(silent) == []


async def test_cancelling_one_that_runs(shop: Any, hub: Hub, worker: None) -> None:
    task_id = await send(shop.endless)
    await until(hub, task_id, "running")
    await hub.cancel(task_id)
    value = await until(hub, task_id, *ENDED)
    assert (value["status"], value["progress"], value["cancelRequested"]) == ("cancelled", 40.0, True)


async def test_cancelling_one_that_waits(shop: Any, hub: Hub, worker: None) -> None:
    running = await send(shop.endless)
    await until(hub, running, "running")
    fetched = await send(shop.plain, 1)  # perhaps: the worker fetches one in advance
    waiting = await send(shop.plain, 1)
    for task_id in (waiting, fetched):
        await until(hub, task_id, "pending")
        await hub.cancel(task_id)
        assert (await hub.get(task_id))["status"] == "cancelled"
        with pytest.raises(UnknownWork):
            await hub.cancel(task_id)
    await hub.cancel(running)
    await until(hub, await send(shop.plain, 1), *ENDED)
    assert (await hub.get(fetched))["status"] == "cancelled"
    # One that was fetched before begins, and ends at once.
    assert statuses(shop.told(fetched)) in (["pending"], ["pending", "running", "cancelled"])
    assert (await hub.get(waiting))["status"] == "cancelled"
    assert statuses(shop.told(waiting)) == ["pending"]  # it does not begin


async def test_a_child_that_is_killed(shop: Any, hub: Hub, worker: None) -> None:
    async with asyncio.timeout(15):  # the worker says so; its lease would run out after thirty seconds
        value = await until(hub, await send(shop.dying), *ENDED)
    assert (value["status"], value["progress"]) == ("lost", 40.0)
    assert (await until(hub, await send(shop.plain, 1), *ENDED))["status"] == "completed"


async def test_nothing_is_left_behind(shop: Any, hub: Hub, worker: None) -> None:
    await until(hub, await send(shop.plain, 1), *ENDED)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await hub.control_values("lease"):  # noqa: ASYNC110 - another process gives them back
            await asyncio.sleep(0.1)

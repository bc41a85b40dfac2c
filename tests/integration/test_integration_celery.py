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

pytestmark = [
    pytest.mark.filterwarnings("default"),  # Celery's own
    pytest.mark.xdist_group("celery"),
]


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


class Watcher:
    """All that a task's readers are told, from before it is sent."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.events = hub.subscribe("**")
        self.told: dict[str, list[dict[str, Any]]] = {}

    async def until(self, task_id: str, *statuses: str) -> list[dict[str, Any]]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (values := self.told.get(task_id)) or values[-1]["status"] not in statuses:
                event = await anext(self.events)
                self.told.setdefault(event.topic or "", []).append(event.data)
        return values


@pytest.fixture
async def watcher(hub: Hub) -> AsyncIterator[Watcher]:
    watcher = Watcher(hub)
    async with watcher.events:
        yield watcher


def statuses(values: list[dict[str, Any]]) -> list[str]:
    """Each status once, in order."""
    found: list[str] = []
    for value in values:
        if not found or found[-1] != value["status"]:
            found.append(value["status"])
    return found


async def send(task: Any, *args: Any, **options: Any) -> str:
    return str((await asyncio.to_thread(task.apply_async, args, **options)).id)


async def test_a_task_that_knows_nothing_of_progress(shop: Any, worker: None, watcher: Watcher) -> None:
    task_id = await send(shop.plain, 21)
    values = await watcher.until(task_id, *ENDED)
    assert statuses(values) == ["pending", "running", "completed"]
    assert (values[0]["title"], values[0]["startedAt"], values[0]["attempt"]) == ("Plain", None, 1)
    assert values[-1]["progress"] == 100.0


async def test_a_task_that_counts(shop: Any, worker: None, watcher: Watcher) -> None:
    values = await watcher.until(await send(shop.counting, 1_000), *ENDED)
    assert (values[-1]["current"], values[-1]["total"]) == (1_000, 1_000)


async def test_failures_are_safe(shop: Any, worker: None, watcher: Watcher, place: Path) -> None:
    values = await watcher.until(await send(shop.failing), *ENDED)
    assert statuses(values) == ["pending", "running", "failed"]
    assert values[-1]["error"]["message"] == "Something went wrong."
    assert "secret" not in str(values)
    assert values[-1]["error"]["ref"] in (place / "worker.log").read_text()
    values = await watcher.until(await send(shop.public), *ENDED)
    assert values[-1]["error"]["message"] == "Row 7 has no date."


async def test_retries(shop: Any, worker: None, watcher: Watcher) -> None:
    values = await watcher.until(await send(shop.retrying), *ENDED)
    assert statuses(values) == ["pending", "running", "pending", "running", "pending", "running", "completed"]
    waiting = [value for value in values if value["status"] == "pending"]
    assert [value["attempt"] for value in waiting] == [1, 2, 3]
    assert [value["error"] and value["error"]["code"] for value in waiting] == [None, "internal", "internal"]
    assert values[-1]["attempt"] == 3


async def test_one_user_alone(shop: Any, worker: None, hub: Hub, watcher: Watcher) -> None:
    by_argument = await send(shop.plain, 1, kwargs={"user": "ann"})
    by_header = await send(shop.plain, 1, headers={"clarion": {"user": "bob", "title": "Bob's", "queue_id": "x"}})
    other = await send(shop.plain, 1)
    await watcher.until(other, "completed")
    assert (await hub.get(by_argument, user="ann"))["status"] == "completed"  # there is one child, and one order
    assert (await hub.get(by_header, user="bob"))["status"] == "completed"
    assert (await hub.get(by_header, user="bob"))["title"] == "Bob's"
    assert not {by_argument, by_header} & set(watcher.told)


async def test_a_task_that_is_not_to_be_told(shop: Any, worker: None, hub: Hub, watcher: Watcher) -> None:
    silent = await send(shop.silent)
    await watcher.until(await send(shop.plain, 1), "completed")
    assert await hub.get(silent) is None
    assert silent not in watcher.told


async def test_cancelling_one_that_runs(shop: Any, worker: None, hub: Hub, watcher: Watcher) -> None:
    task_id = await send(shop.endless)
    await watcher.until(task_id, "running")
    await hub.cancel(task_id)
    values = await watcher.until(task_id, *ENDED)
    assert (values[-1]["status"], values[-1]["progress"], values[-1]["cancelRequested"]) == ("cancelled", 40.0, True)


async def test_cancelling_one_that_waits(shop: Any, worker: None, hub: Hub, watcher: Watcher, place: Path) -> None:
    running = await send(shop.endless)
    await watcher.until(running, "running")
    waiting = await send(shop.plain, 1)
    await watcher.until(waiting, "pending")
    await hub.cancel(waiting)
    values = await watcher.until(waiting, *ENDED)
    assert statuses(values) == ["pending", "cancelled"]
    with pytest.raises(UnknownWork):
        await hub.cancel(waiting)
    await hub.cancel(running)
    await watcher.until(await send(shop.plain, 1), "completed")
    assert statuses(watcher.told[waiting]) in (
        ["pending", "cancelled"],
        ["pending", "cancelled", "running", "cancelled"],
    )


async def test_a_child_that_is_killed(shop: Any, worker: None, watcher: Watcher) -> None:
    values = await watcher.until(await send(shop.dying), *ENDED)
    assert (statuses(values), values[-1]["progress"]) == (["pending", "running", "lost"], 40.0)
    await watcher.until(await send(shop.plain, 1), "completed")


async def test_nothing_is_left_behind(shop: Any, worker: None, hub: Hub, watcher: Watcher) -> None:
    await watcher.until(await send(shop.plain, 1), "completed")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await hub.control_values("lease"):  # noqa: ASYNC110 - another process gives them back
            await asyncio.sleep(0.1)

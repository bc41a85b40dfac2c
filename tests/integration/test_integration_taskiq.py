"""The real taskiq: its broker in memory, its receiver, and its own retry middleware."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from taskiq import InMemoryBroker, SimpleRetryMiddleware

from clarion.hub import Hub
from clarion.integrations.taskiq import ProgressMiddleware, current_progress
from clarion.publisher import Publisher
from clarion.work.failures import PublicError

ENDED = ("completed", "failed", "cancelled", "lost")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/events.db"


@pytest.fixture
async def hub(url: str) -> AsyncIterator[Hub]:
    async with Hub(url) as hub:
        yield hub


def options_of(name: str, args: Any, kwargs: Any) -> dict[str, Any] | None:
    return None if name == "silent" else {}


@pytest.fixture(params=["progress first", "progress last"])
async def queue(request: pytest.FixtureRequest, url: str) -> AsyncIterator[InMemoryBroker]:
    queue = InMemoryBroker()
    middlewares = [ProgressMiddleware(url, options=options_of), SimpleRetryMiddleware(default_retry_count=3)]
    queue.add_middlewares(*(middlewares if request.param == "progress first" else reversed(middlewares)))
    await queue.startup()
    yield queue
    await queue.shutdown()


class Told:
    """All that is told: readers get the state, in which changes may be folded."""

    def __init__(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hub = hub
        self.values: dict[str, list[dict[str, Any]]] = {}
        change_many = Publisher.change_many

        def noted(publisher: Publisher, changes: Any) -> Any:
            changes = list(changes)
            for one in changes:
                self.values.setdefault(one.topic, []).append(one.data)
            return change_many(publisher, changes)

        monkeypatch.setattr(Publisher, "change_many", noted)

    async def until(self, task_id: str, *statuses: str) -> list[dict[str, Any]]:
        async with asyncio.timeout(10):
            while (await self.hub.get(task_id) or {}).get("status") not in statuses:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return self.values[task_id]


@pytest.fixture
def told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(hub, monkeypatch)


def statuses(values: list[dict[str, Any]]) -> list[str]:
    """Each status once, in order."""
    found: list[str] = []
    for value in values:
        if not found or found[-1] != value["status"]:
            found.append(value["status"])
    return found


async def test_a_task_that_knows_nothing_of_progress(queue: InMemoryBroker, told: Told) -> None:
    @queue.task(task_name="shop:make_report")
    async def make_report(month: str) -> str:
        return month

    sent = await make_report.kiq("2026-10")
    values = await told.until(sent.task_id, *ENDED)
    assert statuses(values) == ["pending", "running", "completed"]
    assert (values[0]["title"], values[0]["startedAt"]) == ("Make report", None)
    assert (await sent.wait_result()).return_value == "2026-10"


@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_task_that_counts(queue: InMemoryBroker, told: Told, in_thread: bool) -> None:
    def count(number: int) -> None:
        task = current_progress()
        assert task is not None
        for _ in task.iter(range(number)):
            pass

    async def count_async(number: int) -> None:
        count(number)

    sent = await queue.task(task_name="count")(count if in_thread else count_async).kiq(7)
    values = await told.until(sent.task_id, *ENDED)
    assert (values[-1]["status"], values[-1]["current"], values[-1]["total"]) == ("completed", 7, 7)
    assert current_progress() is None


async def test_failures_are_safe(queue: InMemoryBroker, told: Told, caplog: pytest.LogCaptureFixture) -> None:
    @queue.task(task_name="fail")
    async def fail(error: str) -> None:
        raise PublicError("Row 7 has no date.") if error == "public" else ValueError("secret")

    values = await told.until((await fail.kiq("other")).task_id, *ENDED)
    assert statuses(values) == ["pending", "running", "failed"]
    assert values[-1]["error"]["message"] == "Something went wrong."
    assert values[-1]["error"]["ref"] in caplog.text
    values = await told.until((await fail.kiq("public")).task_id, *ENDED)
    assert values[-1]["error"]["message"] == "Row 7 has no date."


async def test_retries(queue: InMemoryBroker, told: Told) -> None:
    tries = []

    @queue.task(task_name="flaky", retry_on_error=True)
    async def flaky() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("secret")

    values = await told.until((await flaky.kiq()).task_id, *ENDED)
    assert statuses(values) == ["pending", "running", "pending", "running", "pending", "running", "completed"]
    assert values[-1]["attempt"] == 3
    if isinstance(queue.middlewares[-1], ProgressMiddleware):  # it hears of the error before the retry does
        waiting = [value for value in values if value["status"] == "pending"]
        assert [value["error"] and value["error"]["code"] for value in waiting] == [None, "internal", "internal"]
    assert "secret" not in str(values)


async def test_labels_are_options(queue: InMemoryBroker, hub: Hub) -> None:
    @queue.task(task_name="report", clarion_title="Report")
    async def report() -> None:
        pass

    sent = await report.kicker().with_labels(clarion_user="ann").kiq()
    await sent.wait_result(timeout=10)
    await queue.wait_all()
    value = await hub.get(sent.task_id, user="ann")
    assert (value["title"], value["status"]) == ("Report", "completed")
    assert await hub.get(sent.task_id) is None


async def test_a_task_that_is_not_to_be_told(queue: InMemoryBroker, hub: Hub) -> None:
    @queue.task(task_name="silent")
    async def silent() -> None:
        assert current_progress() is None

    sent = await silent.kiq()
    assert not (await sent.wait_result(timeout=10)).is_err
    assert await hub.get(sent.task_id) is None


async def test_cancelling_one_that_runs(queue: InMemoryBroker, hub: Hub, told: Told) -> None:
    @queue.task(task_name="endless")
    def endless() -> None:
        task = current_progress()
        assert task is not None
        task.update(total=10, current=4)
        while True:
            task.advance(0)
            time.sleep(0.01)

    sent = await endless.kiq()
    await told.until(sent.task_id, "running")
    await hub.cancel(sent.task_id)
    values = await told.until(sent.task_id, *ENDED)
    assert (values[-1]["status"], values[-1]["progress"]) == ("cancelled", 40.0)
    await queue.wait_all()
    async with asyncio.timeout(5):
        while await hub.control_values("lease"):  # noqa: ASYNC110 - given back once the end is told
            await asyncio.sleep(0.01)

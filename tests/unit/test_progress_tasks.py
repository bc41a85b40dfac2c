import asyncio
import threading

import pytest

from clarion.progress.progress import current_progress
from clarion.progress.tasks import Tasks
from clarion.testing import ManualClock
from clarion.work.failures import Cancelled
from tests.unit.works import FakeHub, Store, settle


class Hub(FakeHub):
    """A fake hub whose loop other threads find."""

    def __init__(self, store, clock):
        self._loop = asyncio.get_running_loop()
        super().__init__(store, clock)
        self.tasks = Tasks(self, clock)

    @property
    def loop(self):
        return self._loop


@pytest.fixture
def store():
    return Store()


@pytest.fixture
async def hub(store):
    hub = Hub(store, ManualClock())
    await hub.supervisor.start()
    yield hub
    await hub.supervisor.close()
    await hub.tasks.close()


async def test_a_coroutine_function(hub, store):
    @hub.tasks.task(title="Report", total=4)
    async def report(task, month):
        """Make a report."""
        task.advance(2)
        assert current_progress() is task
        return f"{month}: {store.values[task.id, None]['status']}"

    task = report.start(month="2026-10")
    assert not task.done()
    assert await task == "2026-10: running"
    assert task.done()
    told = store.values[task.id, None]
    assert (told["title"], told["status"], told["progress"]) == ("Report", "completed", 100.0)
    assert store.statuses(task.id) == ["running", "completed"]
    assert (report.__name__, report.__doc__) == ("report", "Make a report.")


async def test_a_plain_function_runs_in_a_thread(hub, store):
    @hub.tasks.task
    def monthly_report(task, month):
        assert current_progress() is task
        return threading.current_thread().name, month

    task = monthly_report.start("2026-10")
    name, month = await task
    assert (name.startswith("clarion-task"), month) == (True, "2026-10")
    assert store.values[task.id, None]["title"] == "Monthly report"
    assert task.id.startswith("monthly_report:")


@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_failure_is_told_and_raised_to_who_waits(hub, store, in_thread):
    def fail(task):
        raise ValueError("secret")

    async def fail_async(task):
        raise ValueError("secret")

    task = hub.tasks.task(fail if in_thread else fail_async).start()
    with pytest.raises(ValueError, match="secret"):
        await task
    assert store.values[task.id, None]["error"]["code"] == "internal"


async def test_nobody_needs_to_wait(hub, store):
    @hub.tasks.task
    async def fail(task):
        raise ValueError("secret")

    task = fail.start()
    await settle()
    assert store.values[task.id, None]["status"] == "failed"


async def test_options_of_one_start(hub, store):
    @hub.tasks.task(title="Report")
    async def report(task, month):
        pass

    await report.using("report:7", user="ann").start("2026-10")
    assert store.values["report:7", "ann"]["title"] == "Report"
    await report.start("2026-11")
    assert len([topic for topic, user in store.values if user is None]) == 1


async def test_it_can_be_cancelled_the_moment_it_is_started(hub, store):
    ran = []

    @hub.tasks.task
    async def report(task):
        ran.append(1)

    task = report.start()
    await hub.supervisor.cancel(task.id)
    with pytest.raises(Cancelled):
        await task
    assert (ran, store.values[task.id, None]["status"]) == ([], "cancelled")


async def test_a_running_coroutine_is_cancelled(hub, store):
    begun = asyncio.Event()

    @hub.tasks.task
    async def report(task):
        begun.set()
        await asyncio.sleep(3_600)

    task = report.start()
    await begun.wait()
    task.cancel()
    with pytest.raises(Cancelled):
        await task
    assert store.values[task.id, None]["status"] == "cancelled"


async def test_a_running_thread_sees_it_at_its_next_count(hub, store):
    begun, go_on = threading.Event(), threading.Event()

    @hub.tasks.task
    def report(task):
        begun.set()
        assert go_on.wait(10)
        task.advance()

    task = report.start()
    await asyncio.to_thread(begun.wait)
    await hub.supervisor.cancel(task.id)
    go_on.set()
    with pytest.raises(Cancelled):
        await task
    assert store.values[task.id, None]["status"] == "cancelled"


async def test_who_waits_may_leave_without_harm(hub, store):
    go_on = asyncio.Event()

    @hub.tasks.task
    async def report(task):
        await go_on.wait()
        return 7

    task = report.start()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await task
    go_on.set()
    assert await task == 7
    assert store.values[task.id, None]["status"] == "completed"


async def test_starting_and_waiting_from_another_thread(hub, store):
    @hub.tasks.task
    async def report(task):
        return 7

    def elsewhere():
        task = report.start()
        return task.result(10)

    assert await asyncio.to_thread(elsewhere) == 7


class Threads:
    """Tasks in threads that all wait for one word, of which one runs at a time."""

    def __init__(self, hub, monkeypatch):
        monkeypatch.setattr("clarion.progress.tasks.TASK_THREADS", 1)
        self.go_on = threading.Event()

        @hub.tasks.task
        def report(task):
            assert self.go_on.wait(10)

        self.start = report.start


@pytest.fixture
def threads(hub, monkeypatch):
    threads = Threads(hub, monkeypatch)
    yield threads
    threads.go_on.set()


async def until_told(store, number):
    while len(store.values) < number:  # noqa: ASYNC110 - a thread begins
        await asyncio.sleep(0.01)


async def test_what_waits_for_a_thread_is_pending_and_runs_in_its_turn(hub, store, threads):
    tasks = [threads.start() for _ in range(3)]
    await until_told(store, 3)
    assert [store.values[task.id, None]["status"] for task in tasks] == ["running", "pending", "pending"]
    threads.go_on.set()
    await asyncio.gather(*tasks)
    assert [store.statuses(task.id)[-1] for task in tasks] == ["completed"] * 3
    begun = [change.topic for change in store.told if change.data["status"] == "running"]
    assert begun == [task.id for task in tasks]
    assert store.control == {}


async def test_what_waits_for_a_thread_is_cancelled_at_once(hub, store, threads):
    tasks = [threads.start() for _ in range(3)]
    await until_told(store, 3)
    await hub.supervisor.cancel(tasks[1].id)
    with pytest.raises(Cancelled):
        await tasks[1]
    assert store.values[tasks[1].id, None]["status"] == "cancelled"
    assert not tasks[0].done()
    threads.go_on.set()
    await asyncio.gather(tasks[0], tasks[2])


async def test_what_waits_for_a_thread_is_lost_when_the_hub_closes(hub, store, threads):
    tasks = [threads.start() for _ in range(2)]
    await until_told(store, 2)
    closing = asyncio.ensure_future(hub.supervisor.close())
    with pytest.raises(Cancelled):
        await tasks[1]
    assert store.values[tasks[1].id, None]["status"] == "lost"
    threads.go_on.set()
    await closing
    await tasks[0]
    assert store.values[tasks[0].id, None]["status"] == "completed"


async def test_the_function_itself_can_be_called_with_a_progress(hub):
    @hub.tasks.task
    async def report(task, month):
        return month

    async with hub.tasks.progress() as task:
        assert await report(task, "2026-10") == "2026-10"


async def test_options_that_cannot_be_are_said_to_who_starts(hub):
    @hub.tasks.task(total=-1)
    async def report(task):
        pass

    with pytest.raises(ValueError):
        report.start()


async def test_a_hub_that_closes_stops_its_tasks(hub, store):
    @hub.tasks.task
    async def report(task):
        await asyncio.sleep(3_600)

    task = report.start()
    await settle()
    await hub.supervisor.close()
    await hub.tasks.close()
    with pytest.raises(Cancelled) as caught:
        await task
    assert caught.value.reason == "shutdown"
    assert store.values[task.id, None]["status"] == "lost"

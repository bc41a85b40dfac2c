"""A task in several processes of one machine: pools, `fork`, `spawn`, and children that are killed."""

import asyncio
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from clarion.progress.members import _registry
from clarion.progress.progress import Progress
from clarion.progress.publisher_target import PublisherTarget
from clarion.progress.shared import MAX_NODES, Head, Node, PartReader, Parts, PartWriter
from clarion.progress.step import MAX_NAME_CHARS, MAX_TASK_STEPS
from clarion.publisher import Publisher
from clarion.work.failures import Cancelled
from tests.unit.works import FakePublisher, Store

START_METHODS = ["fork", "spawn"]

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def target(store):
    return PublisherTarget(FakePublisher(store), threaded=False)


def join(process):
    """Wait for a process; one that does not end is killed, and fails its test by its exit code."""
    process.join(20)
    if process.is_alive():
        process.kill()
        process.join()


def value(store):
    return store.values["import:42", None]


def now(task):
    """What the task says now, all processes together."""
    task.discover()
    return task.value(time.monotonic_ns() // 1_000_000, 0)


def count(task, number):
    """Run in a pool."""
    for _ in range(number):
        task.advance(message=f"process {os.getpid()}")
    return os.getpid()


def load(task, number):
    with task.step("Load", weight=3, total=number) as step:
        for _ in step.iter(range(number)):
            pass


def count_step(step):
    step.advance(2)


def wait_until_cancelled(task, began):
    began.set()
    try:
        while True:
            task.advance()
    except Cancelled as error:
        sys.exit(7 if error.reason == "asked" else 8)


def count_and_die(task):
    for _ in range(1_000):
        task.advance()
    os.kill(os.getpid(), signal.SIGKILL)


def end_it(task):
    with task:
        task.advance()
    task.finish(ValueError("x"))
    task.cancel()


def own(task):
    with task:
        task.advance(3)


@pytest.mark.parametrize("method", START_METHODS)
def test_a_pool_counts_into_one_task(target, store, method):
    with Progress("import:42", to=target, total=1_000) as task:
        with multiprocessing.get_context(method).Pool(2) as pool:
            pool.starmap(count, [(task, 100)] * 10)
        told = now(task)  # the pool was terminated without a word
        assert (told["current"], told["progress"]) == (1_000, 100.0)
        assert told["message"].startswith("process ")
    assert value(store)["status"] == "completed"


def count_here_and_there(task, number, url):
    """Count into the parent's task, and tell one of its own."""
    for _ in range(number):
        task.advance()
    with Progress(f"child:{os.getpid()}", to=url) as own_task:
        own_task.advance()
    os._exit(0 if Publisher(url).get(own_task.id)["status"] == "completed" else 1)


def test_forks_while_a_thread_tells_harm_neither(tmp_path):
    url = f"sqlite:///{tmp_path}/events.db"
    with Progress("import:42", to=url, total=400) as task:
        for number in range(20):
            step = task.step(f"step {number}")
            step.start()  # the thread has something to tell
            args = (task, 20, url)
            process = multiprocessing.get_context("fork").Process(target=count_here_and_there, args=args)
            process.start()
            join(process)
            assert process.exitcode == 0
            step.finish()
    with Publisher(url) as publisher:
        told = publisher.get("import:42")
    assert (told["status"], told["current"], len(told["steps"])) == ("completed", 400, 20)


def test_an_executor_counts_into_one_task(target):
    with Progress("import:42", to=target, total=40) as task, ProcessPoolExecutor(2) as pool:
        list(pool.map(count, [task] * 4, [10] * 4))
        assert now(task)["current"] == 40


def test_steps_of_the_children_are_told(target):
    with Progress("import:42", to=target) as task:
        shared = task.step("Shared", total=10)
        with ProcessPoolExecutor(2) as pool:
            list(pool.map(load, [task] * 4, [50] * 4))
            list(pool.map(count_step, [shared] * 5))
        steps = {step["name"]: step for step in now(task)["steps"]}
    assert steps["Shared"]["current"] == 10
    assert (steps["Load"]["status"], steps["Load"]["weight"]) == ("completed", 3)
    assert steps["Load"]["current"] == steps["Load"]["total"]


def test_after_a_fork_the_same_object_counts_into_the_parents_task(target, store):
    with Progress("import:42", to=target, total=100) as task:
        task.advance(10)
        with task.step("Load", total=5) as step:
            step.advance(1)
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    task.advance(5)
                    step.advance(2)
                    grandchild = os.fork()
                    if grandchild == 0:
                        task.advance(1)
                        os._exit(0)
                    os.waitpid(grandchild, 0)
                    with task.step("Mine", total=2) as mine:
                        mine.advance()
                    end_it(task)
                    code = 0
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            step.advance(1)
        told = now(task)
        assert told["current"] == 17
        assert [(step["name"], step["current"]) for step in told["steps"]] == [("Load", 4), ("Mine", 1)]
    assert store.statuses("import:42") == ["running", "completed"]


def test_a_child_of_fork_that_ends_its_copy_ends_nothing(target, store):
    with Progress("import:42", to=target) as task:
        process = multiprocessing.get_context("fork").Process(target=end_it, args=(task,))
        process.start()
        join(process)
        assert process.exitcode == 0
        assert task.status == "running"
    assert store.statuses("import:42") == ["running", "completed"]


def test_what_a_killed_process_has_counted_is_there(target):
    with Progress("import:42", to=target, total=2_000) as task:
        process = multiprocessing.get_context("spawn").Process(target=count_and_die, args=(task,))
        process.start()
        join(process)
        assert process.exitcode == -signal.SIGKILL
        assert now(task)["current"] == 1_000


@pytest.mark.parametrize("method", START_METHODS)
def test_children_are_told_to_stop(target, store, method):
    context = multiprocessing.get_context(method)
    task = Progress("import:42", to=target)
    task.start()
    began = context.Event()
    process = context.Process(target=wait_until_cancelled, args=(task, began))
    process.start()
    assert began.wait(20)
    task.cancel()
    join(process)
    assert process.exitcode == 7
    late = context.Process(target=wait_until_cancelled, args=(task, began))
    late.start()
    join(late)
    assert late.exitcode == 7
    task.finish(Cancelled("import:42"))


def test_a_child_that_comes_after_the_request_stops_too(target):
    context = multiprocessing.get_context("spawn")
    task = Progress("import:42", to=target)
    task.start()
    task.cancel()
    began = context.Event()
    process = context.Process(target=wait_until_cancelled, args=(task, began))
    process.start()
    join(process)
    assert process.exitcode == 7
    task.finish(Cancelled("import:42"))


def test_what_comes_after_the_end_goes_nowhere(target):
    with Progress("import:42", to=target, total=10) as task:
        data = pickle.dumps(task)
    with ProcessPoolExecutor(1) as pool:
        pool.submit(count_pickled, data).result()
    assert now(task)["current"] == 0


def count_pickled(data):
    task = pickle.loads(data)
    task.advance()
    with task.step("Load") as step:
        step.advance()


def test_at_home_a_pickled_task_is_the_task_itself(target):
    with Progress("import:42", to=target) as task, task.step("Load") as step:
        assert pickle.loads(pickle.dumps(task)) is task
        assert pickle.loads(pickle.dumps(step)) is step


def test_a_task_that_has_not_begun_can_begin_elsewhere(tmp_path):
    url = f"sqlite:///{tmp_path}/events.db"
    task = Progress("import:42", to=url, title="Import", user="ann")
    process = multiprocessing.get_context("spawn").Process(target=own, args=(task,))
    process.start()
    join(process)
    assert process.exitcode == 0
    with Publisher(url) as publisher:
        told = publisher.get("import:42", user="ann")
    assert (told["status"], told["title"], told["current"]) == ("completed", "Import", 3)


def test_a_task_that_has_not_begun_and_cannot_begin_elsewhere_says_so(target):
    with pytest.raises(TypeError, match="has not begun"):
        pickle.dumps(Progress("import:42", to=target))


def test_the_end_cleans_up(target):
    with Progress("import:42", to=target) as task:
        pickle.dumps(task)
        folder = task._sharing.folder
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    del task
    gc.collect()
    assert "import:42" not in {task.id for task in _registry.owned.values()}


def test_what_a_killed_owner_left_is_swept_and_what_lives_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("clarion.progress.shared.MEMORY_FOLDER", tmp_path)
    alive, dead = Head.make(), Head.make()
    os.close(dead._descriptor)  # as the system does with a process that was killed
    dead._descriptor = None
    dead._memory.close()
    (tmp_path / "clarion-progress-foreign").mkdir()
    another = Head.make()
    assert sorted(path.parent for path in tmp_path.glob("*/head")) == sorted([alive.folder, another.folder])
    assert len(list(tmp_path.iterdir())) == 3
    alive.remove()
    another.remove()


def test_without_memory_for_files_the_folder_for_temporary_ones_does(tmp_path, monkeypatch):
    monkeypatch.setattr("clarion.progress.shared.MEMORY_FOLDER", tmp_path / "none")
    head = Head.make()
    assert head.folder.parent == Path(tempfile.gettempdir())
    head.remove()


async def test_a_hubs_task_in_a_pool(store):
    from clarion.progress.tasks import Tasks
    from clarion.testing import ManualClock
    from tests.unit.works import FakeHub

    clock = ManualClock()
    hub = FakeHub(store, clock)
    await hub.supervisor.start()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        async with Tasks(hub, clock).progress("import:42", total=20) as task:
            loop = asyncio.get_running_loop()
            await asyncio.gather(*[loop.run_in_executor(pool, count, task, 10) for _ in range(2)])
    assert (value(store)["status"], value(store)["current"]) == ("completed", 20)
    await hub.supervisor.close()


# The files.


@pytest.fixture
def head():
    head = Head.make()
    yield head
    head.remove()


def test_a_part_says_what_was_written_last(head):
    writer = PartWriter(head.folder)
    parts = Parts(head.folder)
    parts.discover()
    nodes = [Node(-1, 0, "", 1.0, None, "running"), Node(0, -1, "Load é", 3.0, 10.0, "running")]
    writer.describe(nodes)
    writer.counts[0] = 5
    writer.counts[1] = 2.5
    writer.say("file é")
    (part,) = parts.read()
    assert part == (tuple(nodes), (5.0, 2.5), "file é", 1)
    writer.say("")
    assert parts.read()[0].message == ""


def test_of_what_is_just_being_written_the_state_before_is_read(head):
    writer = PartWriter(head.folder)
    (path,) = head.folder.glob("part-*")
    reader = PartReader(path)
    writer.describe([Node(-1, 0, "", 1.0, None, "running")])
    writer.say("before")
    before = reader.read()
    writer._begin()
    writer._memory[24:29] = b"after"
    assert reader.read() == before


def test_what_changes_while_it_is_read_is_read_again_later(head, monkeypatch):
    writer = PartWriter(head.folder)
    (path,) = head.folder.glob("part-*")
    reader = PartReader(path)
    writer.say("before")
    before = reader.read()
    writer.say("one")

    def written_meanwhile(data):
        writer.say("two")
        return bytes(data)

    monkeypatch.setattr("clarion.progress.shared.bytes", written_meanwhile, raising=False)
    assert reader.read() == before
    monkeypatch.undo()
    assert reader.read().message == "two"


def test_more_steps_than_fit_are_refused(head):
    writer = PartWriter(head.folder)
    with pytest.raises(ValueError):
        writer.describe([Node(-1, 0, "", 1.0, None, "running")] * (MAX_NODES + 1))
    with pytest.raises(ValueError):
        writer.describe([Node(-1, 0, "x" * 2_000, 1.0, None, "running")] * 400)
    writer.describe([Node(-1, 0, "\u2028" * MAX_NAME_CHARS, 1.0, 1e300, "cancelled")] * (MAX_TASK_STEPS + 1))


def test_a_file_that_is_not_ready_is_passed_over(head):
    (head.folder / "part-0-x").touch()
    parts = Parts(head.folder)
    parts.discover()
    assert parts.read() == []

"""A task in a process without a hub: `PublisherTarget` by a clock that is turned by hand, without its thread."""

import logging

import pytest

from clarion.errors import EventTooLarge
from clarion.progress.destinations import target_of
from clarion.progress.progress import Progress
from clarion.progress.publisher_target import PublisherTarget
from clarion.testing import ManualClock
from clarion.work.failures import Cancelled
from clarion.work.leases import lease_from_json
from tests.unit.works import FakePublisher, Store


class Process:
    """A worker: its store, its clock, and what tells its tasks."""

    def __init__(self):
        self.store = Store()
        self.clock = ManualClock()
        self.target = PublisherTarget(
            FakePublisher(self.store),
            "sqlite:///events.db",
            monotonic_ms=self.clock.monotonic_ms,
            wall_ms=self.clock.wall_ms,
            pause=self.clock.advance,
            threaded=False,
        )

    def progress(self, task_id="import:42", **options):
        return Progress(task_id, to=self.target, **options)

    def pass_time(self, seconds):
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.target.flush()

    @property
    def value(self):
        return self.store.values["import:42", None]


@pytest.fixture
def process():
    return Process()


def test_from_beginning_to_end(process):
    with process.progress(total=4, title="Import") as task:
        assert process.value["status"] == "running"
        task.advance(1, message="row 1")
        assert process.value["progress"] == 0.0
        process.pass_time(0.1)
        assert (process.value["progress"], process.value["message"]) == (25.0, "row 1")
    assert (process.value["status"], process.value["progress"]) == ("completed", 100.0)
    process.pass_time(25)
    assert process.store.control == {}
    assert process.store.statuses("import:42") == ["running", "running", "completed"]


def test_its_lease_is_renewed_while_it_lives(process):
    with process.progress():
        process.pass_time(25)
    until = [lease_from_json(said)[1] for name, _, said in process.store.control_log if name == "lease" and said]
    assert [later - until[0] for later in until] == [0, 10_000, 20_000]


def test_a_heartbeat_while_nothing_moves(process):
    with process.progress(total=10):
        process.pass_time(25)
    assert len(process.store.told) == 5  # the first, the rate of 0, two heartbeats, the end


def test_a_request_to_stop_is_found(process):
    with process.progress() as task:
        process.store.set_control("cancel", task.id, {"run": "another", "reason": "asked"})
        process.pass_time(1)
        task.advance()
        process.store.set_control("cancel", task.id, {"run": task.run, "reason": "asked"})
        process.pass_time(0.6)
        assert process.value["cancelRequested"]
        with pytest.raises(Cancelled):
            task.advance()
        task.finish(Cancelled(task.id))
    assert process.value["status"] == "cancelled"
    assert process.store.control == {}


def test_requests_are_read_twice_a_second(process):
    reads = []
    process.target._publisher.control_get = lambda name, subject: reads.append((name, subject))
    with process.progress("a"), process.progress("b"):
        reads.clear()
        process.pass_time(10)
    assert 18 <= reads.count(("cancel", "a")) <= 21
    assert 18 <= reads.count(("cancel", "b")) <= 21


def test_a_request_to_what_waited_stops_what_is_started_of_it(process):
    waiting = process.progress(queue_id="q1")
    waiting.start(waiting=True)
    assert (process.value["status"], process.value["startedAt"]) == ("pending", None)
    lease, until_ms = lease_from_json(process.store.control["lease", "import:42"])
    assert (lease.seconds, until_ms) == (None, None)
    process.pass_time(60)
    assert process.store.statuses("import:42") == ["pending"]
    process.store.set_control("cancel", "import:42", {"run": lease.run, "reason": "asked"})
    ran = False
    with pytest.raises(Cancelled), process.progress(queue_id="q1"):
        ran = True
    assert not ran
    assert process.value["status"] == "cancelled"


def test_a_retry_waits_again_and_tells_why(process, caplog):
    first = process.progress(queue_id="q1", total=4)
    first.start()
    first.advance(2)
    first.retry(ConnectionError("secret"))
    told = process.value
    assert (told["status"], told["attempt"], told["progress"], told["startedAt"]) == ("pending", 2, 50.0, None)
    assert told["error"]["message"] == "Something went wrong."
    assert told["error"]["ref"] in caplog.text
    first.finish()
    process.pass_time(60)
    assert process.store.statuses("import:42") == ["running", "pending"]
    with process.progress(queue_id="q1", attempt=2):
        assert (process.value["status"], process.value["error"]) == ("running", None)
    assert process.value["status"] == "completed"


def test_each_run_of_a_queue_has_a_name_of_its_own(process):
    runs = set()
    for _ in range(3):
        with process.progress(queue_id="q1") as task:
            runs.add(task.run)
    assert len(runs) == 3


def test_a_journal_that_fails_stops_no_work(process, caplog):
    process.store.failing = True
    with process.progress(total=4) as task:
        task.advance()
        assert process.target.flush() is False
        process.store.failing = False
        process.pass_time(0.1)
        assert process.value["progress"] == 25.0
        assert ("lease", "import:42") in process.store.control
    assert process.value["status"] == "completed"
    assert "could not be told yet" in caplog.text


def test_an_end_is_tried_for_some_seconds(process):
    task = process.progress()
    task.start()
    process.store.failing = True
    process.clock.call_later(3_000, lambda: setattr(process.store, "failing", False))
    task.finish()
    assert process.value["status"] == "completed"


def test_an_end_that_nobody_can_be_told_is_logged(process, caplog):
    task = process.progress()
    task.start()
    process.store.failing = True
    task.finish()
    assert "the end of task import:42 could not be told" in caplog.text
    assert ("lease", "import:42") in process.store.control  # so that hubs find it lost


def test_an_end_that_is_refused_is_logged(process, caplog):
    task = process.progress()
    task.start()
    process.store.refused = lambda change: EventTooLarge(9, 8)
    task.finish()
    assert "cannot be told" in caplog.text
    assert process.store.control == {}


def test_a_value_that_is_refused_at_the_start_is_said_to_who_starts(process):
    process.store.refused = lambda change: EventTooLarge(9, 8)
    with pytest.raises(EventTooLarge), process.progress():
        raise AssertionError("it does not begin")
    assert process.store.control == {}
    assert process.target.flush()


def test_one_value_that_is_refused_later_does_not_silence_the_others(process, caplog):
    with process.progress("big") as big, process.progress(total=4) as task:
        process.store.refused = lambda change: EventTooLarge(9, 8) if change.topic == "big" else None
        big.advance(1, message="x")
        task.advance()
        process.pass_time(0.1)
        assert process.value["progress"] == 25.0
        process.store.refused = lambda change: None
    assert "what task big says cannot be told" in caplog.text


def test_one_that_was_thought_lost_and_ends_well_has_ended_well(process):
    with process.progress() as task:
        process.store.keys.add(("import:42", None, task.lease.end_key))
    assert process.value["status"] == "completed"


def test_what_still_runs_when_the_process_ends_is_told_lost_with_what_it_has(process):
    task = process.progress(total=4)
    task.start()
    task.advance(3)
    process.target.close()
    process.target.close()
    assert (process.value["status"], process.value["progress"]) == ("lost", 75.0)
    assert process.store.control == {}


def test_after_a_fork_the_child_tells_nothing(process):
    with process.progress():
        process.target.before_fork()
        process.target.after_fork_in_child()
        process.pass_time(60)
        assert process.store.statuses("import:42") == ["running"]


async def test_in_an_event_loop_without_a_hub(process):
    async with process.progress(total=4) as task:
        task.advance(2)
        assert process.value["status"] == "running"
    assert process.value["status"] == "completed"


def test_a_thread_tells_by_itself(caplog):
    caplog.set_level(logging.ERROR)
    store = Store()
    target = PublisherTarget(FakePublisher(store))
    with Progress("import:42", to=target, total=4) as task:
        thread = target._thread
        assert thread.daemon
        task.advance(1)
        while store.values["import:42", None]["progress"] != 25.0:
            target._awake.set()
    target.close()
    thread.join(5)
    assert not thread.is_alive()
    assert caplog.records == []


@pytest.mark.parametrize("to", ["memory://", "redis", ""])
def test_urls_that_processes_do_not_share_are_refused(to):
    with pytest.raises(ValueError):
        Progress("import:42", to=to)


@pytest.mark.parametrize("to", [None, 7, object()])
def test_what_is_no_destination_is_refused(to):
    with pytest.raises(TypeError):
        Progress("import:42", to=to)


def test_there_is_one_target_for_each_url_and_publisher(tmp_path):
    from clarion.publisher import Publisher

    url = f"sqlite:///{tmp_path}/events.db"
    assert target_of(url) is target_of(url)
    with Publisher(url) as publisher:
        target = target_of(publisher)
        assert target is target_of(publisher)
        assert target is not target_of(url)

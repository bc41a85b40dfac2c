"""A task and its hub: `Progress`, `HubTarget` and the supervisor together, by a clock that is turned by hand."""

import asyncio
import gc
import itertools
import logging

import pytest

from clarion import Hub
from clarion.errors import EventTooLarge, HubClosed, InvalidEvent, InvalidTopic, JournalUnavailable
from clarion.progress.progress import Progress, current_progress
from clarion.progress.tasks import Tasks
from clarion.testing import ManualClock
from clarion.work.failures import Cancelled, PublicError
from tests.unit.works import FakeHub, Store, pass_time, settle


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def hub(store, clock):
    hub = FakeHub(store, clock)
    hub.tasks = Tasks(hub, clock)
    await hub.supervisor.start()
    yield hub
    store.failing = False
    await hub.supervisor.close()
    await hub.tasks.close()


def value(store, topic="import:42", user=None):
    return store.values[topic, user]


async def test_from_beginning_to_end(hub, store, clock):
    async with hub.tasks.progress("import:42", title="Import", total=4, unit="rows") as task:
        assert (task.id, task.status) == ("import:42", "running")
        assert (value(store)["status"], value(store)["progress"]) == ("running", 0.0)
        assert ("lease", "import:42") in store.control
        task.advance(1, message="row 1")
        await pass_time(clock, 0.2)
        assert (value(store)["progress"], value(store)["message"]) == (25.0, "row 1")
    assert (value(store)["status"], value(store)["progress"], value(store)["current"]) == ("completed", 100.0, 1)
    assert store.statuses("import:42") == ["running", "running", "completed"]
    assert store.control == {}
    assert [change.event for change in store.told] == ["progress"] * 3
    assert [change.ttl for change in store.told] == [None, None, 86_400.0]


async def test_counting_does_no_io(hub, store, clock):
    async with hub.tasks.progress("import:42", total=1_000) as task:
        for _ in range(1_000):
            task.advance()
        assert len(store.told) == 1
        await pass_time(clock, 1)
        assert len(store.told) <= 3


async def test_a_thousand_changes_a_second_are_told_ten_times(hub, store, clock):
    async with hub.tasks.progress("import:42", total=1_000) as task:
        for number in range(1_000):
            task.advance(1, message=f"row {number}")
            clock.advance(0.001)
            await settle(5)
        assert 9 <= len(store.told) <= 11


async def test_steps_are_told_at_once(hub, store, clock):
    async with hub.tasks.progress("import:42", steps={"Read": 1, "Load": 4}) as task:
        await pass_time(clock, 0.1)
        assert [step["status"] for step in value(store)["steps"]] == ["pending", "pending"]
        with task.step("Load", total=10) as step:
            step.advance(5)
            await pass_time(clock, 0.04, 0.02)
            assert value(store)["steps"][1]["status"] == "running"
            assert value(store)["progress"] == 40.0


async def test_a_heartbeat_and_a_lease_while_nothing_moves(hub, store, clock):
    async with hub.tasks.progress("import:42", total=10):
        await pass_time(clock, 61, 0.1)
    beats = [change.data["updatedAt"] for change in store.told][1:-1]
    assert [later - sooner for sooner, later in itertools.pairwise(beats)] == [10_000] * (len(beats) - 1)
    assert len(beats) in (6, 7)
    assert store.statuses("import:42")[-1] == "completed"


async def test_a_step_that_begins_while_others_are_told_is_told_right_after(hub, store, clock):
    async with hub.tasks.progress("import:42", steps=["a"]) as task:
        await pass_time(clock, 1)
        change_many = hub.change_many

        async def begin_a_step(changes):
            hub.change_many = change_many
            task.step("a").start()
            await asyncio.sleep(0)  # its wish to be told is heard
            return await change_many(changes)

        hub.change_many = begin_a_step
        task.advance(1, message="x")
        await pass_time(clock, 0.1, 0.1)
        await pass_time(clock, 0.02, 0.02)
        assert value(store)["steps"][0]["status"] == "running"


async def test_several_tasks_are_told_in_one_append(hub, store, clock):
    tasks = [hub.tasks.progress(f"t:{number}", total=10) for number in range(5)]
    for task in tasks:
        await task.start_async()
    store.batches.clear()
    for task in tasks:
        task.advance()
    await pass_time(clock, 0.2)
    assert store.batches == [5]
    for task in tasks:
        await task.finish_async()


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({}, [("import:42", None)]),
        ({"user": "ann"}, [("import:42", "ann")]),
        ({"users": ["ann", "bob"]}, [("import:42", "ann"), ("import:42", "bob")]),
        ({"user": "ann", "topics": ["admin"]}, [("import:42", "ann"), ("admin", None)]),
    ],
)
async def test_who_sees_it(hub, store, options, seen):
    async with hub.tasks.progress("import:42", **options):
        pass
    assert list(store.values) == seen
    assert {data["status"] for data in store.values.values()} == {"completed"}


# Failing.


async def test_a_failure_keeps_its_progress_and_its_text_to_itself(hub, store, clock, caplog):
    async def work():
        async with hub.tasks.progress("import:42", total=4) as task:
            task.advance(3)
            raise ValueError("secret")

    with pytest.raises(ValueError, match="secret"):
        await work()
    told = value(store)
    assert (told["status"], told["progress"]) == ("failed", 75.0)
    assert told["error"] == {"code": "internal", "message": "Something went wrong.", "ref": told["error"]["ref"]}
    assert told["error"]["ref"] in caplog.text


async def test_a_public_error_is_told(hub, store):
    with pytest.raises(PublicError):
        async with hub.tasks.progress("import:42"):
            raise PublicError("Row 7 has no date.", code="bad_row")
    assert value(store)["error"]["message"] == "Row 7 has no date."


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"user": ""}, InvalidTopic),
        ({"event": "heartbeat"}, InvalidEvent),
        ({"event": "x.merge"}, InvalidEvent),
        ({"total": -1}, ValueError),
        ({"title": 7}, TypeError),
        ({"unit": 7}, TypeError),
        ({"attempt": 0}, ValueError),
        ({"on_no_viewers": "stop"}, ValueError),
        ({"lease_seconds": 0}, ValueError),
        ({"keep_seconds": 0}, InvalidEvent),
        ({"steps": "Load"}, TypeError),
        ({"steps": {"Load": 0}}, ValueError),
    ],
)
async def test_options_that_cannot_be_are_refused_before_anything_is_told(hub, store, options, error):
    with pytest.raises(error):
        hub.tasks.progress("import:42", **options)
    with pytest.raises(InvalidTopic):
        hub.tasks.progress("@all")
    assert (store.told, store.control) == ([], {})


async def test_it_begins_once(hub):
    async with hub.tasks.progress("import:42") as task:
        with pytest.raises(RuntimeError, match="begun already"):
            await task.start_async()
    with pytest.raises(RuntimeError, match="begun already"):
        await task.start_async()


async def test_it_ends_once(hub, store):
    async with hub.tasks.progress("import:42") as task:
        await task.finish_async(message="all is well")
        await task.finish_async(ValueError("x"))
    assert store.statuses("import:42") == ["running", "completed"]
    assert value(store)["message"] == "all is well"


async def test_nothing_is_told_after_the_end(hub, store, clock):
    """The look at the counters waits for the journal while the task ends."""
    async with hub.tasks.progress("import:42", total=10) as task:
        task.advance()
        clock.advance(0.2)  # the look begins with the next turn of the loop
    await pass_time(clock, 5)
    assert store.statuses("import:42")[-1] == "completed"
    assert store.statuses("import:42").count("completed") == 1


# Cancelling.


async def test_cancelling_interrupts_the_asyncio_task_and_the_block_raises_cancelled(hub, store):
    begun = asyncio.Event()

    async def work():
        async with hub.tasks.progress("import:42", total=4) as task:
            task.advance()
            begun.set()
            await asyncio.sleep(3_600)

    running = asyncio.get_running_loop().create_task(work())
    await begun.wait()
    await hub.supervisor.cancel("import:42")
    with pytest.raises(Cancelled) as caught:
        await running
    assert caught.value.reason == "asked"
    told = value(store)
    assert (told["status"], told["progress"], told["cancelRequested"], told["error"]) == ("cancelled", 25.0, True, None)
    assert running.cancelling() == 0


async def test_code_that_only_counts_sees_it_at_the_next_count(hub, store):
    async def work():
        async with hub.tasks.progress("import:42", total=4) as task:
            task.cancel()
            task.advance()

    with pytest.raises(Cancelled):
        await work()
    assert value(store)["status"] == "cancelled"


async def test_a_request_is_told_at_once_also_while_the_work_does_not_listen(hub, store, clock):
    async with hub.tasks.progress("import:42"):
        hub.tasks  # noqa: B018
        task = current_progress()
        task._interrupter.close(None)  # a thread, say, that does not look for a while
        await hub.supervisor.cancel("import:42")
        await pass_time(clock, 0.2)
        assert (value(store)["status"], value(store)["cancelRequested"]) == ("running", True)
    assert (value(store)["status"], value(store)["cancelRequested"]) == ("completed", True)


async def test_being_cancelled_by_others_ends_as_cancelled_and_goes_on(hub, store):
    async def work():
        async with hub.tasks.progress("import:42"):
            await asyncio.sleep(3_600)

    running = asyncio.get_running_loop().create_task(work())
    await settle()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert value(store)["status"] == "cancelled"
    assert store.control == {}


async def test_a_timeout_around_it_stays_a_timeout(hub, store):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), hub.tasks.progress("import:42"):
            await asyncio.sleep(3_600)
    assert value(store)["status"] == "cancelled"


async def test_the_end_is_told_even_if_the_caller_is_cancelled_meanwhile(hub, store):
    async def work():
        async with hub.tasks.progress("import:42"):
            pass

    running = asyncio.get_running_loop().create_task(work())
    change_many = hub.change_many

    async def cancel_while_the_end_is_told(changes):
        if changes[0].key is not None:
            running.cancel()
        return await change_many(changes)

    hub.change_many = cancel_while_the_end_is_told
    with pytest.raises(asyncio.CancelledError):
        await running
    assert value(store)["status"] == "completed"
    assert store.control == {}


async def test_a_task_that_was_asked_to_stop_before_it_began_does_not_begin(hub, store):
    task = hub.tasks.progress("import:42")
    task.cancel()
    ran = False
    with pytest.raises(Cancelled):
        async with task:
            ran = True
    assert not ran
    assert value(store)["status"] == "cancelled"


async def test_nobody_looking_cancels_it(hub, store, clock):
    async def work():
        async with hub.tasks.progress("import:42", on_no_viewers=3):
            await asyncio.sleep(3_600)

    running = asyncio.get_running_loop().create_task(work())
    await pass_time(clock, 6, 0.5)
    with pytest.raises(Cancelled) as caught:
        await running
    assert caught.value.reason == "no_viewers"
    assert value(store)["status"] == "cancelled"


async def test_a_hub_that_closes_tells_its_tasks_lost(hub, store):
    async def work():
        async with hub.tasks.progress("import:42", total=4) as task:
            task.advance()
            await asyncio.sleep(3_600)

    running = asyncio.get_running_loop().create_task(work())
    await settle()
    await hub.supervisor.close()
    with pytest.raises(Cancelled):
        await running
    told = value(store)
    assert (told["status"], told["progress"], told["cancelRequested"]) == ("lost", 25.0, False)


# Journals that fail.


async def test_a_journal_that_fails_stops_no_work(hub, store, clock, caplog):
    store.failing = True
    async with hub.tasks.progress("import:42", total=4) as task:
        task.advance()
        await pass_time(clock, 3)
        assert store.told == []
        store.failing = False
        await pass_time(clock, 2)
        assert value(store)["progress"] == 25.0
        await pass_time(clock, 10)
        assert ("lease", "import:42") in store.control
    assert value(store)["status"] == "completed"
    assert "could not be told yet" in caplog.text


async def test_an_end_is_tried_for_some_seconds(hub, store, clock):
    task = hub.tasks.progress("import:42")
    await task.start_async()
    store.failing = True
    ending = asyncio.get_running_loop().create_task(task.finish_async())
    await pass_time(clock, 3)
    assert not ending.done()
    store.failing = False
    await pass_time(clock, 2)
    await ending
    assert value(store)["status"] == "completed"


async def test_an_end_that_nobody_can_be_told_is_logged(hub, store, clock, caplog):
    task = hub.tasks.progress("import:42")
    await task.start_async()
    store.failing = True
    ending = asyncio.get_running_loop().create_task(task.finish_async())
    await pass_time(clock, 8)
    await ending
    assert "the end of task import:42 could not be told" in caplog.text


async def test_one_whose_end_could_not_be_told_is_found_lost(hub, store, clock):
    task = hub.tasks.progress("import:42")
    await task.start_async()
    store.refused = lambda change: JournalUnavailable("too busy to change anything")
    ending = asyncio.get_running_loop().create_task(task.finish_async())
    await pass_time(clock, 8)
    await ending
    assert not hub.supervisor.working("import:42")
    store.refused = lambda change: None
    await pass_time(clock, 31, 0.5)
    assert store.statuses("import:42") == ["running", "lost"]  # by its lease, which nobody renews


async def test_leaving_a_block_after_the_hub_is_closed_raises_nothing(hub, store, caplog):
    async with hub.tasks.progress("import:42"):
        await hub.supervisor.release(current_progress().lease)
        type(hub).loop = property(closed)
    type(hub).loop = property(lambda self: asyncio.get_running_loop())
    assert "could not be told" in caplog.text


def closed(hub):
    raise HubClosed("the hub is not open")


async def test_a_value_that_is_refused_at_the_start_is_said_to_who_starts(hub, store):
    store.refused = lambda change: EventTooLarge(9, 8)
    with pytest.raises(EventTooLarge):
        async with hub.tasks.progress("import:42"):
            raise AssertionError("it does not begin")
    assert store.control == {}
    assert not hub.supervisor.working("import:42")


async def test_one_value_that_is_refused_later_does_not_silence_the_others(hub, store, clock, caplog):
    async with hub.tasks.progress("big") as big, hub.tasks.progress("import:42", total=4) as task:
        store.refused = lambda change: EventTooLarge(9, 8) if change.topic == "big" else None
        big.advance(1, message="x")
        task.advance()
        await pass_time(clock, 0.3)
        assert value(store)["progress"] == 25.0
        store.refused = lambda change: None
    assert "what task big says cannot be told" in caplog.text


async def test_one_that_was_thought_lost_and_ends_well_has_ended_well(hub, store, clock):
    async with hub.tasks.progress("import:42", total=4) as task:
        store.keys.add(("import:42", None, task.lease.end_key))
        store.values["import:42", None] = value(store) | {"status": "lost"}
    assert value(store)["status"] == "completed"


# Where it runs.


async def test_in_a_thread_of_the_hubs_process(hub, store):
    def work():
        with hub.tasks.progress("import:42", total=4) as task:
            task.advance()
            assert current_progress() is task
            assert value(store)["status"] == "running"

    hub_loop = asyncio.get_running_loop()
    type(hub).loop = property(lambda self: hub_loop)
    try:
        await asyncio.to_thread(work)
    finally:
        type(hub).loop = property(lambda self: asyncio.get_running_loop())
    assert value(store)["status"] == "completed"


async def test_in_another_event_loop_of_the_process(hub, store):
    async def work():
        async with hub.tasks.progress("import:42", total=4) as task:
            task.advance()
            assert value(store)["status"] == "running"

    hub_loop = asyncio.get_running_loop()
    type(hub).loop = property(lambda self: hub_loop)
    change_many = hub.change_many

    async def in_its_own_loop(changes):
        assert asyncio.get_running_loop() is hub_loop
        return await change_many(changes)

    hub.change_many = in_its_own_loop
    try:
        await asyncio.to_thread(asyncio.run, work())
    finally:
        type(hub).loop = property(lambda self: asyncio.get_running_loop())
    assert value(store)["status"] == "completed"


async def test_with_in_the_loops_own_thread_is_refused_before_it_blocks(hub, store):
    with pytest.raises(RuntimeError, match="async with"), hub.tasks.progress("import:42"):
        raise AssertionError("it does not begin")
    assert store.told == []


async def test_the_current_task_is_known_to_what_it_calls(hub):
    assert current_progress() is None
    async with hub.tasks.progress("outer") as outer, hub.tasks.progress("inner") as inner:
        assert current_progress() is inner
        await inner.finish_async()
    assert current_progress() is None
    assert outer.status == "completed"


async def test_ids_are_made_up_that_nobody_guesses(hub):
    assert hub.tasks.progress().id != hub.tasks.progress().id


async def test_what_is_forgotten_leaves_nothing_behind(hub, store, clock, caplog):
    caplog.set_level(logging.WARNING)
    async with hub.tasks.progress("import:42") as task:
        pass
    del task
    gc.collect()
    await pass_time(clock, 40, 1)
    assert (store.control, caplog.records) == ({}, [])
    assert isinstance(hub.tasks.progress("x"), Progress)


async def test_a_hub_that_closes_right_after_a_task_has_ended_leaves_no_timer_behind():

    clock = ManualClock()
    async with Hub(clock=clock) as hub, hub.progress("t:1", total=2) as task:
        task.advance(1)
    clock.advance(10)

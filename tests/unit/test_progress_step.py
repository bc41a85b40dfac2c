import asyncio
import sys
import threading
import time

import pytest

from clarion.progress.reading import fraction
from clarion.progress.step import MAX_STEPS, MAX_TASK_STEPS, Common, Step
from clarion.work.failures import Cancelled


@pytest.fixture
def common():
    common = Common("import:42")
    common.woken = 0
    return common


class Common(Common):
    __slots__ = ("woken",)

    def __init__(self, task_id):
        super().__init__(task_id)
        self.woken = 0
        self.wake = self._wake

    def _wake(self):
        self.woken += 1


@pytest.fixture
def root(common):
    return Step(common, "root", 1.0, None, None)


def percent(root):
    part = fraction(root._reading({}))
    return None if part is None else round(100 * part, 3)


def stop(common, reason="asked"):
    common.reason = reason
    common.armed = True


def test_counting(root, common):
    root.update(total=10)
    root.advance()
    root.advance(2.5, message="file 3")
    root.advance(-0.5)
    assert (root.current, root.total, common.message) == (3, 10, "file 3")
    root.update(current=7, message="file 7")
    assert (root.current, common.message) == (7, "file 7")


def test_counting_wakes_nobody(root, common):
    for _ in range(1_000):
        root.advance(1, message="x")
    assert common.woken == 0


@pytest.fixture
def restless():
    """Threads that take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_threads_count_together(root, restless):
    def count():
        for _ in range(50_000):
            root.advance()
            root.advance(0.5)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert root.current == 300_000


def test_advance_is_cheap(root):
    """A million calls take at most a second of CPU; they take a seventh of it where nothing else runs."""
    began = time.process_time()
    for _ in range(1_000_000):
        root.advance()
    assert time.process_time() - began < 1.0
    assert root.current == 1_000_000


@pytest.mark.parametrize("total", [-1, float("nan"), float("inf"), "7", True])
def test_totals_that_cannot_be(root, total):
    for call in (lambda: root.update(total=total), lambda: root.step("a", total=total), lambda: root.reset(total)):
        with pytest.raises(ValueError):
            call()


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), "1", True])
def test_weights_that_cannot_be(root, weight):
    with pytest.raises(ValueError):
        root.step("a", weight=weight)


@pytest.mark.parametrize("name", ["", "x" * 201, None, 7])
def test_names_that_cannot_be(root, name):
    with pytest.raises(ValueError):
        root.step(name)


def test_an_amount_that_is_no_number_counts_nothing(root):
    with pytest.raises(TypeError):
        root.advance("7")
    assert root.current == 0


def test_steps_have_weights(root):
    first, second = root.step("a", weight=1, total=10), root.step("b", weight=3, total=10)
    assert percent(root) == 0
    with first:
        first.advance(10)
    assert percent(root) == 25
    with second:
        second.advance(5)
        assert percent(root) == 62.5
    assert percent(root) == 100


def test_steps_nest(root):
    with root.step("a") as outer, outer.step("b", total=4) as inner:
        inner.advance(1)
        assert percent(root) == 25
    assert [step.name for step in outer._steps] == ["b"]


def test_beginning_and_ending_a_step_is_told_at_once(root, common):
    with root.step("a"):
        assert common.woken == 1
    assert common.woken == 2


async def test_steps_in_async_code(root, common):
    async with root.step("a") as step:
        step.advance()
    assert step._status == "completed"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("x"), "failed"),
        (Cancelled("import:42"), "cancelled"),
        (asyncio.CancelledError(), "cancelled"),
        (KeyboardInterrupt(), "cancelled"),
    ],
)
def test_how_a_step_ends(root, error, status):
    step = root.step("a", total=2)

    def work():
        with step:
            step.advance()
            raise error

    with pytest.raises(type(error)):
        work()
    assert step._status == status
    assert percent(root) == 50


def test_a_name_that_is_there_gives_that_step(root):
    step = root.step("a", weight=3, total=4)
    step.advance(2)
    assert root.step("a") is step
    assert (step.current, step.total, step._weight) == (2, 4, 3)


def test_a_step_that_ended_begins_anew(root):
    for _ in range(3):
        with root.step("a", total=2) as step:
            step.advance()
            assert step.current == 1
    assert len(root._steps) == 1


def test_steps_that_ended_make_place_and_still_count(root):
    for number in range(MAX_STEPS + 20):
        with root.step(f"s{number}", weight=2, total=1) as step:
            step.advance()
    open_step = root.step("last", weight=2 * (MAX_STEPS + 20), total=1)
    assert len(root._steps) == MAX_STEPS
    assert percent(root) == 50
    open_step.advance()
    assert percent(root) == 100


def test_too_many_steps_under_way_are_refused(root):
    for number in range(MAX_STEPS):
        root.step(f"s{number}")
    with pytest.raises(ValueError, match="import:42"):
        root.step("one more")


def test_a_task_has_so_many_steps_at_any_depth(root, common):
    for outer in range(MAX_TASK_STEPS // 50):
        step = root.step(f"o{outer}")
        for inner in range(49):
            step.step(f"i{inner}")
    assert common.steps == MAX_TASK_STEPS
    with pytest.raises(ValueError):
        step.step("one more")


def test_reset_begins_anew(root, common):
    root.update(total=10, current=7)
    with root.step("a"):
        pass
    root.reset(total=20)
    assert (root.current, root.total, root._steps, common.resets, common.steps) == (0, 20, [], 1, 0)


# Stopping.


def test_who_is_to_stop_sees_it_at_the_next_count(root, common):
    root.advance()
    root.check()
    assert not root.cancel_requested
    stop(common, "no_viewers")
    assert root.cancel_requested
    for _ in range(2):  # and again, if somebody swallowed it
        with pytest.raises(Cancelled) as caught:
            root.advance()
        assert (caught.value.work_id, caught.value.reason) == ("import:42", "no_viewers")
    with pytest.raises(Cancelled):
        root.check()
    with pytest.raises(Cancelled):
        root.step("a").advance()
    with pytest.raises(Cancelled), root.step("b"):
        raise AssertionError("it does not begin")


async def test_check_gives_others_a_turn(root):
    turns = []
    task = asyncio.ensure_future(asyncio.to_thread(lambda: None))
    other = asyncio.get_running_loop().create_task(note(turns))
    await root.check()
    assert turns == [1]
    await other
    await task


async def note(turns):
    turns.append(1)


# Iterating.


def test_rows_count_as_they_are_worked_off(root):
    assert [(row, root.current) for row in root.iter(["a", "b"])] == [("a", 0), ("b", 1)]
    assert (root.current, root.total) == (2, 2)


def test_a_row_that_was_not_finished_does_not_count(root):
    for row in root.iter(range(10)):
        if row == 3:
            break
    assert (root.current, root.total) == (3, 10)


def test_rows_without_a_length_leave_the_total_open(root):
    assert list(root.iter(n for n in range(3))) == [0, 1, 2]
    assert (root.current, root.total) == (3, None)
    root.reset()
    list(root.iter((n for n in range(3)), total=7))
    assert root.total == 7


def test_a_total_that_was_said_stays(root):
    root.update(total=99)
    list(root.iter(range(3)))
    assert root.total == 99


def test_iterating_stops_between_two_rows(root, common):
    seen = []

    def work():
        for row in root.iter(range(10)):
            seen.append(row)
            if row == 1:
                stop(common)

    with pytest.raises(Cancelled):
        work()
    assert seen == [0, 1]


def test_iterating_does_not_begin_when_it_is_to_stop(root, common):
    stop(common)
    with pytest.raises(Cancelled):
        next(iter(root.iter(range(10))))


async def rows(number):
    for row in range(number):
        await asyncio.sleep(0)
        yield row


async def test_asynchronous_rows(root):
    assert [row async for row in root.iter(rows(3))] == [0, 1, 2]
    assert root.current == 3


async def test_async_for_over_rows_at_hand_lets_others_run(root, monkeypatch):
    monkeypatch.setattr("clarion.progress.iterating.TURN_SECONDS", 0.0)
    turns = []

    async def other():
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    task = asyncio.get_running_loop().create_task(other())
    assert [row async for row in root.iter(range(100))] == list(range(100))
    assert len(turns) > 50
    task.cancel()


async def test_async_iterating_stops_between_two_rows(root, common):
    seen = []

    async def work():
        async for row in root.iter(rows(10)):
            seen.append(row)
            stop(common)

    with pytest.raises(Cancelled):
        await work()
    assert seen == [0]


def test_asynchronous_rows_need_async_for(root):
    with pytest.raises(TypeError):
        list(root.iter(rows(3)))

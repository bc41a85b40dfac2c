"""The real tqdm: its own iterating and updating, and a library that takes a tqdm class."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tqdm.contrib.concurrent import thread_map
from tqdm.std import tqdm

from clarion.integrations.tqdm import ProgressBar, tqdm_class
from clarion.progress import Progress
from clarion.progress.publisher_target import PublisherTarget
from clarion.work.failures import Cancelled
from tests.unit.works import FakePublisher, Store


@pytest.fixture
def task():
    with Progress("import:42", to=PublisherTarget(FakePublisher(Store()), threaded=False)) as task:
        yield task


def told(task):
    return task.value(0, 0)


def steps(task):
    return {step["name"]: (step["status"], step["current"], step["total"]) for step in told(task)["steps"]}


def test_a_bar_without_a_description_counts_the_task(task, capsys):
    bar = tqdm_class(task)
    assert list(bar(range(1_000))) == list(range(1_000))
    assert (told(task)["current"], told(task)["total"], told(task)["steps"]) == (1_000, 1_000, [])
    assert capsys.readouterr() == ("", "")


def test_counting_is_told_while_it_goes_on(task):
    seen = [(row, task.current) for row in tqdm_class(task)(range(3), mininterval=0)]
    assert seen == [(0, 0), (1, 1), (2, 2)]


def test_a_bar_with_a_description_is_a_step(task):
    bar = tqdm_class(task)
    with bar(total=10, desc="Load: ") as load:
        load.update(4)
        assert steps(task) == {"Load": ("running", 4, 10)}
        load.total = 20
        load.set_postfix_str("file 3")
        load.refresh()
        assert steps(task) == {"Load": ("running", 4, 20)}
        assert told(task)["message"] == "file 3"
        load.reset(total=5)
        assert steps(task)["Load"] == ("running", 0, 5)
        load.update(5)
    assert steps(task)["Load"] == ("completed", 5, 5)


def test_bars_in_bars(task):
    bar = tqdm_class(task)
    for _ in bar(range(2)):
        for _ in bar(range(3), desc="inner"):
            for _ in bar(range(4)):
                pass
    assert told(task)["current"] == 2
    assert steps(task)["inner"] == ("completed", 3, 3)
    assert list(steps(task)) == ["inner", "Bar 3"]
    assert steps(task)["Bar 3"] == ("completed", 4, 4)


def test_the_class_may_find_its_task_by_itself(task):
    list(ProgressBar(range(5), file=io.StringIO()))
    assert task.current == 5
    list(ProgressBar(range(5), file=io.StringIO(), progress=task.step("Own")))
    assert task.current == 5


def test_without_a_task_it_is_a_tqdm():
    file = io.StringIO()
    bar = ProgressBar(range(5), file=file, desc="plain")
    assert isinstance(bar, tqdm)
    assert list(bar) == list(range(5))
    assert "plain: 100%" in file.getvalue()
    assert list(ProgressBar(range(5), disable=True, file=file)) == list(range(5))


@pytest.mark.parametrize(("options", "printed"), [({}, True), ({"disable": True}, False), ({"disable": None}, False)])
def test_it_shows_itself_as_tqdm_does_and_is_told_in_any_case(task, options, printed):
    file = io.StringIO()
    list(tqdm_class(task, visible=True)(range(5), file=file, desc="Load", **options))
    assert ("Load: 100%" in file.getvalue()) == printed
    assert steps(task)["Load"] == ("completed", 5, 5)


def test_hidden_bars_leave_the_terminal_alone(task):
    file = io.StringIO()
    with tqdm_class(task)(total=5, file=file, desc="Load") as bar:
        bar.update(2)
        tqdm.write("a line", file=file)
        bar.clear()
        bar.set_description("Load more")
    assert file.getvalue() == "a line\n"


def test_cancelling_stops_between_two_rows(task):
    seen = []

    def work():
        for row in tqdm_class(task)(range(100), mininterval=0):
            seen.append(row)
            if row == 2:
                task.cancel()

    with pytest.raises(Cancelled):
        work()
    assert seen == [0, 1, 2]
    with pytest.raises(Cancelled), tqdm_class(task)(total=5) as bar:
        bar.update(1)


def test_a_library_that_takes_a_tqdm_class(task):
    doubled = thread_map(lambda n: 2 * n, range(50), tqdm_class=tqdm_class(task), max_workers=4, desc="Map")
    assert doubled == [2 * n for n in range(50)]
    assert steps(task) == {"Map": ("completed", 50, 50)}


def test_several_threads_with_bars_of_their_own(task):
    bar = tqdm_class(task)

    def work(number):
        for _ in bar(range(20), desc=f"part {number}"):
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert steps(task) == {f"part {n}": ("completed", 20, 20) for n in range(4)}
    assert not [thread for thread in threading.enumerate() if "TMonitor" in type(thread).__name__]


def test_what_tqdm_takes_for_a_total(task):
    list(tqdm_class(task)((n for n in range(3)), desc="no length"))
    list(tqdm_class(task)(iter(range(3)), total=float("inf"), desc="endless"))
    assert steps(task) == {"no length": ("completed", 3, None), "endless": ("completed", 3, None)}

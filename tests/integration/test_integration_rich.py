"""The real rich."""

import io
import time

import pytest
from rich.console import Console

from clarion.integrations.rich import RichProgress
from clarion.progress import Progress
from clarion.progress.publisher_target import PublisherTarget
from clarion.work.failures import Cancelled
from tests.unit.works import FakePublisher, Store


@pytest.fixture
def task():
    with Progress("import:42", to=PublisherTarget(FakePublisher(Store()), threaded=False)) as task:
        yield task


def bars(task=None, **options):
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    return RichProgress(progress=task, console=console, **options)


def steps(task):
    told = task.value(0, 0)["steps"]
    return {step["name"]: (step["status"], step["current"], step["total"]) for step in told}


def test_each_bar_is_a_step(task):
    with bars(task) as progress:
        load = progress.add_task("Load", total=10)
        store = progress.add_task("Store", total=None)
        progress.advance(load, 4)
        progress.update(store, advance=7)
        assert steps(task) == {"Load": ("running", 4, 10), "Store": ("running", 7, None)}
        progress.update(load, completed=10)
        assert steps(task)["Load"] == ("completed", 10, 10)
        progress.stop_task(store)
        assert steps(task)["Store"] == ("completed", 7, None)
        assert "Load" in progress.console.file.getvalue()


def test_reset_and_removed(task):
    with bars(task) as progress:
        load = progress.add_task("Load", total=10, completed=3)
        assert steps(task)["Load"] == ("running", 3, 10)
        progress.reset(load, total=20)
        assert steps(task)["Load"] == ("running", 0, 20)
        progress.remove_task(load)
        assert steps(task)["Load"][0] == "completed"


@pytest.mark.parametrize("auto_refresh", [True, False])
def test_track(task, auto_refresh):
    with bars(task, auto_refresh=auto_refresh) as progress:
        assert list(progress.track(range(20), description="Rows")) == list(range(20))
        assert steps(task) == {"Rows": ("completed", 20, 20)}


@pytest.mark.parametrize("auto_refresh", [True, False])
def test_cancelling_stops_track_between_two_rows(task, auto_refresh):
    seen = []

    def work():
        with bars(task, auto_refresh=auto_refresh) as progress:
            for row in progress.track(range(20), update_period=0.001):
                seen.append(row)
                if row == 2:
                    task.cancel()
                    time.sleep(0.05)  # rich's own thread counts meanwhile, and is not disturbed

    with pytest.raises(Cancelled):
        work()
    assert seen == [0, 1, 2]


def test_cancelling_is_seen_by_advance_and_update(task):
    with bars(task) as progress:
        load = progress.add_task("Load", total=10)
        task.cancel()
        with pytest.raises(Cancelled):
            progress.advance(load)
        with pytest.raises(Cancelled):
            progress.update(load, advance=1)
        assert steps(task)["Load"] == ("running", 2, 10)


def test_it_finds_its_task_by_itself(task):
    with bars() as progress:
        progress.add_task("Load", total=1)
    assert steps(task) == {"Load": ("running", 0, 1)}


def test_without_a_task_it_is_richs_own():
    with bars() as progress:
        load = progress.add_task("Load", total=1)
        progress.advance(load)
        assert list(progress.track(range(3))) == [0, 1, 2]
        assert progress.finished

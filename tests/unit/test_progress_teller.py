import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.progress.reading import Reading, StepReading
from clarion.progress.teller import Teller

WALL = 1_790_000_000_000


def step(name="s", current=0.0, total=None, status="running", weight=1.0, steps=()):
    return StepReading(name, status, weight, current, total, tuple(steps))


def reading(
    current=0.0, total=100.0, *, status="running", steps=(), message="", planned=False, resets=0, error=None, **more
):
    counted = StepReading("", status, 1.0, current, total, tuple(steps))
    fields = {"attempt": 1, "cancellable": True, "cancel_requested": False, "started_ms": WALL} | more
    return Reading("import:42", "Import", message, "rows", counted, planned, resets, fields["attempt"], error,
                   fields["cancellable"], fields["cancel_requested"], fields["started_ms"])  # fmt: skip


class Told:
    """A teller whose values are told as soon as it has one."""

    def __init__(self, heartbeat_ms=10_000):
        self.teller = Teller(heartbeat_ms)
        self.values = []
        self.at = []

    def look(self, reading, now_ms):
        value = self.teller.look(reading, now_ms, WALL + now_ms)
        if value is not None:
            self.teller.told(value, now_ms)
            self.values.append(value)
            self.at.append(now_ms)
        return value


def test_the_fields_are_those_that_readers_expect():
    value = Told().look(reading(25, message="file 3"), 0)
    assert value == {
        "taskId": "import:42",
        "title": "Import",
        "status": "running",
        "progress": 25.0,
        "message": "file 3",
        "current": 25,
        "total": 100,
        "unit": "rows",
        "rate": None,
        "eta": None,
        "steps": [],
        "attempt": 1,
        "error": None,
        "cancellable": True,
        "cancelRequested": False,
        "startedAt": WALL,
        "updatedAt": WALL,
    }
    assert len(json.dumps(value)) < 450


def test_steps_say_how_far_each_is():
    inner = step("part", 1, 2)
    value = Told().look(
        reading(0, None, steps=[step("Read", 5, 5, "completed"), step("Load", weight=4, steps=[inner])]), 0
    )
    assert value["steps"] == [
        {"name": "Read", "status": "completed", "progress": 100.0, "weight": 1, "current": 5, "total": 5},
        {
            "name": "Load",
            "status": "running",
            "progress": 50.0,
            "weight": 4,
            "current": 0,
            "total": None,
            "steps": [{"name": "part", "status": "running", "progress": 50.0, "weight": 1, "current": 1, "total": 2}],
        },
    ]
    assert value["progress"] == 60.0


def test_a_step_that_counts_is_running_even_if_nobody_entered_it():
    assert (
        Told().look(reading(steps=[step(current=1, total=2, status="pending")]), 0)["steps"][0]["status"] == "running"
    )


def test_what_one_cannot_see_is_not_told():
    told = Told()
    for now in range(0, 1_000, 10):
        told.look(reading(1_000_000 + now, 1e9), now)
    assert len(told.values) == 1


def test_at_most_ten_a_second_for_visible_change():
    told = Told()
    for now in range(1_000):
        told.look(reading(now, 1_000, message=str(now)), now)
    assert told.at == list(range(0, 1_000, 100))


def test_words_are_told_as_the_bar_is():
    told = Told()
    told.look(reading(), 0)
    assert told.look(reading(message="file 3"), 50) is None
    assert told.look(reading(message="file 3"), 100)["message"] == "file 3"


def test_counts_rate_and_eta_follow_once_a_second():
    told = Told()
    for now in range(0, 5_001, 100):
        told.look(reading(now, 1e9), now)
    assert told.at == [0, 1_000, 2_000, 3_000, 4_000, 5_000]


def test_a_count_without_a_total_is_what_one_sees():
    told = Told()
    for now in range(0, 501, 50):
        told.look(reading(now, None), now)
    assert told.at == [0, 100, 200, 300, 400, 500]


@pytest.mark.parametrize(
    "changed",
    [
        reading(status="pending"),
        reading(cancel_requested=True),
        reading(attempt=2),
        reading(steps=[step()]),
        reading(error={"code": "c", "message": "m", "ref": "r"}),
    ],
)
def test_landmarks_are_told_at_once(changed):
    told = Told()
    told.look(reading(), 0)
    assert told.look(changed, 1) is not None


def test_step_changes_are_told_at_once():
    told = Told()
    told.look(reading(steps=[step(status="pending")]), 0)
    assert told.look(reading(steps=[step(status="running")]), 1) is not None
    assert told.look(reading(steps=[step(steps=[step()])]), 2) is not None
    assert told.look(reading(steps=[step(steps=[step(status="completed")])]), 3) is not None


def test_many_step_changes_are_ten_a_second_too_and_the_newest_is_told():
    told = Told()
    for now in range(1_000):
        told.look(reading(steps=[step(str(now))]), now)
    assert len(told.values) == 10
    assert told.look(reading(steps=[step("999")]), 1_000)["steps"][0]["name"] == "999"


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "lost"])
def test_the_end_is_told_at_once_whatever_was_told_before(status):
    told = Told()
    for now in range(10):
        told.look(reading(attempt=now + 1), now)
    assert told.look(reading(status=status), 10)["status"] == status


def test_a_heartbeat_while_nothing_moves():
    told = Told(heartbeat_ms=10_000)
    for now in range(0, 35_001, 100):
        told.look(reading(5), now)
    assert told.at == [0, 2_000, 12_000, 22_000, 32_000]  # at 2 s the rate is known, which is 0
    assert [value["updatedAt"] - WALL for value in told.values] == told.at


def test_what_could_not_be_told_is_told_later():
    teller = Teller(10_000)
    assert teller.look(reading(), 0, WALL) is not None
    assert teller.look(reading(), 1, WALL) is not None


def test_completed_is_all_of_it():
    assert Told().look(reading(3, 100, status="completed"), 0)["progress"] == 100.0
    assert Told().look(reading(3, None, status="completed"), 0)["progress"] == 100.0


@pytest.mark.parametrize("status", ["failed", "cancelled", "lost"])
def test_another_end_keeps_the_progress_it_had(status):
    told = Told()
    told.look(reading(73.44), 0)
    assert told.look(reading(73.44, status=status), 1)["progress"] == 73.4


def test_a_total_that_grows_does_not_set_it_back():
    told = Told()
    told.look(reading(50, 100), 0)
    assert told.look(reading(50, 1_000, message="more"), 100)["progress"] == 50.0
    assert told.look(reading(501, 1_000), 200)["progress"] == 50.1


def test_what_becomes_unknown_keeps_what_was_reached():
    told = Told()
    told.look(reading(50, 100), 0)
    assert told.look(reading(50, None, message="more"), 100)["progress"] == 50.0


def test_unknown_is_null():
    assert Told().look(reading(50, None), 0)["progress"] is None


def test_a_reset_sets_it_back():
    told = Told()
    told.look(reading(50, 100), 0)
    value = told.look(reading(1, 100, resets=1), 100)
    assert (value["progress"], value["rate"], value["eta"]) == (1.0, None, None)


def test_steps_that_nobody_planned_do_not_reach_the_end_before_it():
    ended = [step("a", 1, 1, "completed")]
    assert Told().look(reading(0, None, steps=ended), 0)["progress"] == 99.0
    assert Told().look(reading(0, None, steps=ended, planned=True), 0)["progress"] == 100.0
    assert Told().look(reading(0, None, steps=ended, status="completed"), 0)["progress"] == 100.0


def test_rate_and_eta_are_shown_after_two_seconds():
    told = Told()
    for now in range(0, 10_001, 100):
        told.look(reading(now / 100, 1_000), now)
        if now < 2_000:
            assert told.values[-1]["rate"] is None
            assert told.values[-1]["eta"] is None
    assert (told.values[-1]["rate"], told.values[-1]["eta"]) == (10.0, 90.0)


def test_eta_goes_by_the_whole_with_steps():
    told = Told()
    for now in range(0, 10_001, 100):
        told.look(reading(0, None, steps=[step("a", now, 40_000), step("b", 0, 10)], planned=True), now)
    assert told.values[-1]["eta"] == pytest.approx(70, abs=1)
    assert told.values[-1]["rate"] is None


def test_an_eta_of_months_is_none():
    told = Told()
    for now in range(0, 5_001, 100):
        told.look(reading(now / 1e6, 1_000_000), now)
    assert told.values[-1]["eta"] is None


def test_long_and_odd_texts_are_told_all_the_same():
    value = Told().look(reading(message="x" * 9_999), 0)
    assert len(value["message"]) == 500
    assert Told().look(reading(message=b"caf\xe9"), 0)["message"] == "b'caf\\xe9'"
    assert Told().look(reading(message="caf\udce9"), 0)["message"] == "caf?"


@pytest.mark.parametrize("current", [float("nan"), float("inf")])
def test_counts_that_are_no_numbers_are_null(current):
    value = Told().look(reading(current, 10), 0)
    assert (value["current"], value["progress"]) == (None, None)


def test_a_percent_is_rounded_down():
    assert Told().look(reading(99_999, 100_000), 0)["progress"] == 99.9
    assert Told().look(reading(29, 100), 0)["progress"] == 29.0  # which is 28.999... in binary


@given(st.lists(st.tuples(st.floats(-5, 150), st.none() | st.floats(0, 200), st.integers(0, 300)), max_size=60))
def test_it_never_goes_back(moves):
    told, now = Told(), 0
    for current, total, pause in moves:
        now += pause
        told.look(reading(current, total), now)
    shown = [value["progress"] for value in told.values]
    known = [percent for percent in shown if percent is not None]
    assert known == sorted(known)
    assert None not in shown[len(shown) - len(known) :]

from hypothesis import given
from hypothesis import strategies as st

from clarion.progress.reading import StepReading, fraction, ratio


def step(current=0.0, total=None, *, status="running", weight=1.0, steps=(), folded=(0.0, 0.0)):
    return StepReading("s", status, weight, current, total, tuple(steps), *folded)


def test_ratio():
    assert ratio(1, 4) == 0.25
    assert ratio(9, 4) == 1.0
    assert ratio(-1, 4) == 0.0
    assert ratio(0, 0) == 1.0
    assert ratio(1, None) is None
    assert ratio(float("nan"), 4) is None
    assert ratio(1, float("inf")) is None


def test_a_step_counts_by_its_own():
    assert fraction(step(1, 4)) == 0.25
    assert fraction(step(1)) is None


def test_what_is_completed_is_done_whatever_it_counted():
    assert fraction(step(1, 4, status="completed")) == 1.0
    assert fraction(step(status="completed")) == 1.0


def test_what_failed_keeps_what_it_had():
    assert fraction(step(1, 4, status="failed")) == 0.25


def test_steps_count_by_their_weights():
    steps = [step(5, 10, weight=1), step(5, 10, weight=3, status="completed"), step(0, 10, weight=6)]
    assert fraction(step(steps=steps)) == (0.5 + 3) / 10


def test_what_is_counted_beside_steps_weighs_one():
    assert fraction(step(10, 10, steps=[step(2, 8, weight=4)])) == (1 + 1) / 5


def test_steps_of_steps():
    inner = step(steps=[step(1, 2), step(0, 2)], weight=2)
    assert fraction(step(steps=[inner, step(0, 1, weight=2)])) == 0.125


def test_one_step_that_does_not_know_its_total_knows_nothing():
    assert fraction(step(steps=[step(7)])) is None


def test_of_several_steps_those_that_ended_are_known():
    assert fraction(step(steps=[step(7, status="completed"), step(7), step(status="pending")])) == 1 / 3


def test_steps_that_are_not_listed_any_more_still_count():
    assert fraction(step(folded=(3.0, 2.0), steps=[step(1, 1)])) == 0.75


readings = st.recursive(
    st.builds(
        step,
        st.floats(allow_nan=True, allow_infinity=True),
        st.none() | st.floats(min_value=0, allow_infinity=True),
        status=st.sampled_from(["pending", "running", "completed", "failed"]),
        weight=st.floats(1e-6, 1e6),
    ),
    lambda inner: st.builds(
        step,
        st.floats(0, 1e9),
        st.none() | st.floats(0, 1e9),
        weight=st.floats(1e-6, 1e6),
        steps=st.lists(inner, max_size=4),
        folded=st.tuples(st.floats(0, 1e6), st.just(0.0)),
    ),
    max_leaves=12,
)


@given(readings)
def test_it_is_always_nothing_to_all(reading):
    part = fraction(reading)
    assert part is None or 0.0 <= part <= 1.0

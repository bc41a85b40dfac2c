from hypothesis import given
from hypothesis import strategies as st

from clarion.progress.throttle import Throttle


def test_the_first_is_told_at_once():
    assert Throttle().allows(0, urgent=False)


def test_what_is_not_urgent_keeps_its_distance():
    throttle = Throttle()
    throttle.told(0)
    assert not throttle.allows(99, urgent=False)
    assert throttle.allows(100, urgent=False)
    assert throttle.last_ms == 0


def test_what_is_urgent_is_told_at_once_up_to_ten_times_a_second():
    throttle = Throttle()
    for now in range(10):
        assert throttle.allows(now, urgent=True)
        throttle.told(now)
    assert not throttle.allows(500, urgent=True)
    assert not throttle.allows(999, urgent=True)
    assert throttle.allows(1_000, urgent=True)


@given(st.lists(st.tuples(st.integers(0, 150), st.booleans()), max_size=200))
def test_in_any_second_it_is_told_ten_times_at_most(asked):
    throttle, now, told = Throttle(), 0, []
    for pause, urgent in asked:
        now += pause
        if throttle.allows(now, urgent=urgent):
            throttle.told(now)
            told.append(now)
    for began in told:
        assert sum(began <= at < began + 1_000 for at in told) <= 10


@given(st.integers(1, 100))
def test_who_asks_all_the_time_waits_a_tenth_of_a_second_at_most(pause):
    throttle, last = Throttle(), 0
    for now in range(0, 10_000, pause):
        if throttle.allows(now, urgent=False):
            throttle.told(now)
            assert now - last <= 100 + pause
            last = now

import pytest

from clarion.progress.speed import SHOWN_AFTER_MS, Speed


def test_a_steady_speed_is_found_and_shown_after_two_seconds():
    speed = Speed()
    for now in range(0, 10_001, 100):
        speed.sample(now / 1000 * 50, now)
        if now < SHOWN_AFTER_MS:
            assert speed.per_second(now) is None
        else:
            assert speed.per_second(now) == pytest.approx(50)


def test_how_often_it_is_sampled_does_not_matter():
    seldom, often = Speed(), Speed()
    for now in range(0, 10_001, 100):
        often.sample(now, now)
        if now % 1_000 == 0:
            seldom.sample(now, now)
    assert seldom.per_second(10_000) == pytest.approx(often.per_second(10_000))


def test_samples_that_follow_each_other_at_once_are_one():
    speed = Speed()
    speed.sample(0, 0)
    speed.sample(1_000, 1)
    speed.sample(2_000, 2_000)
    assert speed.per_second(2_000) == pytest.approx(1_000)


def test_it_follows_a_change_within_seconds():
    speed = Speed()
    level = 0.0
    for now in range(0, 30_001, 100):
        level += 10 if now <= 15_000 else 1
        speed.sample(level, now)
    assert 10 <= speed.per_second(30_000) < 16


def test_what_stands_still_becomes_slow():
    speed = Speed()
    for now in range(0, 5_001, 100):
        speed.sample(now, now)
    for now in range(5_100, 60_001, 100):
        speed.sample(5_000, now)
    assert speed.per_second(60_000) < 0.1


def test_less_than_before_begins_anew():
    speed = Speed()
    for now in range(0, 5_001, 100):
        speed.sample(now, now)
    speed.sample(0, 5_100)
    assert speed.per_second(5_100) is None
    for now in range(5_200, 8_001, 100):
        speed.sample((now - 5_100) * 2, now)
    assert speed.per_second(8_000) == pytest.approx(2_000)


@pytest.mark.parametrize("level", [None, float("nan"), float("inf")])
def test_what_is_unknown_has_no_speed(level):
    speed = Speed()
    for now in range(0, 5_001, 100):
        speed.sample(level, now)
    assert speed.per_second(5_000) is None

import pytest

from clarion.work.viewers import NO_VIEWERS_SECONDS, REPORT_VALID_MS, ViewerWatch, no_viewers_seconds


def test_policies():
    assert no_viewers_seconds("continue") is None
    assert no_viewers_seconds("cancel") == NO_VIEWERS_SECONDS
    assert no_viewers_seconds(5) == 5.0


@pytest.mark.parametrize("policy", ["stop", 0, -1, True, None, float("inf"), float("nan")])
def test_no_policy(policy):
    with pytest.raises(ValueError):
        no_viewers_seconds(policy)


def lonely_for(watch, work_id, now_ms):
    """For how many seconds nobody has looked at it."""
    found = 0
    while watch.lonely(work_id, found + 1, now_ms):
        found += 1
        watch._named.clear()
    return found


def test_time_counts_from_the_beginning_until_somebody_looks():
    watch = ViewerWatch()
    watch.begin("a", 1_000)
    watch.begin("a", 9_000)
    assert lonely_for(watch, "a", 3_000) == 2


def test_who_looks_begins_the_time_anew():
    watch = ViewerWatch()
    watch.begin("a", 0)
    watch.seen(["a", "unknown"], 5_000)
    assert lonely_for(watch, "a", 7_000) == 2
    assert lonely_for(watch, "unknown", 7_000) == 0


def test_a_viewer_in_another_hub_counts():
    watch = ViewerWatch()
    watch.begin("a", 0)
    watch.reported("other", ["a"], 1_000)
    assert lonely_for(watch, "a", 20_000) == 0
    watch.reported("other", [], 25_000)
    assert lonely_for(watch, "a", 26_000) == 1


def test_a_hub_that_says_no_more_has_no_viewers():
    watch = ViewerWatch()
    watch.begin("a", 0)
    watch.reported("other", ["a"], 1_000)
    assert lonely_for(watch, "a", REPORT_VALID_MS) == 0
    assert lonely_for(watch, "a", REPORT_VALID_MS + 1_000) == 1


def test_it_is_said_once_and_again_after_somebody_has_looked():
    watch = ViewerWatch()
    watch.begin("a", 0)
    assert [watch.lonely("a", 5, now) for now in (4_999, 5_000, 6_000)] == [False, True, False]
    watch.seen(["a"], 7_000)
    assert [watch.lonely("a", 5, now) for now in (8_000, 12_000, 13_000)] == [False, True, False]


def test_what_is_forgotten_is_not_lonely():
    watch = ViewerWatch()
    watch.begin("a", 0)
    watch.forget("a")
    watch.forget("a")
    assert not watch.lonely("a", 1, 10**9)

"""Retention rules and start choices: what is taken, what is refused."""

from datetime import UTC, datetime, timedelta

import pytest

from clarion.errors import InvalidTopic
from clarion.retention import (
    DURABLE_RETENTION,
    LIVE,
    MAX_LAST,
    MEMORY_RETENTION,
    Retention,
    RetentionRules,
    Since,
    parse_since,
)

NOW_MS = 1_790_000_000_000


def test_the_first_rule_whose_pattern_matches_holds() -> None:
    few, some, many = Retention(max_count=1), Retention(max_count=10), Retention(max_count=100)
    rules = RetentionRules(Retention(), {"orders/1": few, "orders/*": some, "**": many})
    assert rules.rule_for("orders/1") is few
    assert rules.rule_for("orders/2") is some
    assert rules.rule_for("orders/2/lines") is many
    assert rules.rule_for("@all") is None


def test_without_rules_only_the_hub_s_own_bounds_hold() -> None:
    assert RetentionRules(MEMORY_RETENTION).rule_for("news") is None
    assert RetentionRules(DURABLE_RETENTION, {"a": Retention(max_count=1)}).rule_for("b") is None


def test_what_looks_like_a_wildcard_inside_a_level_is_none() -> None:
    rules = RetentionRules(Retention(), {"a*": Retention(max_count=1)})
    assert rules.rule_for("a*") is not None
    assert rules.rule_for("ab") is None


@pytest.mark.parametrize(
    "bound",
    [
        Retention(max_count=0),
        Retention(max_count=-1),
        Retention(max_bytes=0),
        Retention(max_age_seconds=0),
        Retention(max_age_seconds=float("nan")),
        Retention(max_count=True),
    ],
)
def test_bounds_that_keep_nothing_are_refused(bound: Retention) -> None:
    with pytest.raises(ValueError, match="must be above 0 or None"):
        RetentionRules(bound)
    with pytest.raises(ValueError, match="must be above 0 or None"):
        RetentionRules(Retention(), {"a": bound})


@pytest.mark.parametrize("name", ["", "@all", "a\n", "x" * 256])
def test_rules_for_topics_that_cannot_be_asked_for_are_refused(name: str) -> None:
    with pytest.raises(InvalidTopic):
        RetentionRules(Retention(), {name: Retention(max_count=1)})


@pytest.mark.parametrize(
    ("text", "since"),
    [
        (None, LIVE),
        ("live", LIVE),
        ("earliest", Since(earliest=True)),
        ("30s", Since(after_ms=NOW_MS - 30_000)),
        ("5m", Since(after_ms=NOW_MS - 300_000)),
        ("2h", Since(after_ms=NOW_MS - 7_200_000)),
        ("7d", Since(after_ms=NOW_MS - 7 * 86_400_000)),
        ("999999999d", Since(after_ms=0)),
        (timedelta(minutes=5), Since(after_ms=NOW_MS - 300_000)),
        (datetime(2026, 1, 1, tzinfo=UTC), Since(after_ms=1_767_225_600_000)),
        ("2026-01-01T00:00:00Z", Since(after_ms=1_767_225_600_000)),
        (10, Since(last=10)),
        ("10", Since(last=10)),
        ("last:10", Since(last=10)),
        (MAX_LAST + 1, Since(last=MAX_LAST)),
        (0, LIVE),
        (-1, LIVE),
    ],
)
def test_start_choices(text: str | int | timedelta | datetime | None, since: Since) -> None:
    assert parse_since(text, NOW_MS) == since
    assert since.live == (since == LIVE)


@pytest.mark.parametrize("text", ["", "now", "5w", "5 m", "-5m", "last:", "last:x", "1e3s", "\u0665m", "2026-13-01"])
def test_what_is_no_start_choice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="since must be"):
        parse_since(text, NOW_MS)


def test_truth_is_not_a_number_of_events() -> None:
    with pytest.raises(ValueError, match="since must be"):
        parse_since(True, NOW_MS)

"""When a client comes back and what an answer means: the shared vectors, and what holds for every input."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.client.policy import (
    MAX_DELAY_MS,
    Action,
    Answer,
    Backoff,
    Failures,
    action_for,
    retry_after_ms,
)
from clarion.client.request import Request, redirected
from clarion.client.states import TABLE, Signal, State, after

VECTORS = Path(__file__).parents[2] / "spec" / "vectors" / "policy"


def cases(name: str) -> Any:
    """The cases of a file, each with its name."""
    listed = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))["cases"]
    assert len({case["name"] for case in listed}) == len(listed)
    return pytest.mark.parametrize("case", listed, ids=[case["name"] for case in listed])


# The shared vectors.


@cases("backoff")
def test_backoff(case: dict[str, Any]) -> None:
    delay_ms = Backoff(min_ms=case["min"], cap_ms=case["cap"]).delay_ms(
        retry_ms=case["retry"], failures=case["failures"], at_least_ms=case["at_least"], random=case["random"]
    )
    assert delay_ms == case["delay"]


@cases("failures")
def test_failures(case: dict[str, Any]) -> None:
    failures = Failures(case["stable"])
    counted = []
    for what, at_ms in case["events"]:
        if what == "opened":
            failures.opened(at_ms)
        elif what == "lost":
            counted.append(failures.lost(at_ms))
        elif what == "bye":
            failures.ended(at_ms)
        else:
            assert what == "forget"
            failures.forget()
    assert counted == case["failures"]


@cases("status")
def test_status(case: dict[str, Any]) -> None:
    answer = Answer(case["status"], case.get("content_type", ""), "", case.get("location"))
    action = action_for(answer, fresh_credentials=case.get("fresh_credentials", False))
    assert action == case["action"]


@cases("retry-after")
def test_retry_after(case: dict[str, Any]) -> None:
    assert retry_after_ms(case["value"], case["now"]) == case["delay"]


@cases("redirect")
def test_redirect(case: dict[str, Any]) -> None:
    before = case["request"]
    request = Request(
        before["method"],
        before["url"],
        tuple((name.encode(), value.encode()) for name, value in before["headers"].items()),
        b"body" if before["body"] else None,
        frozenset(name.encode() for name in before["own"]),
    )
    following = redirected(request, case["status"], case["location"])
    if case["leads_to"] is None:
        assert following is None
        return
    assert following is not None
    assert {
        "method": following.method,
        "url": following.url,
        "headers": [name.decode() for name, _ in following.headers],
        "body": following.body is not None,
    } == case["leads_to"]


# What always holds.

MILLISECONDS = st.integers(0, MAX_DELAY_MS)


@given(
    retry_ms=MILLISECONDS,
    min_ms=st.integers(1, 60_000),
    failures=st.integers(0, 10_000),
    at_least_ms=MILLISECONDS,
    random=st.floats(0, 1, exclude_max=True),
)
def test_a_wait_is_never_shorter_than_asked_for_and_never_zero(
    retry_ms: int, min_ms: int, failures: int, at_least_ms: int, random: float
) -> None:
    backoff = Backoff(min_ms=min_ms)
    delay_ms = backoff.delay_ms(retry_ms=retry_ms, failures=failures, at_least_ms=at_least_ms, random=random)
    assert delay_ms >= at_least_ms
    assert delay_ms >= max(retry_ms, min_ms) // 2
    assert delay_ms <= MAX_DELAY_MS
    assert delay_ms <= max(backoff.cap_ms, 1.5 * max(retry_ms, min_ms) + at_least_ms)


@given(st.text())
def test_a_retry_after_of_any_text_is_a_wait(text: str) -> None:
    assert 0 <= retry_after_ms(text, 1_793_709_045_000) <= MAX_DELAY_MS


@pytest.mark.parametrize("value", ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"])
def test_the_old_forms_of_a_date(value: str) -> None:
    assert retry_after_ms(value, 784_111_777_000 - 5_000) == 5_000


@given(st.integers(100, 999), st.text(), st.none() | st.text(), st.booleans())
def test_every_answer_has_an_action(status: int, kind: str, location: str | None, fresh: bool) -> None:
    action = action_for(Answer(status, kind, "", location), fresh_credentials=fresh)
    assert (action is Action.OPEN) == (status == 200 and action is not Action.CLOSE)


@given(st.text())
def test_a_location_of_any_text_leads_to_the_web_or_nowhere(location: str) -> None:
    following = redirected(Request("GET", "http://app.test/events", ()), 302, location)
    assert following is None or following.url.startswith(("http://", "https://"))


# The table.


def test_every_state_can_be_closed_and_every_way_leads_to_a_state() -> None:
    assert all((state, Signal.CLOSE) in TABLE for state in State)
    assert all((state, Signal.CONNECT) in TABLE for state in State)
    assert {state for state, _ in TABLE} == set(State)
    assert set(TABLE.values()) == set(State) - {State.IDLE}


def test_what_cannot_happen_is_refused() -> None:
    assert after(State.OPEN, Signal.LOST) is State.WAITING
    with pytest.raises(ValueError, match="a source that is waiting cannot get opened"):
        after(State.WAITING, Signal.OPENED)

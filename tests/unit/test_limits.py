"""Admission: counts go up and down in pairs, and nothing is left of who has gone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.errors import TooManyReaders
from clarion.limits import RETRY_AFTER_SECONDS, Admission, Limits, most_readers

people = st.tuples(st.sampled_from((None, "x", "y")), st.sampled_from((None, "1.2.3.4", "::1")))


@given(st.lists(st.tuples(st.booleans(), people), max_size=60))
def test_nobody_is_over_a_limit_and_nobody_below_it_is_refused(
    steps: list[tuple[bool, tuple[str | None, str | None]]],
) -> None:
    admission = Admission(Limits(max_readers=6, max_readers_per_user=2, max_readers_per_address=3))
    there: list[tuple[str | None, str | None]] = []
    for come, person in steps:
        user, address = person
        full = {
            "hub": len(there) >= 6,
            "user": user is not None and sum(one[0] == user for one in there) >= 2,
            "address": address is not None and sum(one[1] == address for one in there) >= 3,
        }
        if not come:
            if person in there:
                there.remove(person)
                admission.release(*person)
        elif any(full.values()):
            with pytest.raises(TooManyReaders) as caught:
                admission.admit(*person)
            assert full[caught.value.scope]
        else:
            admission.admit(*person)
            there.append(person)
    for person in there:
        admission.release(*person)
    assert (admission._readers, admission._users, admission._addresses) == (0, {}, {})


@pytest.mark.parametrize(
    ("limits", "scope", "status"),
    [
        (Limits(max_readers=0), "hub", 503),
        (Limits(max_readers_per_user=0), "user", 429),
        (Limits(max_readers_per_address=0), "address", 429),
    ],
)
def test_a_refusal_says_what_and_when(limits: Limits, scope: str, status: int) -> None:
    with pytest.raises(TooManyReaders) as caught:
        Admission(limits).check("ann", "127.0.0.1")
    assert (caught.value.scope, caught.value.status) == (scope, status)
    assert caught.value.retry_after_seconds == RETRY_AFTER_SECONDS


def test_without_a_limit_the_process_s_own_counts() -> None:
    assert most_readers() > 0
    Admission(Limits()).admit(None, None)

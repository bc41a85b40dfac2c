from dataclasses import replace

import pytest

from clarion.work.addresses import Address
from clarion.work.leases import (
    ASKED,
    NO_VIEWERS,
    Lease,
    LeaseTable,
    check_lease_seconds,
    lease_from_json,
)

LEASE = Lease("import:42", "progress", "r1", (Address("import:42", "ann"),), "progress", owner="ann")


def test_json_and_back():
    lease = replace(LEASE, no_viewers_seconds=5.0, cancellable=False)
    assert lease_from_json(lease.to_json(1_000)) == (lease, 31_000)


def test_a_waiting_lease_ends_at_no_time():
    waiting = LEASE.waiting()
    assert waiting.renew_ms is None
    assert lease_from_json(waiting.to_json(1_000)) == (waiting, None)


@pytest.mark.parametrize("field", list(LEASE.to_json(0)))
def test_a_lease_without_a_field_is_refused(field):
    said = LEASE.to_json(0)
    del said[field]
    with pytest.raises(ValueError):
        lease_from_json(said)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": 7},
        {"kind": None},
        {"addresses": []},
        {"seconds": -1},
        {"seconds": float("nan")},
        {"seconds": True},
        {"noViewersSeconds": "x"},
        {"owner": 7},
        {"untilMs": "soon"},
        {"untilMs": True},
    ],
)
def test_what_strangers_say_is_refused(wrong):
    with pytest.raises(ValueError):
        lease_from_json(LEASE.to_json(0) | wrong)


@pytest.mark.parametrize("said", [None, [], "x", 7])
def test_a_lease_is_an_object(said):
    with pytest.raises(ValueError):
        lease_from_json(said)


def test_it_is_renewed_three_times_in_its_time():
    assert LEASE.renew_ms == 10_000
    assert replace(LEASE, seconds=1.0).renew_ms == 333


@pytest.mark.parametrize("seconds", [0, 0.5, -1, 3_601, float("nan"), True, "30"])
def test_seconds_that_cannot_be(seconds):
    with pytest.raises(ValueError):
        check_lease_seconds(seconds)


def test_each_run_ends_once():
    assert LEASE.end_key == replace(LEASE, owner=None).end_key
    assert LEASE.end_key != replace(LEASE, run="r2").end_key


def test_a_request_is_for_its_run_only():
    assert LEASE.asked({"run": "r1", "reason": "asked"}) == ASKED
    assert LEASE.asked({"run": "r1", "reason": "no_viewers"}) == NO_VIEWERS
    assert LEASE.asked({"run": "r1", "reason": "anything"}) == ASKED
    assert LEASE.asked({"run": "r2"}) is None
    assert LEASE.asked({"run": ""}) is None


def test_a_request_to_what_waited_is_for_what_was_started_of_it():
    started = LEASE.started("x")
    assert started.asked({"run": "r1"}) == ASKED
    assert LEASE.asked({"run": started.run}) is None
    assert LEASE.started("y").asked({"run": started.run}) is None
    assert replace(LEASE, run="r12").asked({"run": "r1"}) is None


@pytest.mark.parametrize("said", [None, [], {}, {"run": 7}, {"run": None}, "r1"])
def test_no_request(said):
    assert LEASE.asked(said) is None


def test_a_lease_is_overdue_after_its_time_and_not_before():
    table = LeaseTable()
    table.renewed(LEASE, 100)
    assert table.next_due_ms() == 30_100
    assert table.overdue(30_099) == []
    assert table.overdue(30_100) == [LEASE]


def test_a_renewal_begins_its_time_anew():
    table = LeaseTable()
    table.renewed(LEASE, 0)
    table.renewed(LEASE, 10_000)
    assert table.overdue(39_999) == []


def test_what_is_found_in_the_journal_has_what_is_left_of_its_time():
    table = LeaseTable()
    table.renewed(LEASE, 0, left_ms=4_000)
    assert table.next_due_ms() == 4_000
    table.renewed(LEASE, 0, left_ms=-4_000)
    assert table.next_due_ms() == 0
    table.renewed(LEASE, 0, left_ms=99_000)  # a clock that is ahead gives nobody more than a lease
    assert table.next_due_ms() == 30_000


def test_what_waits_is_never_overdue():
    table = LeaseTable()
    table.renewed(LEASE, 0)
    table.renewed(LEASE.waiting(), 0)
    assert table.next_due_ms() is None
    assert table.overdue(10**12) == []
    assert len(table) == 1


def test_what_is_gone_is_not_overdue():
    table = LeaseTable()
    table.renewed(LEASE, 0)
    table.gone(LEASE.id)
    table.gone(LEASE.id)
    assert (len(table), table.get(LEASE.id), table.overdue(10**12)) == (0, None, [])


def test_after_a_stop_of_the_process_all_have_time_for_a_renewal():
    table = LeaseTable()
    table.renewed(LEASE, 0)
    table.postpone(60_000)
    assert table.overdue(69_999) == []
    assert table.overdue(70_000) == [LEASE]

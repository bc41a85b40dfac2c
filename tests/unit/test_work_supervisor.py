import asyncio
import logging
from dataclasses import replace

import pytest

from clarion.changes import ValueChange
from clarion.errors import EventTooLarge, JournalUnavailable
from clarion.testing import ManualClock
from clarion.work.addresses import Address
from clarion.work.failures import NotCancellable, UnknownWork
from clarion.work.leases import ASKED, NO_VIEWERS, SHUTDOWN, Lease
from tests.unit.works import FakeHub, Store, pass_time, settle

LEASE = Lease("import:42", "progress", "r1", (Address("import:42", None),), "progress")
RUNNING = {"status": "running", "progress": 40.0, "rate": 7.0, "eta": 9.0, "text": "so far"}


class Work:
    """A work that notes why it is to stop, and, if it has a hub, stops at once."""

    def __init__(self, hub=None, lease=LEASE):
        self.hub = hub
        self.lease = lease
        self.reasons = []
        self.tasks = []

    def cancel(self, reason):
        self.reasons.append(reason)
        if self.hub is not None:
            self.tasks.append(asyncio.ensure_future(self.hub.supervisor.release(self.lease)))


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def hub(store, clock):
    hub = FakeHub(store, clock)
    await hub.supervisor.start()
    yield hub
    store.failing = False
    hub.supervisor._held.clear()
    await hub.supervisor.close()


def leave_behind(store, clock, lease=LEASE, value=RUNNING, age_seconds=0.0):
    """What a process left that died so long ago."""
    for topic, user in lease.addresses:
        store.values[topic, user] = value
    store.set_control("lease", lease.id, lease.to_json(clock.wall_ms() - round(age_seconds * 1000)))


async def test_a_lease_is_taken_and_renewed_every_third_of_its_time(hub, store, clock):
    await hub.supervisor.hold(LEASE, Work())
    await pass_time(clock, 25, 0.5)
    until = [said["untilMs"] for name, _, said in store.control_log if name == "lease"]
    began = until[0] - 30_000
    assert [u - began - 30_000 for u in until] == [0, 10_000, 20_000]


async def test_what_is_released_is_not_renewed_and_not_lost(hub, store, clock):
    await hub.supervisor.hold(LEASE, Work())
    store.set_control("cancel", LEASE.id, {"run": "r1"})
    await hub.supervisor.release(LEASE)
    assert store.control == {}
    await pass_time(clock, 60, 1)
    assert store.control == {}
    assert store.told == []


async def test_releasing_an_older_run_leaves_the_newer_one_alone(hub, store):
    newer = replace(LEASE, run="r2")
    await hub.supervisor.hold(LEASE, Work())
    await hub.supervisor.hold(newer, Work())
    await hub.supervisor.release(LEASE)
    assert store.control["lease", LEASE.id]["run"] == "r2"
    assert hub.supervisor.working(LEASE.id)


async def test_releasing_leaves_a_run_in_another_process_alone(hub, store, clock):
    await hub.supervisor.hold(LEASE, Work())
    leave_behind(store, clock, replace(LEASE, run="r2"))
    await hub.supervisor.release(LEASE)
    assert store.control["lease", LEASE.id]["run"] == "r2"


async def test_what_nobody_renews_is_told_lost_within_its_lease_once_with_what_it_had(hub, store, clock):
    leave_behind(store, clock)
    await pass_time(clock, 29.5, 0.5)
    assert store.told == []
    await pass_time(clock, 1, 0.5)
    (change,) = store.told
    assert change.data == RUNNING | {"status": "lost", "rate": None, "eta": None, "updatedAt": change.data["updatedAt"]}
    assert (change.event, change.key, change.ttl) == ("progress", LEASE.end_key, 86_400.0)
    assert store.control == {}
    await pass_time(clock, 120, 1)
    assert len(store.told) == 1


async def test_every_address_is_told(hub, store, clock):
    lease = replace(LEASE, addresses=(Address("import:42", "ann"), Address("import:42", "bob"), Address("all", None)))
    leave_behind(store, clock, lease)
    await pass_time(clock, 31, 1)
    assert {(change.topic, change.user) for change in store.told} == set(lease.addresses)


async def test_several_hubs_tell_it_once(hub, store, clock):
    other = FakeHub(store, clock)
    await other.supervisor.start()
    leave_behind(store, clock)
    await pass_time(clock, 31, 1)
    assert store.statuses("import:42") == ["lost"]
    await other.supervisor.close()


async def test_what_has_told_its_end_is_not_lost(hub, store, clock):
    leave_behind(store, clock, value=RUNNING | {"status": "completed"})
    await pass_time(clock, 31, 1)
    assert store.told == []
    assert store.control == {}


async def test_the_end_that_comes_first_counts_however_close(hub, store, clock):
    """Between the look at the value and the change, the work tells its end by the same key."""
    leave_behind(store, clock)
    get = hub.get

    async def get_then_end(topic, *, user=None):
        value = await get(topic, user=user)
        store.change([ValueChange(topic, "set", RUNNING | {"status": "completed"}, key=LEASE.end_key)])
        return value

    hub.get = get_then_end
    await pass_time(clock, 31, 1)
    assert store.statuses("import:42") == ["completed"]
    assert store.values["import:42", None]["status"] == "completed"


async def test_a_work_without_a_value_is_forgotten(hub, store, clock):
    leave_behind(store, clock, value=None)
    await pass_time(clock, 31, 1)
    assert (store.told, store.control) == ([], {})


async def test_a_hub_that_starts_finds_what_died_while_none_was_there(store, clock):
    leave_behind(store, clock, age_seconds=3_600)
    fresh = replace(LEASE, id="fresh", addresses=(Address("fresh", None),))
    leave_behind(store, clock, fresh, age_seconds=20)
    hub = FakeHub(store, clock)
    await hub.supervisor.start()
    await pass_time(clock, 0.5)
    assert store.statuses("import:42") == ["lost"]
    assert store.statuses("fresh") == []
    await pass_time(clock, 10, 0.5)
    assert store.statuses("fresh") == ["lost"]
    await hub.supervisor.close()


async def test_a_hub_that_did_not_hear_a_renewal_reads_it_in_the_journal(hub, store, clock):
    leave_behind(store, clock)
    await settle()
    hub.deaf = True
    await pass_time(clock, 20, 1)
    store.set_control("lease", LEASE.id, LEASE.to_json(clock.wall_ms()))
    await pass_time(clock, 20, 1)
    assert store.told == []
    await pass_time(clock, 11, 1)
    assert store.statuses("import:42") == ["lost"]


async def test_its_own_works_are_never_lost_to_a_slow_journal(hub, store, clock):
    await hub.supervisor.hold(LEASE, Work())
    store.values["import:42", None] = RUNNING
    store.failing = True
    await pass_time(clock, 100, 1)
    store.failing = False
    await pass_time(clock, 40, 1)
    assert store.told == []
    assert store.control["lease", LEASE.id]["untilMs"] > clock.wall_ms()


async def test_a_process_that_was_stopped_gives_the_others_time_to_be_heard(hub, store, clock):
    leave_behind(store, clock)
    await settle()
    clock._now_ms += 60_000  # no timer was called: everything stood still
    clock.advance(0)
    await settle()
    assert store.told == []


async def test_a_failing_journal_is_tried_again_and_does_not_spin(hub, store, clock, caplog):
    leave_behind(store, clock)
    await settle()
    store.failing = True
    with caplog.at_level(logging.WARNING, "clarion.work"):
        await pass_time(clock, 35)
    assert 2 <= len(caplog.records) <= 8
    store.failing = False
    await pass_time(clock, 2, 0.5)
    assert store.statuses("import:42") == ["lost"]


async def test_a_value_that_cannot_be_told_is_let_go(hub, store, clock, caplog):
    leave_behind(store, clock)
    store.refused = lambda change: EventTooLarge(9, 8)
    await pass_time(clock, 40, 1)
    assert store.control == {}
    assert "cannot say so" in caplog.text


@pytest.mark.parametrize("said", [None, 7, {"id": "import:42"}, {**LEASE.to_json(0), "addresses": [["@all", None]]}])
async def test_leases_of_strangers_harm_nothing(hub, store, clock, said):
    store.set_control("lease", "import:42", said)
    await pass_time(clock, 40, 1)
    assert store.told == []
    with pytest.raises(UnknownWork):
        await hub.supervisor.cancel("import:42")


# Cancelling.


async def test_a_work_of_this_process_is_told_to_stop_at_once_even_without_a_journal(hub, store):
    work = Work()
    hub.supervisor.announce(LEASE, work)
    store.failing = True
    await hub.supervisor.cancel(LEASE.id)
    assert work.reasons == [ASKED]


async def test_a_work_of_another_hub_hears_it(hub, store, clock):
    other = FakeHub(store, clock)
    await other.supervisor.start()
    work = Work()
    await other.supervisor.hold(LEASE, work)
    await hub.supervisor.cancel(LEASE.id)
    assert work.reasons == [ASKED]
    await other.supervisor.release(LEASE)
    await other.supervisor.close()


async def test_the_request_stands_in_the_journal_for_who_only_reads_it(hub, store, clock):
    leave_behind(store, clock)
    await hub.supervisor.cancel(LEASE.id)
    assert LEASE.asked(store.control["cancel", LEASE.id]) == ASKED


async def test_a_work_that_began_elsewhere_and_was_not_heard_of_yet_is_found(hub, store, clock):
    hub.deaf = True
    leave_behind(store, clock)
    await hub.supervisor.cancel(LEASE.id)
    assert ("cancel", LEASE.id) in store.control


async def test_what_is_not_under_way_cannot_be_cancelled_and_nothing_changes(hub, store):
    with pytest.raises(UnknownWork):
        await hub.supervisor.cancel("import:43")
    assert (store.control, store.told) == ({}, [])


@pytest.mark.parametrize("owner", [None, "ann"])
async def test_foreign_works_cannot_be_cancelled(hub, store, clock, owner):
    leave_behind(store, clock, replace(LEASE, owner=owner))
    before = dict(store.control)
    with pytest.raises(UnknownWork):
        await hub.supervisor.cancel(LEASE.id, user="bob")
    assert store.control == before
    if owner is not None:
        await hub.supervisor.cancel(LEASE.id, user=owner)
        assert store.control != before


async def test_what_is_not_cancellable_says_so(hub):
    work = Work()
    await hub.supervisor.hold(replace(LEASE, cancellable=False), work)
    with pytest.raises(NotCancellable):
        await hub.supervisor.cancel(LEASE.id)
    assert work.reasons == []


async def test_a_request_for_an_earlier_run_is_not_heard(hub, store):
    work = Work()
    await hub.supervisor.hold(replace(LEASE, run="r2"), work)
    store.set_control("cancel", LEASE.id, {"run": "r1", "reason": "asked"})
    assert work.reasons == []


async def test_what_waits_in_a_queue_is_cancelled_at_once_and_the_request_stays_for_who_takes_it(hub, store):
    waiting = LEASE.waiting()
    await hub.supervisor.leave(waiting)
    store.values["import:42", None] = RUNNING | {"status": "pending"}
    await hub.supervisor.cancel(LEASE.id)
    assert store.statuses("import:42") == ["cancelled"]
    assert LEASE.started("x").asked(store.control["cancel", LEASE.id]) == ASKED
    assert ("lease", LEASE.id) not in store.control


async def test_a_journal_that_fails_is_said_to_who_asks(hub, store, clock):
    leave_behind(store, clock)
    await settle()
    store.failing = True
    with pytest.raises(JournalUnavailable):
        await hub.supervisor.cancel(LEASE.id)


# Viewers.


async def test_what_nobody_looks_at_is_cancelled_after_its_time(hub, clock):
    work = Work()
    await hub.supervisor.hold(replace(LEASE, no_viewers_seconds=5.0), work)
    await pass_time(clock, 4, 0.5)
    assert work.reasons == []
    await pass_time(clock, 3, 0.5)
    assert work.reasons == [NO_VIEWERS]
    await pass_time(clock, 20, 0.5)
    assert work.reasons == [NO_VIEWERS]


@pytest.mark.parametrize("viewer", ["import:42", "ann"])
async def test_it_goes_on_while_somebody_looks(hub, clock, viewer):
    lease = replace(LEASE, no_viewers_seconds=5.0, addresses=(Address("x", None), Address("import:42", None)))
    if viewer == "ann":
        lease = replace(lease, addresses=(Address("import:42", "ann"),))
    hub.viewers[viewer] = 1
    work = Work()
    await hub.supervisor.hold(lease, work)
    await pass_time(clock, 30, 1)
    assert work.reasons == []
    hub.viewers.clear()
    await pass_time(clock, 3, 1)
    hub.viewers[viewer] = 1  # a reload
    await pass_time(clock, 10, 1)
    assert work.reasons == []
    hub.viewers.clear()
    await pass_time(clock, 8, 1)
    assert work.reasons == [NO_VIEWERS]


async def test_a_viewer_of_another_hub_counts_and_a_hub_that_died_has_none(hub, store, clock):
    other = FakeHub(store, clock)
    await other.supervisor.start()
    other.viewers["import:42"] = 1
    work = Work()
    await hub.supervisor.hold(replace(LEASE, no_viewers_seconds=5.0), work)
    await pass_time(clock, 60, 1)
    assert work.reasons == []
    store.hubs.remove(other)
    other.supervisor._timer.cancel()  # it is killed, and says nothing more
    await pass_time(clock, 15, 1)
    assert work.reasons == []
    await pass_time(clock, 25, 1)
    assert work.reasons == [NO_VIEWERS]


async def test_without_a_policy_nobody_is_counted(hub, clock):
    hub.clients = None  # would be called
    await hub.supervisor.hold(LEASE, Work())
    await pass_time(clock, 30, 1)


# Closing.


async def test_closing_stops_its_works_and_waits_for_their_last_words(hub, store, clock):
    work = Work(hub)
    await hub.supervisor.hold(LEASE, work)
    await hub.supervisor.close()
    assert work.reasons == [SHUTDOWN]
    assert store.control == {}
    await hub.supervisor.close()


async def test_after_closing_nothing_is_due(store, clock):
    hub = FakeHub(store, clock)
    await hub.supervisor.start()
    leave_behind(store, clock)
    await settle()
    await hub.supervisor.close()
    assert clock.waiting == 0
    await pass_time(clock, 60, 1)
    assert store.told == []
    assert hub.listeners == []


async def test_a_hub_whose_journal_fails_does_not_start_to_watch(store, clock):
    hub = FakeHub(store, clock)
    store.failing = True
    with pytest.raises(JournalUnavailable):
        await hub.supervisor.start()
    assert hub.listeners == []

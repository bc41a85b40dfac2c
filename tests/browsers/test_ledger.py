"""Sources in pages against a hub: every event once and in order, or a told gap, whatever happens to network or page."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path

from tests.browsers.conftest import NewTab, StartServer
from tests.browsers.driving import call
from tests.browsers.ledger import (
    SECONDS,
    check_ledger,
    wait_for_last,
    wait_for_state,
    wait_until_connected,
)
from tests.browsers.quiet_proxy import QuietProxy
from tests.integration.faulty_proxy import FAULTS, FaultyProxy
from tests.integration.servers import publish_in_bursts, wait_until

SEEDS = range(5)
SPEED = 20  # of a source's clock: what would take minutes takes seconds
KEEPING_THE_ID = tuple(fault for fault in FAULTS if fault != "lost-id")
MOST_FAULTS = len(KEEPING_THE_ID) // 2  # seen at least: how many connections a run has is chance
PAGE = "/pages/page.html"


def test_every_event_once_and_in_order_whatever_the_network_does(start_server: StartServer, new_tab: NewTab) -> None:
    """Each source goes its own way, to another origin, with a preflight for each attempt that resumes."""
    count = 80
    server = start_server()
    tab = new_tab(f"http://127.0.0.1:{server.port}{PAGE}")
    with ExitStack() as stack:
        ways = [stack.enter_context(FaultyProxy(server.port, seed, faults=KEEPING_THE_ID)) for seed in SEEDS]
        for way in ways:
            url = f"http://127.0.0.1:{way.port}/events?since=earliest"
            call(tab, "start", f"seed {way.seed}", {"url": url, "speed": SPEED, "maxDelayMs": 5_000})
        publish_in_bursts(server, count, seed=7, pause_seconds=0.05)
        for way in ways:
            assert wait_for_last(tab, f"seed {way.seed}", count - 1) == list(range(count))
            call(tab, "close", f"seed {way.seed}")
        assert sum(way.connections for way in ways) > 3 * len(ways)
        assert len({fault for way in ways for fault in way.seen}) >= MOST_FAULTS


def test_of_one_origin_and_where_the_id_is_lost_nothing_comes_twice(start_server: StartServer, new_tab: NewTab) -> None:
    """Page and stream come through the same proxy, so there is no preflight. Without its id, a request is a new one."""
    count = 80
    server = start_server()
    with FaultyProxy(server.port, 31, faults=(), mean_bytes=12_000) as way:
        tab = new_tab(f"http://127.0.0.1:{way.port}{PAGE}")
        way.faults = ("cut", "lost-id", "reset")
        way.cut()
        call(tab, "start", "one", {"url": "/events?since=earliest", "speed": SPEED, "maxDelayMs": 5_000})
        publish_in_bursts(server, count, seed=8, pause_seconds=0.05)
        assert wait_for_last(tab, "one", count - 1) == list(range(count))
        assert way.connections > 3
        assert "lost-id" in way.seen
        call(tab, "close", "one")


def test_reload_goes_on_where_the_page_was(start_server: StartServer, new_tab: NewTab) -> None:
    server = start_server()
    tab = new_tab(f"http://127.0.0.1:{server.port}{PAGE}")
    lines: list[int | None] = []
    for run in range(4):
        call(tab, "start", "one", {"url": "/events?since=earliest", "key": "place"})
        server.publish(times=10, first=20 * run)
        lines += wait_for_last(tab, "one", 20 * run + 9)
        tab.reload()
        server.publish(times=10, first=20 * run + 10)
    call(tab, "start", "one", {"url": "/events?since=earliest", "key": "place"})
    lines += wait_for_last(tab, "one", 79)
    assert lines == list(range(80))


def test_reload_in_the_middle_of_work(start_server: StartServer, new_tab: NewTab) -> None:
    """What was dealt with when the page went is not told again, and what was not is."""
    server = start_server()
    tab = new_tab(f"http://127.0.0.1:{server.port}{PAGE}")
    options = {"url": "/events?since=earliest", "key": "place", "keep": "work", "workMs": 60}

    def reached() -> int:
        last: int = (call(tab, "kept", "work") or [-1])[-1]
        return last

    published, left = 0, []
    for _ in range(6):
        call(tab, "start", "one", options)
        for _ in range(6):
            server.publish(times=20, first=published)
            published += 20
        tab.reload()
        left.append(published - 1 - reached())
    call(tab, "start", "one", options)
    wait_until(lambda: reached() == published - 1, "all is done", SECONDS)
    assert call(tab, "kept", "work") == list(range(published))
    assert any(left), "each time all was done before the page went"


def test_tab_that_is_closed_takes_its_stream_and_its_place_with_it(start_server: StartServer, new_tab: NewTab) -> None:
    server = start_server()
    url = f"http://127.0.0.1:{server.port}{PAGE}"
    one, other = new_tab(url), new_tab(url)
    for tab in (one, other):
        call(tab, "start", "one", {"url": "/events?since=earliest", "key": "place"})
    server.publish(times=10)
    for tab in (one, other):
        assert wait_for_last(tab, "one", 9) == list(range(10))
    place = call(one, "reader", "one")["lastEventId"]
    one.close()
    server.wait_for_clients(1)
    server.publish(times=10, first=10)
    assert wait_for_last(other, "one", 19) == list(range(20))
    fresh, resumed = new_tab(url), new_tab(url)
    call(fresh, "start", "one", {"url": "/events?since=earliest", "key": "place"})
    assert wait_for_last(fresh, "one", 19) == list(range(20))
    call(resumed, "start", "one", {"url": "/events", "lastEventId": place})
    assert wait_for_last(resumed, "one", 19) == list(range(10, 20))


def test_token_is_refreshed_when_it_is_refused(start_server: StartServer, new_tab: NewTab) -> None:
    """The stream ends with its token; the old one is refused once, and the new one goes on from the same place."""
    server = start_server(token_seconds=1)
    tab = new_tab(f"http://127.0.0.1:{server.port}{PAGE}")
    call(tab, "start", "one", {"url": "/private", "withToken": True, "speed": SPEED})
    wait_until_connected(tab, "one")
    published = 0
    while server.get("/refusals").json() < 3:
        server.publish(times=5, first=published)
        published += 5
        wait_for_last(tab, "one", published - 1)
    reader = call(tab, "reader", "one")
    assert reader["lines"] == list(range(published))
    assert {"expired"} <= {status["reason"] for status in reader["statuses"]}
    assert reader["errors"] == []


def test_server_that_is_killed_and_started_again_on_its_journal(
    start_server: StartServer, new_tab: NewTab, tmp_path: Path
) -> None:
    journal = f"sqlite:///{tmp_path / 'events.db'}"
    server = start_server("pages-protocol", journal=journal)
    with QuietProxy(server.port) as way:
        tab = new_tab(f"{way.base}{PAGE}")
        call(tab, "start", "one", {"url": "/events?since=earliest", "speed": SPEED})
        for start in range(0, 80, 40):
            server.publish(times=20, first=start)
            server.tell_group(signal.SIGKILL)
            server.wait()
            server = start_server("pages-protocol", journal=journal)
            way.target_port = server.port
            server.publish(times=20, first=start + 20)
        assert wait_for_last(tab, "one", 79) == list(range(80))
        assert call(tab, "reader", "one")["errors"] == []


def test_what_the_server_no_longer_has_is_a_told_gap(start_server: StartServer, new_tab: NewTab) -> None:
    server = start_server(retention={"max_count": 15})
    with QuietProxy(server.port) as way:
        tab = new_tab(f"{way.base}{PAGE}")
        call(tab, "start", "one", {"url": "/events", "speed": SPEED})
        wait_until_connected(tab, "one")
        server.publish(times=10)
        wait_for_last(tab, "one", 9)
        way.refuse()
        wait_for_state(tab, "one", "waiting", "network")
        server.publish(body="x" * 20_000, times=1_000, first=10)  # more than the 16 MiB that the hub has in hand
        server.publish(times=1, first=1_010)
        way.target_port = server.port
        lines = wait_for_last(tab, "one", 1_010)
        check_ledger(lines, 1_011)
        reader = call(tab, "reader", "one")
        [gap] = reader["gaps"]
        assert gap["reason"] == "expired"
        next_number = lines[lines.index(None) + 1]
        assert next_number is not None
        assert gap["missed"] == next_number - 10

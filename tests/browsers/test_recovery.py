"""How soon a source in a page notices that its stream is gone: asleep, offline, out of sight, and in the history."""

from __future__ import annotations

import time
from typing import Any

from tests.browsers.conftest import NewTab, StartServer
from tests.browsers.driving import Browser, GoesOffline, Tab, call
from tests.browsers.ledger import wait_for_last, wait_for_state, wait_until_connected
from tests.browsers.quiet_proxy import QuietProxy
from tests.integration.servers import wait_until

PAGE = "/pages/page.html"
HEARTBEAT_SECONDS = 1.0
NOTICED_HEARTBEATS = 2  # without a byte (spec/stream.md, section 9.4)
HURRIED_HEARTBEATS = 1.25  # the same, once somebody looks
SLACK_SECONDS = 2.0  # this machine may be busy
QUICK = {"minDelayMs": 1, "maxDelayMs": 50}


def statuses(tab: Tab) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = call(tab, "reader", "one")["statuses"]
    return said


def test_a_source_that_is_closed_lets_go_of_its_connection(start_server: StartServer, new_tab: NewTab) -> None:
    """(After a redirect Firefox does not, whatever a page does.)"""
    server = start_server()
    tab = new_tab(f"http://127.0.0.1:{server.port}{PAGE}")
    call(tab, "start", "one", {"url": "/events"})
    wait_until_connected(tab, "one")
    assert server.about()["clients"] == 1
    call(tab, "close", "one")
    wait_until(lambda: server.about()["clients"] == 0, "nobody reads", 10)


def test_silence_is_noticed_within_two_heartbeats(start_server: StartServer, new_tab: NewTab) -> None:
    """As after a sleep: the connection is dead, and nobody says so."""
    server = start_server()
    with QuietProxy(server.port) as way:
        tab = new_tab(f"{way.base}{PAGE}")
        call(tab, "start", "one", {"url": f"/events?heartbeat_seconds={HEARTBEAT_SECONDS}"})
        wait_until_connected(tab, "one")
        time.sleep(2.5 * HEARTBEAT_SECONDS)  # heartbeats keep a quiet stream
        assert [status["reason"] for status in statuses(tab)] == [""] * len(statuses(tab))
        way.silence()
        silent_at = time.monotonic()
        server.publish(times=5)
        wait_for_state(tab, "one", "waiting", "silent")
        assert time.monotonic() - silent_at < NOTICED_HEARTBEATS * HEARTBEAT_SECONDS + SLACK_SECONDS
        assert wait_for_last(tab, "one", 4) == list(range(5))
        # A connection that fell silent is let go of.
        server.publish(times=5, first=5)
        assert wait_for_last(tab, "one", 9) == list(range(10))


def test_a_page_that_is_looked_at_hurries(start_server: StartServer, new_tab: NewTab) -> None:
    heartbeat_seconds = 2.0
    server = start_server()
    with QuietProxy(server.port) as way:
        tab = new_tab(f"{way.base}{PAGE}")
        call(tab, "start", "one", {"url": f"/events?heartbeat_seconds={heartbeat_seconds}"})
        wait_until_connected(tab, "one")
        connected_at = call(tab, "reader", "one")["statuses"][-1]["at"]
        way.silence()
        server.publish(times=5)
        time.sleep(0.5)
        call(tab, "becomeVisible")
        wait_for_state(tab, "one", "waiting", "silent")
        [noticed] = [status["at"] for status in statuses(tab) if status["reason"] == "silent"]
        took_heartbeats = (noticed - connected_at) / 1000 / heartbeat_seconds
        assert HURRIED_HEARTBEATS - 0.05 < took_heartbeats < NOTICED_HEARTBEATS - 0.1
        assert wait_for_last(tab, "one", 4) == list(range(5))


def test_offline_and_online_again(browser: Browser, start_server: StartServer, new_tab: NewTab) -> None:
    """It comes back as soon as the browser says that there is a network, however long it would have waited."""
    server = start_server()
    with QuietProxy(server.port) as way:
        tab = new_tab(f"{way.base}{PAGE}")
        call(tab, "start", "one", {"url": "/events?heartbeat_seconds=1", "minDelayMs": 60_000})
        wait_until_connected(tab, "one")
        if isinstance(tab, GoesOffline):
            tab.set_offline(True)
            way.cut()
        else:
            way.refuse()
        wait_for_state(tab, "one", "waiting")
        server.publish(times=5)
        if isinstance(tab, GoesOffline):
            tab.set_offline(False)
        else:
            way.target_port = server.port
            tab.evaluate("dispatchEvent(new Event('online'))")
        begun_at = time.monotonic()
        assert wait_for_last(tab, "one", 4) == list(range(5))
        assert time.monotonic() - begun_at < 2 * HEARTBEAT_SECONDS + SLACK_SECONDS


def test_back_to_a_page_goes_on_without_loss(browser: Browser, start_server: StartServer, new_tab: NewTab) -> None:
    """Out of the back/forward cache the source goes on; a page that is loaded anew has its place in the session.

    Firefox caches no page that has a request under way, and looks before it tells the page that it goes.
    """
    server = start_server()
    url = f"http://127.0.0.1:{server.port}{PAGE}"
    tab = new_tab(url)
    options = {"url": "/events?since=earliest", "key": "place", **QUICK}
    call(tab, "start", "one", options)
    server.publish(times=5)
    lines = wait_for_last(tab, "one", 4)
    tab.open(f"{url}?elsewhere")
    server.wait_for_clients(0)  # who is away holds no connection
    server.publish(times=5, first=5)
    tab.back()
    wait_until(lambda: tab.evaluate("!!globalThis.tests && !location.search"), "the page is back")
    came_out = call(tab, "timesPersisted") > 0
    assert came_out == (browser.name != "firefox")
    if came_out:
        lines = wait_for_last(tab, "one", 9)
        # The first status is that of the first `connecting`, and comes before anybody listens.
        states = [status["state"] for status in statuses(tab)]
        assert states[states.index("paused") :][:3] == ["paused", "connecting", "open"]
    else:
        call(tab, "start", "one", options)
        lines += wait_for_last(tab, "one", 9)
    assert lines == list(range(10))
    server.publish(times=5, first=10)
    assert wait_for_last(tab, "one", 14)[-5:] == list(range(10, 15))
    server.wait_for_clients(1)

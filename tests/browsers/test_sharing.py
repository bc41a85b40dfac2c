"""`share: "browser"`: the tabs of one user hold one connection, and each gets every event once and in order.

Nobody looks at the tabs: a browser that lets hidden pages wait does so here. Servers speak HTTP/1.1, on which a browser
has six connections to a server, and no more.
"""

from __future__ import annotations

import signal
from pathlib import Path

from tests.browsers.conftest import NewTab, StartServer
from tests.browsers.driving import Tab, call
from tests.browsers.ledger import SECONDS, wait_for_last, wait_until_connected
from tests.browsers.quiet_proxy import QuietProxy
from tests.integration.servers import Server, wait_until

PAGE = "/pages/page.html"
TABS = 10
PROMPT_MS = 2_000  # on a busy machine; a request that gets no connection waits for ever


def hidden_tabs(server: Server, new_tab: NewTab, count: int) -> list[Tab]:
    return [new_tab(f"http://127.0.0.1:{server.port}{PAGE}", in_front=False) for _ in range(count)]


def share(tab: Tab, user: str = "ann", **options: object) -> None:
    url = f"/events?since=earliest&user={user}"
    call(tab, "start", "one", {"url": url, "share": "browser", "user": user, **options})


def leaders(tabs: list[Tab], user: str = "ann") -> list[Tab]:
    """The tabs that hold the user's lock."""
    return [tab for tab in tabs if call(tab, "holdsLock", f'"{user}"')]


def wait_for_one_stream(server: Server) -> None:
    """Those that catch up by themselves let go of their connections when they have."""
    wait_until(lambda: server.about()["clients"] == 1, "one stream", SECONDS)


def test_ten_tabs_hold_one_connection_and_stay_responsive(start_server: StartServer, new_tab: NewTab) -> None:
    server = start_server()
    server.publish(times=20)
    tabs = hidden_tabs(server, new_tab, TABS)
    for tab in tabs:
        share(tab)
    for tab in tabs:
        assert wait_for_last(tab, "one", 19) == list(range(20))
    wait_for_one_stream(server)
    for tab in tabs:
        assert call(tab, "timeToFetch", "/about") < PROMPT_MS
    for burst in range(1, 5):
        server.publish(times=20, first=20 * burst)
    for tab in tabs:
        assert wait_for_last(tab, "one", 99) == list(range(100))
        assert call(tab, "reader", "one")["errors"] == []
    assert server.about()["clients"] == 1
    assert len(leaders(tabs)) == 1


def test_without_sharing_six_tabs_take_all_connections(start_server: StartServer, new_tab: NewTab) -> None:
    """What sharing is for: so the test before this one can fail."""
    server = start_server()
    tabs = hidden_tabs(server, new_tab, 7)
    for tab in tabs:
        call(tab, "start", "one", {"url": "/events"})
    server.wait_for_clients(6)
    assert call(tabs[0], "isHung", "/about", 700)
    for tab in tabs:
        tab.close()


def test_leader_that_is_closed_hands_over_without_loss(start_server: StartServer, new_tab: NewTab) -> None:
    server = start_server()
    tabs = hidden_tabs(server, new_tab, 5)
    for tab in tabs:
        # Without a `since`: who does not begin where it was has only what comes after.
        share(tab, url="/events?user=ann")
        wait_until_connected(tab, "one")
    published = 0
    while len(tabs) > 1:
        server.publish(times=10, first=published)
        wait_for_last(tabs[-1], "one", published + 9)
        [leader] = wait_until(lambda: leaders(tabs), "one leads", SECONDS)
        # Some events while the leader goes, too.
        server.publish(times=5, first=published + 10)
        leader.close()
        tabs.remove(leader)
        server.publish(times=5, first=published + 15)
        published += 20
        for tab in tabs:
            assert wait_for_last(tab, "one", published - 1) == list(range(published))
        wait_for_one_stream(server)
    assert call(tabs[0], "reader", "one")["errors"] == []


def test_a_leader_that_is_reloaded_goes_on_with_the_others(start_server: StartServer, new_tab: NewTab) -> None:
    server = start_server()
    tabs = hidden_tabs(server, new_tab, 3)
    for tab in tabs:
        share(tab, key="place")
    server.publish(times=10)
    for tab in tabs:
        wait_for_last(tab, "one", 9)
    [leader] = wait_until(lambda: leaders(tabs), "one leads", SECONDS)
    server.publish(times=5, first=10)
    wait_for_last(leader, "one", 14)
    leader.reload()
    server.publish(times=5, first=15)
    share(leader, key="place")
    assert wait_for_last(leader, "one", 19) == list(range(15, 20))
    for tab in tabs:
        if tab is not leader:
            assert wait_for_last(tab, "one", 19) == list(range(20))
    wait_for_one_stream(server)


def test_two_users_never_share(start_server: StartServer, new_tab: NewTab) -> None:
    server = start_server()
    tabs = {user: hidden_tabs(server, new_tab, 2) for user in ("ann", "ben")}
    for user, both in tabs.items():
        for tab in both:
            # The same address for both: who is who is in a cookie, say.
            call(tab, "start", "one", {"url": "/events", "share": "browser", "user": user})
            wait_until_connected(tab, "one")
    server.wait_for_clients(2)
    server.publish(times=10)
    for both in tabs.values():
        for tab in both:
            assert wait_for_last(tab, "one", 9) == list(range(10))
    for user, both in tabs.items():
        assert len(leaders(both, user)) == 1
        for tab in both:
            tab.close()
        server.wait_for_clients(1 if user == "ann" else 0)


def test_an_event_for_one_user_reaches_all_of_their_tabs_and_no_other(
    start_server: StartServer, new_tab: NewTab
) -> None:
    server = start_server()
    tabs = {user: hidden_tabs(server, new_tab, 2) for user in ("ann", "ben")}
    for user, both in tabs.items():
        for tab in both:
            share(tab, user)
            wait_until_connected(tab, "one")
    server.post("/tell/ann", "500: for ann")
    server.publish(times=1, first=501)
    for tab in tabs["ann"]:
        assert wait_for_last(tab, "one", 501) == [500, 501]
    for tab in tabs["ben"]:
        assert wait_for_last(tab, "one", 501) == [501]


def test_server_that_is_killed_is_waited_for_by_all(start_server: StartServer, new_tab: NewTab, tmp_path: Path) -> None:
    journal = f"sqlite:///{tmp_path / 'events.db'}"
    server = start_server("pages-protocol", journal=journal)
    with QuietProxy(server.port) as way:
        tabs = [new_tab(f"{way.base}{PAGE}", in_front=False) for _ in range(4)]
        for tab in tabs:
            share(tab, url="/events?user=ann", minDelayMs=1, maxDelayMs=500)
            wait_until_connected(tab, "one")
        server.publish(times=10)
        for tab in tabs:
            wait_for_last(tab, "one", 9)
        server.tell_group(signal.SIGKILL)
        server.wait()
        server = start_server("pages-protocol", journal=journal)
        way.target_port = server.port
        server.publish(times=10, first=10)
        for tab in tabs:
            assert wait_for_last(tab, "one", 19) == list(range(20))
        wait_for_one_stream(server)

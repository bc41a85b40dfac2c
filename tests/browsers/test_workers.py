"""A source in a worker: with what the hub serves, and on one connection with the pages of its user."""

from __future__ import annotations

from tests.browsers.conftest import NewTab, StartServer
from tests.browsers.driving import call
from tests.browsers.ledger import SECONDS, wait_for_last
from tests.integration.servers import wait_until

PAGE = "/pages/page.html"


def test_worker_gets_every_event(start_server: StartServer, new_tab: NewTab) -> None:
    server = start_server()
    server.publish(times=10)
    tab = new_tab(f"http://127.0.0.1:{server.port}{PAGE}")
    call(tab, "startInWorker", "one", {"url": "/events?since=earliest"})
    assert wait_for_last(tab, "one", 9) == list(range(10))
    server.publish(times=10, first=10)
    assert wait_for_last(tab, "one", 19) == list(range(20))
    assert call(tab, "reader", "one")["errors"] == []


def test_worker_shares_the_connection_of_its_user(start_server: StartServer, new_tab: NewTab) -> None:
    server = start_server()
    shared = {"url": "/events?since=earliest&user=ann", "share": "browser", "user": "ann"}
    tabs = [new_tab(f"http://127.0.0.1:{server.port}{PAGE}") for _ in range(2)]
    for start, tab in zip(("start", "startInWorker"), tabs, strict=True):
        call(tab, start, "one", shared)
    server.publish(times=10)
    for tab in tabs:
        assert wait_for_last(tab, "one", 9) == list(range(10))
    wait_until(lambda: server.about()["clients"] == 1, "one stream", SECONDS)
    tabs[0].close()  # the worker goes on, or takes over
    server.publish(times=10, first=10)
    assert wait_for_last(tabs[1], "one", 19) == list(range(20))
    assert call(tabs[1], "reader", "one")["errors"] == []

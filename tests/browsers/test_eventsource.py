"""The browser's own EventSource and the client's, side by side against a hub; other origins; the served file."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.browsers.conftest import NewTab, StartServer
from tests.browsers.driving import Tab, call
from tests.browsers.quiet_proxy import QuietProxy
from tests.integration.servers import wait_until

PAGE = "/pages/page.html"
KINDS = ("native", "client")


def events_of(tab: Tab, kind: str, count: int, count_of: str = "message") -> list[dict[str, str]]:
    """All events of one of the two, once it has had so many of a type."""

    def has_them() -> bool:
        events = call(tab, "eventSource", kind)["events"]
        return sum(1 for event in events if event["type"] == count_of) >= count

    wait_until(has_them, f"{kind} has had {count} of {count_of}")
    events: list[dict[str, str]] = call(tab, "eventSource", kind)["events"]
    return events


def without_identity(event: dict[str, str]) -> dict[str, str]:
    """The id of a stream and its clock are its own."""
    hidden = re.sub(r'"clientId":"[^"]*"|"timestamp":\d+', "", event["data"])
    return {**event, "data": hidden}


@pytest.mark.parametrize("other_origin", [False, True])
def test_both_get_the_same_events(other_origin: bool, start_server: StartServer, new_tab: NewTab) -> None:
    server = start_server()
    with QuietProxy(server.port) as way:
        base = way.base if other_origin else f"http://127.0.0.1:{server.port}"
        tab = new_tab(f"http://127.0.0.1:{server.port}{PAGE}")
        server.publish(body='é\u2028"x"', times=10)
        for kind in KINDS:
            url = f"{base}/events?since=earliest&user=ann"
            call(tab, "openEventSource", kind, url, ["message"])
            events_of(tab, kind, 10)
        server.publish(times=10, first=10)
        server.post("/tell/ann", "for ann")
        native, client = (events_of(tab, kind, 21) for kind in KINDS)
        # The second one came later, so more was there when it did.
        assert [without_identity(event) for event in client[1:]] == [without_identity(event) for event in native[1:]]
        assert native[0]["type"] == client[0]["type"] == "connected"
        assert {event["origin"] for event in client} == {base}
        facts = [call(tab, "eventSource", kind) for kind in KINDS]
        for name in ("opens", "errors", "url", "readyState", "withCredentials"):
            assert facts[0][name] == facts[1][name], name
        for kind in KINDS:
            call(tab, "closeEventSource", kind)
            assert call(tab, "eventSource", kind)["readyState"] == 2
        server.wait_for_clients(0)


def test_both_resume_after_a_cut(start_server: StartServer, new_tab: NewTab) -> None:
    server = start_server()
    with QuietProxy(server.port) as way:
        tab = new_tab(f"{way.base}{PAGE}")
        for kind in KINDS:
            call(tab, "openEventSource", kind, "/events", ["message"])
            events_of(tab, kind, 1, "connected")
        server.publish(times=10)
        for kind in KINDS:
            events_of(tab, kind, 10)
        way.cut()
        server.publish(times=10, first=10)
        for kind in KINDS:
            events = events_of(tab, kind, 20)
            texts = [event["data"] for event in events if event["type"] == "message"]
            numbers = [int(text.strip('"').partition(":")[0]) for text in texts]
            assert numbers == list(range(20)), kind
            facts = call(tab, "eventSource", kind)
            assert (facts["opens"], facts["errors"], facts["readyState"]) == (2, 1, 1), kind


def test_only_the_clients_survives_a_503(start_server: StartServer, new_tab: NewTab) -> None:
    server = start_server(limits={"max_readers_per_user": 1})
    tab = new_tab(f"http://127.0.0.1:{server.port}{PAGE}")
    call(tab, "openEventSource", "client", "/events?user=ann", ["message"])
    events_of(tab, "client", 1, "connected")
    call(tab, "openEventSource", "native", "/events?user=ann", ["message"])
    wait_until(lambda: call(tab, "eventSource", "native")["readyState"] == 2, "the browser's own gave up")
    call(tab, "closeEventSource", "client")
    server.wait_for_clients(0)
    # Now the place is taken by another one while the client's asks for it.
    with httpx.stream("GET", f"http://127.0.0.1:{server.port}/events?user=ann", timeout=10) as taken:
        assert taken.status_code == 200
        call(tab, "openEventSource", "client", "/events?user=ann", ["message"], {"minDelayMs": 100})
        wait_until(lambda: call(tab, "eventSource", "client")["errors"] > 0, "it was refused")
        assert call(tab, "eventSource", "client")["readyState"] == 0
    events_of(tab, "client", 1, "connected")


def test_a_stream_of_another_origin_resumes_by_its_header(start_server: StartServer, new_tab: NewTab) -> None:
    """`Last-Event-ID` in a header has a browser ask the server first, whether it may."""
    server = start_server()
    position = server.publish(times=5)
    server.publish(times=5, first=5)
    with QuietProxy(server.port) as way:
        tab = new_tab(f"http://127.0.0.1:{server.port}{PAGE}")
        call(tab, "start", "one", {"url": f"{way.base}/events", "lastEventId": position})
        wait_until(lambda: call(tab, "lines", "one") == list(range(5, 10)), "it has resumed")
        way.cut()
        server.publish(times=5, first=10)
        wait_until(lambda: call(tab, "lines", "one") == list(range(5, 15)), "it has resumed once more")
        modes = [said["mode"] for said in call(tab, "reader", "one")["statuses"] if said["mode"]]
        assert modes == ["resumed", "resumed"]


def test_the_file_that_the_hub_serves_is_the_client(start_server: StartServer, new_tab: NewTab) -> None:
    server = start_server()
    server.publish("news", "served", times=3)
    tab = new_tab(f"http://127.0.0.1:{server.port}/pages/served.html")
    assert {"EventSource", "createSource", "sessionCursor"} <= set(call(tab, "names"))
    got = call(tab, "read", "/events?since=earliest", 3)
    assert [data for data, _, _ in got] == [f"{number}:served" for number in range(3)]
    assert {topic for _, _, topic in got} == {"news"}

"""The demo in a real browser: what its page promises, up to a server that is killed in the middle."""

from __future__ import annotations

import re
import threading
import time

import httpx
import pytest
from playwright.sync_api import expect

from tests.e2e.demo_page import WAIT_MS, OpenTab
from tests.e2e.demo_server import DemoServer


def test_page_loads_clean_and_shows_real_figures(server: DemoServer, open_tab: OpenTab) -> None:
    tab = open_tab("Ada")
    tab.expect_text("#cpu .figure", re.compile(r"\d+%"))
    tab.expect_text("#memory .figure", re.compile(r"\d+%.*of.*GB"))
    expect(tab.page.locator("#people .name")).to_have_count(1)
    expect(tab.page.locator("#cpu .curve .stroke")).to_have_attribute("d", re.compile("L"), timeout=WAIT_MS)
    tab.expect_text("#mode", "live")
    tab.expect_text("#last-id", re.compile(r"[a-z0-9]{4,16}-\d+"))
    assert tab.problems == []
    assert {httpx.URL(url).netloc for url in tab.requests} == {httpx.URL(server.url).netloc}
    assert "script-src 'self'" in httpx.get(server.url).headers["content-security-policy"]


def test_two_tabs_chat_and_markup_stays_text(open_tab: OpenTab) -> None:
    ada, ben = open_tab("Ada"), open_tab("Ben")
    ada.say("Good morning")
    ben.expect_said("Good morning")
    hostile = "<img src=x onerror=\"document.title='owned'\"><b>& more</b>"
    ben.say(hostile)
    ada.expect_said(hostile)
    assert ada.page.locator("#feed img, #feed .what b").count() == 0
    assert ada.page.title() == "Clarion demo"
    assert ada.said() == ben.said() == ["Good morning", hostile]
    assert ada.problems == ben.problems == []


def test_new_tab_shows_the_last_thirty_lines(server: DemoServer, open_tab: OpenTab) -> None:
    for number in range(40):
        server.post("/api/chat", user="Ada", text=f"line {number}").raise_for_status()
    tab = open_tab("Ben")
    tab.expect_said("line 39")
    assert tab.said() == [f"line {number}" for number in range(10, 40)]


def test_notification_reaches_only_the_chosen_user(open_tab: OpenTab) -> None:
    ada, ben, eve = open_tab("Ada"), open_tab("Ben"), open_tab("Eve")
    ada.notify("Ben", "for your eyes only")
    ada.say("after the note")  # one order over all topics: who sees this has seen the note, if it was for them
    for tab in (ada, ben, eve):
        tab.expect_said("after the note")
    assert (ada.notes(), ben.notes(), eve.notes()) == ([], ["for your eyes only"], [])
    assert "Ada: for your eyes only" in ben.page.locator("#toasts").inner_text()
    assert ada.page.locator("#toasts").inner_text() == "Ben has it."


def test_note_to_someone_away_waits_in_the_journal(open_tab: OpenTab) -> None:
    ada = open_tab("Ada")
    ada.notify("Zoë", "welcome back")
    ada.expect_text("#toasts", "Zoë is away. The journal keeps it for a day.")
    zoe = open_tab("Zoë")
    zoe.expect_text("#notes .what", "welcome back")


def test_drop_button_resumes_and_misses_nothing(server: DemoServer, open_tab: OpenTab) -> None:
    ada = open_tab("Ada")
    ada.say("before")
    ada.expect_said("before")
    ada.page.click("#drop")
    ada.expect_state("reconnecting")
    for number in range(5):
        server.post("/api/chat", user="Ben", text=f"missed {number}").raise_for_status()
    ada.expect_text("#mode", "resumed")
    ada.expect_said("missed 4")
    assert ada.said() == ["before", *(f"missed {number}" for number in range(5))]
    assert ada.count("replayed") >= 5
    ada.expect_unbroken()
    assert ada.problems == []


def test_drop_for_five_seconds_holds_the_tab_away_and_no_other(server: DemoServer, open_tab: OpenTab) -> None:
    ada, ben = open_tab("Ada"), open_tab("Ben")
    ada.page.click("#drop-long")
    ada.expect_state("reconnecting")
    dropped_at = time.monotonic()
    ben.say("while you were out")
    ben.expect_said("while you were out")
    ada.expect_text("#mode", "resumed")
    assert time.monotonic() - dropped_at > 4
    ada.expect_said("while you were out")
    ada.expect_unbroken()
    assert ben.page.locator("#mode").inner_text() == "live"


def test_refused_stream_is_tried_again_from_the_cursor(server: DemoServer, open_tab: OpenTab) -> None:
    ada = open_tab("Ada")
    ada.say("before")
    ada.expect_said("before")
    # A browser gives an EventSource up for ever after such an answer; the client comes back.
    ada.page.route("**/events?*", lambda route: route.fulfill(status=503, body="too many readers"))
    ada.page.click("#drop")
    expect(ada.page.locator("#log")).to_contain_text("The server answered with 503", timeout=WAIT_MS)
    ada.expect_state("reconnecting")
    server.post("/api/chat", user="Ben", text="missed").raise_for_status()
    ada.page.unroute("**/events?*")
    ada.expect_said("missed")
    assert ada.said() == ["before", "missed"]
    assert ada.page.locator("#mode").inner_text() == "resumed"
    ada.expect_unbroken()


def test_rename_keeps_the_cursor(open_tab: OpenTab) -> None:
    ada, ben = open_tab("Ada"), open_tab("Ben")
    ben.say("one")
    ada.expect_said("one")
    ada.page.fill("#name", "Ada Lovelace")
    ada.page.press("#name", "Enter")
    expect(ben.page.locator("#people")).to_contain_text("Ada Lovelace", timeout=WAIT_MS)
    ben.say("two")
    ada.expect_said("two")
    assert ada.said() == ["one", "two"]
    ada.expect_unbroken()


class Publisher(threading.Thread):
    """Says numbered lines, whether the server is there or not, and notes which were acknowledged."""

    def __init__(self, server: DemoServer) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._stopping = threading.Event()
        self.acknowledged: list[str] = []
        self.tried = 0

    def run(self) -> None:
        while not self._stopping.wait(0.02):
            self.tried += 1
            text = f"number {self.tried}"
            try:
                answer = self._server.post("/api/chat", user="Publisher", text=text)
            except httpx.TransportError:
                continue
            if answer.status_code == 200:
                self.acknowledged.append(text)

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + 20
        while len(self.acknowledged) < count:
            assert time.monotonic() < deadline, f"only {len(self.acknowledged)} of {count} were acknowledged"
            time.sleep(0.02)

    def stop(self) -> None:
        self._stopping.set()
        self.join(15)


@pytest.mark.timeout(120)
def test_server_killed_while_publishing_loses_and_doubles_nothing(server: DemoServer, open_tab: OpenTab) -> None:
    tab = open_tab("Ada")
    publisher = Publisher(server)
    publisher.start()
    for round_ in (1, 2):
        publisher.wait_for(40 * round_)
        server.kill()
        tab.expect_state("reconnecting")
        server.start()
        tab.expect_state("live")
    publisher.wait_for(len(publisher.acknowledged) + 20)
    publisher.stop()

    tab.expect_said(publisher.acknowledged[-1])
    said = tab.said()
    assert len(said) == len(set(said)), "a line came twice"
    # A line may be in the journal though its acknowledgement died with the server; never the other way round.
    assert [text for text in said if text in set(publisher.acknowledged)] == publisher.acknowledged
    assert set(said) <= {f"number {number}" for number in range(1, publisher.tried + 1)}
    assert tab.page.locator("#mode").inner_text() == "resumed"
    tab.expect_unbroken()

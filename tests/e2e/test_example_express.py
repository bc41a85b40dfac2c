"""The Express example in a real browser, with its hub: who gets what, who is refused, and what stays a secret."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, Response, expect

from tests.e2e.demo_page import WAIT_MS
from tests.e2e.packages import build_client
from tests.e2e.program import Program, free_port
from tests.node import ROOT, node_environment, npm

FOLDER = ROOT / "examples" / "express"
PUBLISH_TOKEN = "the publisher's own, which no page may see"
READER_SECRET = "what the tokens of pages are signed with"

pytestmark = pytest.mark.timeout(500)  # the packages may have to be fetched


class Example:
    """The hub and the Express app, each a process."""

    def __init__(self, folder: Path) -> None:
        app_port, hub_port = free_port(), free_port()
        secrets = {"PUBLISH_TOKEN": PUBLISH_TOKEN, "READER_SECRET": READER_SECRET}
        hub = [sys.executable, "-m", "clarion", "run", "hub:app", "--app-dir", str(FOLDER), "--port", str(hub_port)]
        self.hub = Program(
            hub,
            port=hub_port,
            log=folder / "hub.log",
            cwd=folder,
            environment={**os.environ, **secrets, "PAGE_ORIGIN": f"http://127.0.0.1:{app_port}"},
        )
        self.app = Program(
            ["node", "server.mjs"],
            port=app_port,
            log=folder / "app.log",
            cwd=FOLDER,
            environment={**node_environment(), **secrets, "PORT": str(app_port), "HUB_URL": self.hub.url},
        )


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """One for all tests, each of which has users of its own."""
    build_client()
    npm(FOLDER)
    running = Example(tmp_path_factory.mktemp("express"))
    with running.hub, running.app:
        yield running


class Tab:
    """A signed-in user's page, and all that went over its network."""

    def __init__(self, browser: Browser, example: Example, name: str) -> None:
        self.context = browser.new_context()
        self.context.set_default_timeout(WAIT_MS)
        self.page: Page = self.context.new_page()
        self.problems: list[str] = []
        self.exchanged: list[str] = []
        self.urls: list[str] = []
        self.page.on("console", lambda said: self.problems.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._note_request)
        self.page.on("response", self._note_response)
        self.page.goto(example.app.url)
        self.page.fill("#login input", name)
        self.page.click("#login button")
        self.expect_state("live")

    def _note_request(self, request: Request) -> None:
        self.urls.append(request.url)
        self.exchanged += [request.url, json.dumps(request.headers), request.post_data or ""]

    def _note_response(self, response: Response) -> None:
        self.exchanged += [response.url, json.dumps(response.headers)]

    def expect_state(self, state: str) -> None:
        expect(self.page.locator("#state")).to_have_text(state, timeout=WAIT_MS)

    def notify(self, to: str, text: str, answer: str) -> None:
        self.page.fill("#notify [name=to]", to)
        self.page.fill("#notify [name=text]", text)
        self.page.click("#notify button")
        expect(self.page.locator("#notify output")).to_have_text(answer, timeout=WAIT_MS)

    def broadcast(self, text: str, answer: str) -> None:
        self.page.fill("#broadcast input", text)
        self.page.click("#broadcast button")
        expect(self.page.locator("#broadcast output")).to_have_text(answer, timeout=WAIT_MS)

    def expect_newest(self, *lines: str) -> None:
        """Wait until the feed begins with these."""
        for at, line in enumerate(lines):
            expect(self.page.locator("#feed li").nth(at)).to_have_text(line, timeout=WAIT_MS)

    def feed(self) -> list[str]:
        return self.page.locator("#feed li").all_text_contents()


OpenTab = Callable[[str], Tab]


@pytest.fixture
def open_tab(browser: Browser, example: Example) -> Iterator[OpenTab]:
    tabs: list[Tab] = []

    def open_one(name: str) -> Tab:
        tabs.append(Tab(browser, example, name))
        return tabs[-1]

    yield open_one
    for tab in tabs:
        tab.context.close()


def reader_token(name: str, seconds: float = 60, purpose: str = "events") -> str:
    """As server.mjs signs them."""
    claim = f"{name}.{int(time.time() + seconds)}"
    return f"{claim}.{hmac.new(READER_SECRET.encode(), f'{purpose}.{claim}'.encode(), hashlib.sha256).hexdigest()}"


def test_a_note_reaches_its_user_and_a_broadcast_everyone(open_tab: OpenTab) -> None:
    ada, ben = open_tab("ada"), open_tab("ben")
    hostile = "<img src=x onerror=\"document.title='owned'\"><b>hello</b>"
    ada.notify("ben", hostile, answer="Sent to 1 open stream.")
    ada.broadcast("lunch", answer="Sent to 2 open streams.")
    ben.expect_newest("ada to alllunch", f"ada to you{hostile}")
    ada.expect_newest("ada to alllunch")  # one order over all: who sees this has seen the note, if it was for them
    assert hostile not in "".join(ada.feed())
    assert ben.page.locator("#feed img").count() == 0
    ben.page.reload()  # signed in as before, and told again what was said before
    ben.expect_newest("ada to alllunch", f"ada to you{hostile}")
    assert ada.problems == ben.problems == []


def test_a_stranger_publishes_nothing(example: Example, open_tab: OpenTab) -> None:
    cleo = open_tab("cleo")
    said = {"data": {"from": "stranger", "text": "owned"}, "event": "announcement"}
    asked = {"/broadcast": said, "/notify/cleo": said, "/publish": {**said, "topic": "news"}}
    strangers = {
        "": 401,
        "Bearer": 401,
        f"Bearer {PUBLISH_TOKEN}x": 401,
        f"Bearer {reader_token('cleo', seconds=-1)}": 401,
        f"Bearer {reader_token('cleo', purpose='session')}": 401,
        f"Bearer {reader_token('cleo').replace('cleo', 'express/app')}": 401,
        f"Bearer {reader_token('cleo')}": 403,  # it is a reader's
    }
    with httpx.Client() as http:
        for authorization, status in strangers.items():
            for path, body in asked.items():
                headers = {"authorization": authorization} if authorization else {}
                answer = http.post(example.hub.url + path, json=body, headers=headers)
                assert answer.status_code == status, (authorization, path)
        for path in ("/broadcast", "/notify/cleo"):
            for cookie in ("", "session=", "session=cleo", f"session={reader_token('cleo')}"):
                answer = http.post(example.app.url + path, json={"text": "owned"}, headers={"cookie": cookie})
                assert (answer.status_code, answer.json()) == (401, {"error": "Please sign in."}), (path, cookie)
    cleo.notify("cleo", "it is only me", answer="Sent to 1 open stream.")
    cleo.expect_newest("cleo to youit is only me")
    assert "owned" not in "".join(cleo.feed())


def test_what_is_no_text_is_refused(example: Example) -> None:
    session = {"cookie": f"session={reader_token('ada', purpose='session')}"}
    for content in (b'{"text": 1}', b'{"text": " "}', b"{}", b"null", b"{", json.dumps({"text": "x" * 501}).encode()):
        headers = {**session, "content-type": "application/json"}
        assert httpx.post(f"{example.app.url}/broadcast", content=content, headers=headers).status_code == 400
    form = httpx.post(f"{example.app.url}/broadcast", data={"text": "from another site"}, headers=session)
    assert form.status_code == 400
    for path, status in (("/notify/ada%2Fx", 404), ("/notify/..", 404), ("/notify/" + "x" * 21, 404)):
        answer = httpx.post(example.app.url + path, json={"text": "hi"}, headers=session)
        assert answer.status_code == status, path


def test_the_publishers_token_never_reaches_the_page(example: Example, open_tab: OpenTab) -> None:
    dora = open_tab("dora")
    dora.notify("dora", "to myself", answer="Sent to 1 open stream.")
    dora.expect_newest("dora to youto myself")
    cookies = json.dumps(dora.context.cookies())
    kept = dora.page.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])")
    bodies = [httpx.get(url).text for url in set(dora.urls) if url.startswith(example.app.url)]
    session = {"cookie": f"session={reader_token('dora', purpose='session')}"}
    answers = [httpx.get(example.app.url + path, headers=session).text for path in ("/session", "/token")]
    everything = "\n".join([*dora.exchanged, *bodies, *answers, dora.page.content(), cookies, kept])
    assert f"Bearer {json.loads(answers[1])['token'].split('.')[0]}." in everything, "the recording has what it should"
    assert "createSource" in everything
    for secret in (PUBLISH_TOKEN, READER_SECRET):
        assert secret not in everything
        assert secret not in example.app.written + example.hub.written


def test_the_hub_goes_away_and_comes_back(example: Example, open_tab: OpenTab) -> None:
    eve = open_tab("eve")
    example.hub.kill()
    eve.expect_state("waiting")
    eve.broadcast("into the void", answer="That could not be sent now. Please try again.")
    example.hub.start()
    eve.expect_state("live")
    eve.broadcast("there again", answer="Sent to 1 open stream.")
    eve.expect_newest("eve to allthere again", "ClarionSomething was missed while you were away.")
    assert "the hub cannot be reached" in example.app.written


def test_a_session_that_is_over_ends_on_the_page(open_tab: OpenTab) -> None:
    eve = open_tab("eve")
    eve.context.clear_cookies()
    eve.page.fill("#broadcast input", "am I still here?")
    eve.page.click("#broadcast button")
    expect(eve.page.locator("#login")).to_be_visible(timeout=WAIT_MS)
    expect(eve.page.locator("#app")).to_be_hidden()

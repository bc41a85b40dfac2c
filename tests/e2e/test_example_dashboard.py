"""The React example, built, in a real browser: one connection, values, events, work, and a server that restarts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.e2e.demo_page import WAIT_MS
from tests.e2e.packages import build, build_client
from tests.e2e.program import Program, free_port
from tests.node import ROOT, node_environment

FOLDER = ROOT / "examples" / "react-dashboard"
CLIENT_BUILD = "../../clients/typescript/dist"
POINTS = re.compile(r"^M[\d.]+,[\d.]+( L[\d.]+,[\d.]+){2,}$")

pytestmark = pytest.mark.timeout(500)  # the packages may have to be fetched


class Tab:
    """The dashboard in a tab of its own."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.context = browser.new_context()
        self.context.set_default_timeout(WAIT_MS)
        self.page: Page = self.context.new_page()
        self.problems: list[str] = []
        self.said: list[str] = []
        self.streams = 0
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self._count(request.url))
        self.page.goto(url)
        self.expect_phase("live")

    def _hear(self, message: ConsoleMessage) -> None:
        (self.problems if message.type in ("error", "warning") else self.said).append(message.text)

    def _count(self, url: str) -> None:
        self.streams += httpx.URL(url).path == "/events"

    def expect_text(self, selector: str, text: str | re.Pattern[str]) -> None:
        expect(self.page.locator(selector)).to_have_text(text, timeout=WAIT_MS)

    def expect_phase(self, phase: str) -> None:
        self.expect_text(".phase", phase)

    def expect_bar(self, name: str, value: str | re.Pattern[str]) -> None:
        """Wait until the bar has an attribute of ARIA."""
        expect(self.page.get_by_role("progressbar")).to_have_attribute(f"aria-{name}", value, timeout=WAIT_MS)

    def progress(self) -> float:
        return float(self.page.get_by_role("progressbar").get_attribute("aria-valuenow") or "-1")

    def shown(self) -> list[str]:
        """All figures and the whole feed, at one moment."""
        texts: list[str] = self.page.evaluate(
            "[...document.querySelectorAll('.figure, #feed li')].map((element) => element.innerText)"
        )
        return texts

    def revenue(self) -> int:
        return int(self.page.locator("#revenue .figure").inner_text().strip("€").replace(",", ""))

    def feed(self) -> list[str]:
        return self.page.locator("#feed li").all_inner_texts()

    def wait_for_order(self) -> None:
        """Wait until one more has come."""
        newest = self.page.locator("#feed li").first
        expect(newest).to_be_visible(timeout=WAIT_MS)
        expect(newest).not_to_have_text(newest.inner_text(), timeout=WAIT_MS)


OpenTab = Callable[..., Tab]


def serve(folder: Path, page: Path) -> Program:
    """The app with a journal of its own."""
    port = free_port()
    return Program(
        [sys.executable, "-m", "clarion", "run", "app:app", "--app-dir", str(FOLDER), "--port", str(port)],
        port=port,
        log=folder / "app.log",
        cwd=folder,
        environment={**os.environ, "EVENTS": f"sqlite:///{folder / 'events.db'}", "PAGE": str(page)},
    )


@pytest.fixture(scope="module")
def page_folder() -> Path:
    """The page as `npm run build` makes it."""
    build_client()
    build(FOLDER, "dist/index.html", "src", "index.html", "vite.config.ts", "package-lock.json", CLIENT_BUILD)
    return FOLDER / "dist"


@pytest.fixture(scope="module")
def app(page_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with serve(tmp_path_factory.mktemp("dashboard"), page_folder) as running:
        yield running


@pytest.fixture
def open_tab(browser: Browser, app: Program) -> Iterator[OpenTab]:
    tabs: list[Tab] = []

    def open_one(at: Program = app) -> Tab:
        tabs.append(Tab(browser, at.url))
        return tabs[-1]

    yield open_one
    for tab in tabs:
        tab.context.close()


def test_values_are_shown_and_change(open_tab: OpenTab) -> None:
    tab = open_tab()
    tab.expect_text("#visitors .figure", re.compile(r"^\d+$"))
    tab.expect_text("#revenue .figure", re.compile(r"^€[\d,]+$"))
    curve = tab.page.locator("#visitors .line")
    expect(curve).to_have_attribute("d", POINTS, timeout=WAIT_MS)
    before = curve.get_attribute("d")
    expect(curve).not_to_have_attribute("d", before or "", timeout=WAIT_MS)
    tab.wait_for_order()
    assert tab.problems == []


def test_all_components_share_one_connection(open_tab: OpenTab) -> None:
    first = open_tab()
    first.expect_text(".viewers", "1 viewer")
    second = open_tab()
    for tab in (first, second):
        tab.expect_text(".viewers", "2 viewers")
    second.context.close()
    first.expect_text(".viewers", "1 viewer")
    assert (first.streams, second.streams) == (1, 1)


def test_strict_mode_opens_one_connection(page_folder: Path, tmp_path: Path, open_tab: OpenTab) -> None:
    """React mounts everything twice then, but only where it is built for development."""
    page = tmp_path / "page"
    subprocess.run(
        ["npx", "vite", "build", "--mode", "development", "--outDir", str(page), "--logLevel", "warn"],
        cwd=FOLDER,
        env={**node_environment(), "NODE_ENV": "development"},
        check=True,
        timeout=60,
    )
    with serve(tmp_path, page) as app:
        tab = open_tab(app)
        tab.wait_for_order()
        tab.expect_text(".viewers", "1 viewer")
        assert any("React DevTools" in said for said in tab.said), "this is React for development"
        assert tab.streams == 1
        assert tab.problems == []
        tab.context.close()


def test_work_shows_how_far_it_is_everywhere_and_stops(app: Program, open_tab: OpenTab) -> None:
    tab, other = open_tab(), open_tab()
    tab.page.get_by_role("button", name="Begin").click()
    for each in (tab, other):
        each.expect_text("#books .status b", "Running")
        each.expect_bar("valuenow", re.compile(r"^[1-9]"))
    assert httpx.post(f"{app.url}/books").status_code == 409
    seen = tab.progress()
    tab.page.reload()
    tab.expect_bar("valuenow", re.compile(r"^[1-9]"))
    assert tab.progress() >= seen
    tab.expect_bar("valuetext", re.compile(r"^\d+%, count the stock: \d+ of 240$"))
    tab.expect_bar("busy", "true")
    other.page.get_by_role("button", name="Stop").click()
    for each in (tab, other):
        each.expect_text("#books .status b", "Stopped")
        each.expect_bar("busy", "false")
    httpx.post(f"{app.url}/books", params={"seconds": 1}).raise_for_status()
    tab.expect_text("#books .status b", "Done")
    tab.expect_bar("valuenow", "100")
    assert tab.problems == other.problems == []


def test_a_killed_server_comes_back_and_nothing_is_missing(app: Program, open_tab: OpenTab) -> None:
    tab = open_tab()
    tab.wait_for_order()
    app.kill()
    tab.expect_phase("reconnecting")
    kept, earned = tab.feed(), tab.revenue()
    app.start()
    tab.expect_phase("live")
    tab.wait_for_order()
    assert kept[0] in tab.feed()
    assert tab.revenue() >= earned > 0
    # Who was there all the time sees the same as who comes now.
    late = open_tab()
    for _ in range(50):
        before, shown = tab.shown(), late.shown()
        if before == shown == tab.shown():
            break
        late.page.wait_for_timeout(100)
    assert shown == before
    assert len(shown) > 4
    assert "Some orders are missing here." not in shown


def test_a_server_that_stops_tells_what_it_breaks_off(app: Program, open_tab: OpenTab) -> None:
    tab = open_tab()
    httpx.post(f"{app.url}/books", params={"seconds": 60}).raise_for_status()
    tab.expect_text("#books .status b", "Running")
    app.stop()
    app.start()
    tab.expect_phase("live")
    tab.expect_text("#books .status b", "Broken off")
    tab.page.get_by_role("button", name="Again").click()
    tab.expect_text("#books .status b", "Running")

"""The demo's page as its user sees it: in a real browser tab of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]
# Notes what the page shows first of the text, each time it is loaded.
FIRST_PROSE = """
    addEventListener("DOMContentLoaded", () => {
        const prose = document.getElementById("prose");
        const note = () => { window.firstProse ||= prose.textContent; };
        new MutationObserver(note).observe(prose, { childList: true, characterData: true, subtree: true });
    });
"""
WAIT_MS = 15_000  # generous: the machine may be busy; nothing waits that long when all is well


@contextmanager
def chromium(executable_path: str | None) -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable_path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class DemoPage:
    """A tab with a session of its own, in which the user is called `name`."""

    def __init__(self, browser: Browser, url: str, name: str) -> None:
        self.context = browser.new_context()
        self.context.set_default_timeout(WAIT_MS)
        self.page: Page = self.context.new_page()
        self.name = name
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda said: self.problems.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.add_init_script(FIRST_PROSE)
        self.page.add_init_script(f"sessionStorage.getItem('name') ?? sessionStorage.setItem('name', {name!r})")
        self.page.goto(url)
        self.expect_state("live")

    def expect_state(self, state: str) -> None:
        expect(self.page.locator("#state")).to_have_text(state, timeout=WAIT_MS)

    def expect_text(self, selector: str, text: str | re.Pattern[str]) -> None:
        expect(self.page.locator(selector)).to_have_text(text, timeout=WAIT_MS)

    def prose(self) -> str:
        """The text as far as the page shows it."""
        return self.page.locator("#prose").text_content() or ""

    def freeze(self, seconds: float) -> None:
        """Have the tab do nothing for so long, as a busy page would."""
        self.page.evaluate("ms => { const end = Date.now() + ms; while (Date.now() < end) {} }", seconds * 1000)

    def say(self, text: str) -> None:
        self.page.fill("#say-text", text)
        self.page.click("#say button")

    def expect_said(self, text: str) -> None:
        """Wait until a line of the feed is exactly `text`."""
        line = self.page.locator("#feed .what").get_by_text(text, exact=True)
        expect(line).to_have_count(1, timeout=WAIT_MS)

    def said(self) -> list[str]:
        return self.page.locator("#feed .what").all_text_contents()

    def notify(self, to: str, text: str) -> None:
        self.page.fill("#notify-to", to)
        self.page.fill("#notify-text", text)
        self.page.click("#notify button")

    def notes(self) -> list[str]:
        return self.page.locator("#notes .what").all_text_contents()

    def count(self, name: str) -> int:
        """A figure of the connection's panel: events, replayed, gaps or disorder."""
        return int(self.page.locator(f"#{name}").inner_text().replace(",", ""))

    def expect_unbroken(self) -> None:
        """No gap was told, and nothing came twice or out of order."""
        assert (self.count("gaps"), self.count("disorder")) == (0, 0)

    def log(self) -> list[str]:
        return self.page.locator("#log li").all_inner_texts()


OpenTab = Callable[..., DemoPage]

"""Chromium, driven by Playwright."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.browsers.driving import SECONDS, as_json, from_json
from tests.e2e.demo_page import FLAGS


class ChromiumTab:
    def __init__(self, page: Page) -> None:
        self._page = page

    def open(self, url: str) -> None:
        self._page.goto(url, wait_until="load")

    def evaluate(self, expression: str) -> Any:
        return from_json(self._page.evaluate(as_json(expression)))

    def back(self) -> None:
        # A page that comes out of the back/forward cache is not loaded, so there is no `load` to wait for.
        self._page.go_back(wait_until="commit")

    def reload(self) -> None:
        self._page.reload(wait_until="load")

    def close(self) -> None:
        self._page.close()

    def set_offline(self, offline: bool) -> None:
        self._page.context.set_offline(offline)


class Chromium:
    """executable_path: the program; None for Playwright's own."""

    name = "chromium"

    def __init__(self, executable_path: str | None) -> None:
        with ExitStack() as stack:
            playwright = stack.enter_context(sync_playwright())
            self._browser = playwright.chromium.launch(
                executable_path=executable_path,
                args=FLAGS,
                ignore_default_args=["--disable-back-forward-cache"],
            )
            stack.callback(self._browser.close)
            self._context = self._browser.new_context()
            self._context.set_default_timeout(SECONDS * 1000)
            self._stack = stack.pop_all()

    def new_tab(self, *, in_front: bool = True) -> ChromiumTab:
        """Playwright has all pages think that they are in front."""
        return ChromiumTab(self._context.new_page())

    def close(self) -> None:
        self._stack.close()

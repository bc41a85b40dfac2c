"""What the tests of the demo share: a browser, a server for each test, and tabs on its page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.e2e.demo_page import DemoPage, OpenTab, chromium
from tests.e2e.demo_server import DemoServer


# Of one module: while Playwright is there, its event loop runs in this thread, and others' cannot.
@pytest.fixture(scope="module")
def browser(chromium_path: str | None) -> Iterator[Browser]:
    with chromium(chromium_path) as running:
        yield running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DemoServer]:
    with DemoServer(tmp_path) as running:
        yield running


@pytest.fixture
def open_tab(browser: Browser, server: DemoServer) -> Iterator[OpenTab]:
    """Opens tabs for named users on the server's page; closes them all."""
    tabs: list[DemoPage] = []

    def open_one(name: str, at: DemoServer = server) -> DemoPage:
        tabs.append(DemoPage(browser, at.url, name))
        return tabs[-1]

    yield open_one
    for tab in tabs:
        tab.context.close()

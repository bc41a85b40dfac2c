"""What the tests in real browsers share: a choice of browsers, each started once, and servers with their pages.

`--browsers=chromium,firefox,webkit` says which; the tests of the others are not collected.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.browsers.bundle import build_pages
from tests.browsers.chromium import Chromium
from tests.browsers.driving import Browser, Tab
from tests.browsers.firefox import Firefox
from tests.browsers.webkit import WebKit
from tests.integration import servers
from tests.integration.servers import Server

NAMES = ("chromium", "firefox", "webkit")
DEFAULT = "chromium"  # also where pytest is given another folder, and does not know the option
KINDS = {
    "pages": "h11",
    "pages-protocol": "clarion.uvicorn:Protocol",
}
for kind, protocol in KINDS.items():
    command = (sys.executable, "-m", "uvicorn", "tests.browsers.pages_app:app", "--port", "{port}", "--no-access-log")
    servers.COMMANDS[kind] = (*command, "--http", protocol)

StartServer = Callable[..., Server]
NewTab = Callable[..., Tab]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--browsers", default=DEFAULT, help=f"browsers to test in, of {','.join(NAMES)}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "browser" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("browsers", DEFAULT).split(",")
        unknown = set(chosen) - set(NAMES)
        if unknown:
            raise pytest.UsageError(f"--browsers: there is no {', '.join(sorted(unknown))}")
        metafunc.parametrize("browser", chosen, indirect=True, scope="package")


# Of the package, and not longer: while Playwright is there, its event loop runs in this thread, and others' cannot.
@pytest.fixture(scope="package")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    running: Browser
    if request.param == "chromium":
        running = Chromium(request.getfixturevalue("chromium_path"))
    else:
        running = Firefox() if request.param == "firefox" else WebKit()
    yield running
    running.close()


@pytest.fixture(scope="package")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the built pages."""
    folder = tmp_path_factory.mktemp("pages")
    build_pages(folder)
    return folder


@pytest.fixture
def start_server(tmp_path: Path, pages: Path) -> Iterator[StartServer]:
    """Starts servers with the pages; ends them all."""
    with ExitStack() as stack:

        def start(kind: str = "pages", **wanted: Any) -> Server:
            return stack.enter_context(Server(tmp_path, kind, pages=str(pages), **wanted))

        yield start


@pytest.fixture
def new_tab(browser: Browser) -> Iterator[NewTab]:
    """Opens tabs on an address; closes them all."""
    tabs: list[Tab] = []

    def open_one(url: str, *, in_front: bool = True) -> Tab:
        tabs.append(browser.new_tab(in_front=in_front))
        tabs[-1].open(url)
        return tabs[-1]

    yield open_one
    for tab in tabs:
        tab.close()

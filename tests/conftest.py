"""What every test has: Hypothesis profiles, a guard against blocking the event loop, and the browser."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import settings

IN_CI = os.environ.get("CI") == "true"

# A deadline would make a test depend on what else the machine does; pytest's timeout bounds it. In CI the
# examples are the same in each run, so that a red run can be repeated; elsewhere each run looks for new ones.
settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if IN_CI else "dev")


@pytest.fixture(autouse=True)
def _no_blocking_calls() -> Iterator[None]:
    """Fail a test in which the package's own code blocks the event loop: reads a file, sleeps, waits."""
    with blockbuster_ctx("clarion"):
        yield


@pytest.fixture(scope="session")
def chromium_path() -> str | None:
    """The system's Chromium or Chrome, for Playwright's `executable_path`; None means Playwright's own."""
    named = os.environ.get("CLARION_CHROMIUM")
    found = [path for name in (named, "chromium", "google-chrome") if name and (path := shutil.which(name))]
    if found:
        return found[0]
    if IN_CI or _playwright_has_a_browser():
        return None
    pytest.skip("no browser on this machine: install chromium, or set CLARION_CHROMIUM")


def _playwright_has_a_browser() -> bool:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path).exists()

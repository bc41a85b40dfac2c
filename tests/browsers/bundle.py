"""The pages of these tests, with the TypeScript client bundled into them from its source."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from tests.node import BUILD_SECONDS, CLIENT, node_environment, npm, run

PAGES: Final = Path(__file__).parent / "pages"


def build_pages(folder: Path) -> None:
    """Put all that a server has to serve into a folder."""
    npm(CLIENT)
    for page in (*PAGES.glob("*.html"), PAGES / "worker.js"):
        shutil.copy(page, folder)
    esbuild = CLIENT / "node_modules" / ".bin" / "esbuild"
    options = ["--bundle", "--format=esm", "--target=es2022", "--charset=ascii", "--log-level=warning"]
    run(
        esbuild, PAGES / "page.js", *options, f"--outfile={folder / 'page.js'}",
        seconds=BUILD_SECONDS, env=node_environment(), cwd=CLIENT,
    )  # fmt: skip

"""The pages of these tests, with the TypeScript client bundled into them from its source."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CLIENT: Final = ROOT / "clients" / "typescript"
PAGES: Final = Path(__file__).parent / "pages"
INSTALL_SECONDS: Final = 300
BUILD_SECONDS: Final = 60


def build_pages(folder: Path) -> None:
    """Put all that a server has to serve into a folder."""
    node = Path(_run([str(ROOT / "scripts" / "node")], ROOT, INSTALL_SECONDS).strip())
    environment = {**os.environ, "PATH": f"{node}{os.pathsep}{os.environ['PATH']}"}
    esbuild = CLIENT / "node_modules" / ".bin" / "esbuild"
    if not esbuild.exists():
        _run(["npm", "ci", "--no-audit", "--no-fund"], CLIENT, INSTALL_SECONDS, environment)
    for page in PAGES.glob("*.html"):
        shutil.copy(page, folder)
    options = ["--bundle", "--format=esm", "--target=es2022", "--charset=ascii", "--log-level=warning"]
    command = [str(esbuild), str(PAGES / "page.js"), *options, f"--outfile={folder / 'page.js'}"]
    _run(command, CLIENT, BUILD_SECONDS, environment)


def _run(command: list[str], folder: Path, seconds: float, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
    return done.stdout

"""Node and npm packages for tests, made ready by `scripts/node` and `scripts/npm`."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
CLIENT: Final = ROOT / "clients" / "typescript"
INSTALL_SECONDS: Final = 200  # of npm, on a machine that has nothing of it yet
BUILD_SECONDS: Final = 60


@cache
def node_environment() -> dict[str, str]:
    """An environment in which `node` and `npx` are of version 20 or newer."""
    folder = run(ROOT / "scripts" / "node", seconds=INSTALL_SECONDS).splitlines()[-1]
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def npm(folder: Path, *script: str) -> None:
    """Install what a folder's lock says, unless that is there, and run one of its scripts, if one is named."""
    run(ROOT / "scripts" / "npm", folder, *script, seconds=INSTALL_SECONDS)


def run(*command: object, seconds: float, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a program to its end, and return what it said. Fails with that if the program does."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=seconds, env=env, cwd=cwd,
    )  # fmt: skip
    assert done.returncode == 0, f"{command[0]} failed:\n{done.stdout}"
    return done.stdout

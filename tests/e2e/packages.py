"""The repository's Node packages, made ready: installed as their locks say, built from their sources."""

from __future__ import annotations

import fcntl
import os
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "typescript"
INSTALL_SECONDS = 200  # on a machine that has nothing of it yet


@cache
def node_environment() -> dict[str, str]:
    """An environment in which `node` and `npx` are of version 20 or newer."""
    folder = subprocess.run([ROOT / "scripts" / "node"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def install(package: Path) -> None:
    """Install what a package's lock says, unless that is there."""
    _npm(package)


def build(package: Path, result: str, *sources: str) -> None:
    """Install what a package's lock says, and build it, unless `result` is newer than all files of its sources."""
    install(package)
    with (package / "package.json").open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # tests may run in several processes
        if _is_older(package / result, [file for source in sources for file in _files(package / source)]):
            _npm(package, "build")


def build_client() -> None:
    """The client as other packages find it, in its dist folder."""
    build(CLIENT, "dist/index.js", "src", "package.json", "tsconfig.json")


def _files(source: Path) -> list[Path]:
    return [file for file in source.rglob("*") if file.is_file()] if source.is_dir() else [source]


def _is_older(result: Path, sources: list[Path]) -> bool:
    return not result.exists() or result.stat().st_mtime < max(source.stat().st_mtime for source in sources)


def _npm(package: Path, *script: str) -> None:
    command = [ROOT / "scripts" / "npm", package, *script]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=INSTALL_SECONDS
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}"

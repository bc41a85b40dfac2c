"""The repository's Node packages, made ready: installed as their locks say, built from their sources."""

from __future__ import annotations

import fcntl
from pathlib import Path

from tests.node import CLIENT, npm


def build(package: Path, result: str, *sources: str) -> None:
    """Install what a package's lock says, and build it, unless `result` is newer than all files of its sources."""
    npm(package)
    with (package / "package.json").open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # tests may run in several processes
        if _is_older(package / result, [file for source in sources for file in _files(package / source)]):
            npm(package, "build")


def build_client() -> None:
    """The client as other packages find it, in its dist folder."""
    build(CLIENT, "dist/index.js", "src", "package.json", "tsconfig.json")


def _files(source: Path) -> list[Path]:
    return [file for file in source.rglob("*") if file.is_file()] if source.is_dir() else [source]


def _is_older(result: Path, sources: list[Path]) -> bool:
    return not result.exists() or result.stat().st_mtime < max(source.stat().st_mtime for source in sources)

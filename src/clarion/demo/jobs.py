"""A real long job: pack and checksum the source of Python's standard library, as a task that tells its progress."""

from __future__ import annotations

import hashlib
import lzma
import secrets
import sysconfig
from pathlib import Path
from typing import Literal

from clarion import Hub
from clarion.progress import Progress, Task
from clarion.work.failures import PublicError

Choice = Literal["asyncio", "library", "missing"]

PATTERN = "jobs/*"  # of their topics
RUNNING_JOBS = 2  # a demo should not take over the machine it describes
KEEP_SECONDS = 3600  # how long a new tab is still shown how one ended
LEASE_SECONDS = 5  # whoever kills the server wants to see soon that the job is lost
PIECE_BYTES = 32 * 1024  # packed at once, in some 10 ms: a request to stop waits no longer, and the bar moves evenly
LEFT_OUT = {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib"}

_LIBRARY = Path(sysconfig.get_path("stdlib"))
_JOBS = {
    "asyncio": ("asyncio", _LIBRARY / "asyncio"),
    "library": ("the standard library", _LIBRARY),
    "missing": ("a folder that is not there", _LIBRARY / "no such folder"),
}


class TooManyJobs(Exception):
    """``RUNNING_JOBS`` jobs are running."""


class Jobs:
    """Starts jobs; `Hub.cancel` stops one. Call `start` on one thread; the work itself runs on others."""

    def __init__(self, hub: Hub) -> None:
        self._pack = hub.task(pack)
        self._running: list[Task[None]] = []

    def start(self, choice: Choice, user: str) -> Task[None]:
        """Start a job; its id is its topic. Raises `TooManyJobs`."""
        self._running = [task for task in self._running if not task.done()]
        if len(self._running) >= RUNNING_JOBS:
            raise TooManyJobs
        what, root = _JOBS[choice]
        job = self._pack.using(
            f"jobs/{secrets.token_hex(4)}",
            title=f"Pack and checksum {what}, for {user}",
            unit="bytes",
            keep_seconds=KEEP_SECONDS,
            lease_seconds=LEASE_SECONDS,
        )
        task: Task[None] = job.start(root)
        self._running.append(task)
        return task


def pack(task: Progress, root: Path) -> None:
    """Compress (LZMA) and checksum (SHA-256) the Python files below ``root``; the last message is what came of it."""
    task.update(message="Looking for files")
    try:
        if not root.is_dir():
            raise PublicError("The folder does not exist.", code="no_folder")
        paths = sorted(path for path in root.rglob("*.py") if not LEFT_OUT & set(path.relative_to(root).parts))
        task.update(total=sum(path.stat().st_size for path in paths))
        digest = hashlib.sha256()
        packed_bytes = 0
        for number, path in enumerate(paths, 1):
            task.update(message=f"{path.relative_to(root).as_posix()}, file {number:,} of {len(paths):,}")
            content = path.read_bytes()
            digest.update(content)
            packed_bytes += _pack(task, content)
    except OSError as error:
        raise PublicError("A file could not be read.", code="unreadable") from error
    sizes = f"{task.current / 1e6:.1f} MB packed to {packed_bytes / 1e6:.1f} MB"
    task.update(message=f"{len(paths):,} files, {sizes}, SHA-256 {digest.hexdigest()[:16]}…")


def _pack(task: Progress, content: bytes) -> int:
    """Pack one file; how many bytes it has then."""
    packer = lzma.LZMACompressor(preset=6 | lzma.PRESET_EXTREME)
    packed_bytes = 0
    for start in range(0, len(content), PIECE_BYTES):
        piece = content[start : start + PIECE_BYTES]
        packed_bytes += len(packer.compress(piece))
        task.advance(len(piece))
    return packed_bytes + len(packer.flush())

"""A real long job: pack and checksum the source of Python's standard library, and tell how far it has got."""

from __future__ import annotations

import hashlib
import logging
import lzma
import secrets
import sysconfig
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

Status = Literal["running", "done", "cancelled", "failed"]

RUNNING_JOBS = 2  # a demo should not take over the machine it describes
TELL_SECONDS = 0.1  # ten steps a second look smooth; more would only fill the journal
LEFT_OUT = {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib"}

_log = logging.getLogger("clarion.demo")


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a job, as the page sees it; ``progress`` is in percent."""

    taskId: str  # noqa: N815 - the names of the page
    progress: float
    status: Status
    message: str
    title: str
    user: str


class Tell(Protocol):
    """Publishes one step; called on the job's own thread, returns when the step is acknowledged."""

    def __call__(self, step: Progress, /) -> object: ...


class TooManyJobs(Exception):
    """``RUNNING_JOBS`` jobs are running."""


@dataclass(slots=True)
class _Job:
    id: str
    user: str
    title: str
    root: Path
    cancelled: threading.Event = field(default_factory=threading.Event)


class Jobs:
    """Starts and cancels jobs. Call its methods on one thread; the work itself runs on others."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._pool = ThreadPoolExecutor(RUNNING_JOBS, thread_name_prefix="demo-job")
        self._running: dict[str, _Job] = {}

    def start(self, scope: Literal["asyncio", "library"], user: str) -> str:
        """Start a job and return its id; raises `TooManyJobs`."""
        if len(self._running) >= RUNNING_JOBS:
            raise TooManyJobs
        root = Path(sysconfig.get_path("stdlib"))
        if scope == "asyncio":
            job = _Job(secrets.token_hex(4), user, "Pack and checksum asyncio", root / "asyncio")
        else:
            job = _Job(secrets.token_hex(4), user, "Pack and checksum the standard library", root)
        self._running[job.id] = job
        self._pool.submit(self._work, job)
        return job.id

    def cancel(self, task_id: str) -> bool:
        """Ask a job to stop at the next file; False if no such job is running."""
        job = self._running.get(task_id)
        if job is None:
            return False
        job.cancelled.set()
        return True

    def close(self) -> None:
        """Cancel all jobs and wait until each has told its end. Blocks; call it off the event loop."""
        for job in list(self._running.values()):
            job.cancelled.set()
        self._pool.shutdown()

    def _work(self, job: _Job) -> None:
        def tell(percent: float, status: Status, text: str) -> None:
            self._tell(Progress(job.id, round(percent, 1), status, text, job.title, job.user))

        try:
            tell(0, "running", "Looking for files")
            last_told = time.monotonic()
            summary = ""
            for percent, summary in pack(job.root):
                if job.cancelled.is_set():
                    tell(percent, "cancelled", f"Cancelled. {summary}")
                    return
                if time.monotonic() - last_told >= TELL_SECONDS:
                    last_told = time.monotonic()
                    tell(percent, "running", summary)
            tell(100, "done", summary)
        except OSError:
            tell(0, "failed", "A file could not be read.")
        except Exception:  # the hub refused a step; nobody awaits this thread, so tell the log
            _log.exception("a job broke off")
        finally:
            del self._running[job.id]


def pack(root: Path) -> Iterator[tuple[float, str]]:
    """Compress (LZMA) and checksum (SHA-256) the Python files below ``root``; yields percent, line."""
    paths = sorted(path for path in root.rglob("*.py") if not LEFT_OUT & set(path.relative_to(root).parts))
    total_bytes = sum(path.stat().st_size for path in paths) or 1
    read_bytes = packed_bytes = 0
    digest = hashlib.sha256()
    for number, path in enumerate(paths, 1):
        content = path.read_bytes()
        digest.update(content)
        packed_bytes += len(lzma.compress(content, preset=6 | lzma.PRESET_EXTREME))
        read_bytes += len(content)
        name = path.relative_to(root).as_posix()
        yield 100 * read_bytes / total_bytes, f"{name}, file {number:,} of {len(paths):,}"
    sizes = f"{read_bytes / 1e6:.1f} MB packed to {packed_bytes / 1e6:.1f} MB"
    yield 100, f"{len(paths):,} files, {sizes}, SHA-256 {digest.hexdigest()[:16]}…"

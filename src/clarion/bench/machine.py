"""Facts about this machine and its processes, read from /proc (Linux)."""

import contextlib
import os
import platform
import resource
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

SPARE_DESCRIPTORS: Final = 300
"""Descriptors that a process under test needs besides its readers' connections."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit of file descriptors to the hard one, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def most_readers() -> int:
    """Return how many readers one process can hold here; children inherit the limit."""
    return raise_descriptor_limit() - SPARE_DESCRIPTORS


def facts() -> dict[str, str | int]:
    """Return what a reader of the results must know about where they were made."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count() or 1,
        "cpu": _cpu_model(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "file_descriptors": raise_descriptor_limit(),
    }


def versions(*packages: str) -> dict[str, str]:
    """Return the installed versions of packages; `-` for one that is not installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "-"
    return found


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def resident_bytes(pids: Iterable[int]) -> int:
    """Return the resident memory of processes (`VmRSS`)."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the user and system time that processes have used so far."""
    ticks = 0
    for pid in pids:
        # The name may hold spaces and brackets, so the fields are counted from its closing bracket on.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def is_supported() -> bool:
    """Whether the load client runs here: it needs epoll and /proc."""
    return sys.platform == "linux"

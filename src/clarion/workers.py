"""Worker processes: a journal in memory cannot be shared between them, and nobody should find that out by losing events."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

WORKERS_ENVIRONMENT: Final = "CLARION_WORKERS"  # set by `clarion run`
_ENVIRONMENT: Final = (WORKERS_ENVIRONMENT, "WEB_CONCURRENCY")
_OPTIONS: Final = ("--workers", "-w")


def count_workers(argv: Sequence[str] = sys.argv, environ: Mapping[str, str] = os.environ) -> int:
    """How many worker processes this process's server was told to have, as far as one can see; 1 if unknown."""
    for index, option in enumerate(argv):
        name, _, value = option.partition("=")
        if name in _OPTIONS:
            return _number(value or (argv[index + 1] if index + 1 < len(argv) else ""))
    for name in _ENVIRONMENT:
        if name in environ:
            return _number(environ[name])
    return 1


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 1

"""Worker processes: they cannot share a journal in memory, and nobody should find that out by losing events."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from clarion.errors import ClarionError

WORKERS_ENVIRONMENT: Final = "CLARION_WORKERS"  # set by `clarion run`, which knows
_ENVIRONMENT: Final = (WORKERS_ENVIRONMENT, "UVICORN_WORKERS", "WEB_CONCURRENCY")
_OPTIONS: Final = ("--workers", "-w")

logger = logging.getLogger("clarion.hub")


def check_workers(shared: bool, argv: Sequence[str] = sys.argv, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse a journal that several workers cannot share, with `ClarionError`; say an error where that is a guess."""
    workers = count_workers(argv, environ)
    if workers < 2 or shared:
        return
    why = (
        f"this server runs {workers} worker processes, but a memory:// journal is one process's own: readers would "
        'miss what other workers publish. Share one, for example Hub("sqlite:///events.db"), or run one worker'
    )
    if _number(environ.get(WORKERS_ENVIRONMENT, "")) > 1:
        raise ClarionError(why)
    logger.error(why)


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

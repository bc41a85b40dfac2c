"""`clarion run`: uvicorn with all of its options, and Clarion's HTTP protocol unless another one is named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from clarion.cli.extras import need
from clarion.workers import WORKERS_ENVIRONMENT, count_workers

PROTOCOL: Final = "clarion.uvicorn:Protocol"


def main(argv: Sequence[str]) -> int:
    """Serve until told to stop. Leaves by `SystemExit`, as uvicorn does."""
    need("run", "server", "uvicorn", "httptools")
    from uvicorn.main import main as uvicorn

    # Inherited by the workers: a hub that cannot be shared between them refuses to open.
    os.environ[WORKERS_ENVIRONMENT] = str(count_workers(argv))
    uvicorn.main(args=list(argv), prog_name="clarion run", default_map={"http": PROTOCOL})
    return 0

"""`clarion bench`."""

from __future__ import annotations

from collections.abc import Sequence

from clarion.cli.extras import need


def main(argv: Sequence[str]) -> int:
    """See `clarion.bench.main`."""
    need("bench", "server", "uvicorn", "httptools")
    from clarion.bench import main as bench

    return bench(argv)

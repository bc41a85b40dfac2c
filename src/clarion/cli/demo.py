"""`clarion demo`."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """See `clarion.demo.main`."""
    from clarion.demo import main as demo

    return demo(argv)

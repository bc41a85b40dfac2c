"""The demo: one page that shows a hub at work, served by ``clarion demo``.

Everything on the page is real: this machine's figures, a feed between tabs, a long job, a streamed text, and
the connection itself, which the reader may drop to watch it resume. The package needs the ``demo`` extra.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

__all__ = ["main"]

NEEDS = ("fastapi", "uvicorn", "httptools", "psutil", "httpx")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the demo until it is interrupted.

    ``argv`` are the arguments after ``clarion demo`` (default: the process's own). Returns the exit status: 0
    after a clean stop, 1 if the demo cannot start (the reason is on standard error). Wrong arguments raise
    ``SystemExit(2)``.
    """
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        sys.stderr.write(f'The demo needs {", ".join(missing)}: pip install "clarion[demo]"\n')
        return 1
    from clarion.demo.command import serve

    return serve(sys.argv[1:] if argv is None else argv)

"""What a command needs beyond the package's own dependencies."""

from __future__ import annotations

from importlib.util import find_spec


def need(command: str, extra: str, *packages: str) -> None:
    """Leave with one clear line unless all of the packages are there."""
    if missing := [name for name in packages if find_spec(name) is None]:
        raise SystemExit(f'clarion {command} needs {", ".join(missing)}: pip install "clarion[{extra}]"')

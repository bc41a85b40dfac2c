"""What `import clarion` does to a program: it brings in little, starts nothing and changes nothing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import clarion

# What Starlette and msgspec need by themselves.
RUNTIME = {"clarion", "starlette", "msgspec", "anyio", "idna", "sniffio", "typing_extensions"}

IMPORT_ALONE = """
import json, sys, threading
before = set(sys.modules)
import clarion
names = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps({
    "foreign": sorted(names - sys.stdlib_module_names),
    "threads": [thread.name for thread in threading.enumerate()],
}))
"""


def run(*arguments: str) -> Any:
    command = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def import_all(breach: str = "") -> Any:
    return run(str(Path(__file__).with_name("import_all.py")), breach)


def test_it_brings_in_little_and_starts_nothing() -> None:
    told = run("-c", IMPORT_ALONE)
    assert set(told["foreign"]) - RUNTIME == set()
    assert told["threads"] == ["MainThread"]


def test_nothing_of_others_is_patched() -> None:
    told = import_all()
    assert told["changed"] == []
    assert told["added"] == []
    assert "clarion.hub" in told["imported"]


def test_a_patch_would_be_found() -> None:
    breaches = {
        "import uvicorn; uvicorn.Server.handle_exit = print": "uvicorn.server:Server.handle_exit",
        "import socket; socket.socket.hello = print": "socket:socket.hello",
        "import signal; signal.signal(signal.SIGTERM, print)": "the action of SIGTERM",
        "import asyncio; asyncio.run = print": "asyncio:run",
    }
    found = import_all("\n".join(breaches))
    assert set(breaches.values()) <= {*found["changed"], *found["added"]}


def test_what_is_exported_is_what_is_said_to_be() -> None:
    names = list(clarion.__all__)
    assert len(names) == len(set(names)), "named twice"
    assert [name for name in names if not hasattr(clarion, name)] == []
    submodules = {name.split(".")[1] for name in sys.modules if name.startswith("clarion.")}
    public = {name for name in vars(clarion) if not name.startswith("_")}
    assert public - submodules - set(names) == set()


@pytest.mark.parametrize("name", ["Client", "Event", "Hub", "Publisher", "Receipt"])
def test_the_promised_names_are_exported(name: str) -> None:
    assert name in clarion.__all__

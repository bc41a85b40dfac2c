"""The rules hold for the package, and each rule finds what breaks it in a package made up for that."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.architecture import rules

ROOT = Path(__file__).parents[2]

Rule = Callable[[list[rules.Module]], list[str]]


@pytest.fixture(scope="module")
def package() -> list[rules.Module]:
    return rules.read_package(ROOT / "src" / "clarion")


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Rule, package: list[rules.Module]) -> None:
    assert package, "no source found"
    broken = rule(package)
    assert not broken, "\n" + "\n".join(broken)


GOOD = {
    "__init__.py": "from clarion.hub import Hub\n",
    "event.py": "import datetime\nfrom clarion.errors import Refused\n",
    "errors.py": "class Refused(Exception): ...\n",
    "json.py": "import json\nimport msgspec\n",
    "log.py": "from clarion.event import datetime\n",
    "journals/__init__.py": "",
    "journals/base.py": "from ..event import Event\n",
    "journals/sqlite.py": "import sqlite3\nimport asyncio\nfrom . import base\n",
    "hub.py": (
        "import asyncio\n"
        "from typing import TYPE_CHECKING\n"
        "from clarion.journals import sqlite\n"
        "if TYPE_CHECKING:\n    from clarion.stream import Stream\n"
        "def router():\n    from clarion.fastapi import router\n"
    ),
    "stream.py": "import starlette.responses\nfrom clarion import hub\n",
    "fastapi.py": "import fastapi\nfrom clarion.hub import Hub\n",
    "cli/__init__.py": "",
    "cli/run.py": "def run():\n    import uvicorn\n    import clarion.hub\n",
}


def write(folder: Path, files: dict[str, str]) -> list[rules.Module]:
    for name, text in files.items():
        path = folder / "clarion" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return rules.read_package(folder / "clarion")


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_a_good_package_passes(rule: Rule, tmp_path: Path) -> None:
    assert rule(write(tmp_path, GOOD)) == []


LAZY_LOG = "def f():\n from . import log"
TYPED_HUB = "if TYPE_CHECKING:\n import clarion.hub"

# Rule, file, what the file says, what the rule says of it after the file's name.
BROKEN = [
    (rules.misplaced_modules, "things.py", "", ": not in LAYERS"),
    (rules.upward_imports, "event.py", "import clarion.log", ":1 vocabulary imports clarion.log of core"),
    (rules.upward_imports, "event.py", "from . import log", ":1 vocabulary imports clarion.log of core"),
    (rules.upward_imports, "event.py", LAZY_LOG, ":2 vocabulary imports clarion.log of core"),
    (rules.upward_imports, "log.py", "from clarion import Hub", ":1 core imports clarion of hub"),
    (rules.upward_imports, "log.py", "from clarion import hub", ":1 core imports clarion.hub of hub"),
    (
        rules.upward_imports,
        "journals/x.py",
        "from ..hub import Hub",
        ":1 adapters imports clarion.hub of hub",
    ),
    (rules.upward_imports, "journals/x.py", TYPED_HUB, ":2 adapters imports clarion.hub of hub"),
    (rules.upward_imports, "hub.py", "import clarion.cli.run", ":1 hub imports clarion.cli.run of programs"),
    (rules.impure_modules, "event.py", "from time import monotonic", ":1 vocabulary imports time"),
    (rules.impure_modules, "event.py", "import http.client", ":1 vocabulary imports http.client"),
    (rules.impure_modules, "event.py", "datetime.now()", ":1 vocabulary reads the clock with .now()"),
    (rules.impure_modules, "log.py", "def f():\n import asyncio", ":2 core imports asyncio"),
    (rules.impure_modules, "log.py", "import socket as s", ":1 core imports socket"),
    (rules.import_cycles, "errors.py", "import clarion.event", ": ring of imports errors -> event -> errors"),
    (rules.foreign_names, "event.py", "import redis", ":1 imports redis, which has its place elsewhere"),
    (
        rules.foreign_names,
        "hub.py",
        "def f():\n import httpx",
        ":2 imports httpx, which has its place elsewhere",
    ),
    (rules.foreign_names, "hub.py", "import sqlite3", ":1 imports sqlite3, which has its place elsewhere"),
    (rules.foreign_names, "cli/run.py", "import uvicorn, httpx", ": names httpx, uvicorn; one per file"),
    (rules.long_modules, "hub.py", "x = 1\n" * 351, ": 351 lines, at most 350"),
    (rules.long_functions, "hub.py", "def f():\n" + " x = 1\n" * 60, ":1 f: 61 lines, at most 60"),
    (rules.unused_words, "hub.py", "class HTTPHandler: ...", ":1 HTTPHandler: handler in the name"),
    (rules.unused_words, "hub.py", "def open_backend(): ...", ":1 open_backend: backend in the name"),
    (rules.unused_words, "cli/utils.py", "", ": utils in the name"),
]


@pytest.mark.parametrize(
    ("rule", "name", "text", "told"),
    BROKEN,
    ids=[f"{rule.__name__}-{i}" for i, (rule, *_) in enumerate(BROKEN)],
)
def test_a_breach_is_found(rule: Rule, name: str, text: str, told: str, tmp_path: Path) -> None:
    assert rule(write(tmp_path, GOOD | {name: text})) == [f"clarion/{name}{told}"]


def test_a_folder_without_init_is_found(tmp_path: Path) -> None:
    modules = write(tmp_path, GOOD | {"sinks/base.py": ""})
    assert rules.namespace_folders(modules) == ["clarion/sinks: no __init__.py"]


def test_what_only_looks_like_a_breach_is_left_alone(tmp_path: Path) -> None:
    docstring = ' """What it does.\n' + "\n" * 80 + ' """\n'
    files = {
        "hub.py": "def f():\n" + docstring + " x = 1\n" * 59,
        "errors.py": "def late():\n import clarion.event\n",
        "sinks/__init__.py": "",
        "sinks/base.py": "class A:\n def on_message_begin(self): ...\n def update(self): ...\n",
    }
    modules = write(tmp_path, GOOD | files)
    assert [rule(modules) for rule in rules.RULES] == [[]] * len(rules.RULES)

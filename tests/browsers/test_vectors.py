"""The shared vectors in real browsers: the parser, values, and sources on real connections."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browsers.conftest import NewTab
from tests.browsers.driving import Browser, call
from tests.browsers.scripted_server import ScriptedServer
from tests.unit.test_vectors_parse import as_bytes

VECTORS = Path(__file__).parents[2] / "spec" / "vectors"
WAYS = 4  # in which each stream is cut
BYTEWISE = 1  # of them, may be left out
# WebKitGTK sends a header's value as UTF-8 of what are bytes already, so an id that is not ASCII is encoded twice. (Its
# own EventSource does it right; a page cannot.)
TWICE_IN_UTF_8 = {("webkit", "an id in UTF-8")}


def twice_in_utf_8(case: dict[str, Any]) -> dict[str, Any]:
    """The case for a browser that encodes the id of the second request twice."""
    changed = copy.deepcopy(case)
    headers = changed["exchanges"][1]["expect"]["headers"]
    headers["last-event-id"] = as_bytes(headers["last-event-id"]).decode("latin-1")
    return changed


def cases_of(folder: str, file: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((VECTORS / folder / f"{file}.json").read_text())["cases"]
    return cases


def files_of(folder: str) -> list[str]:
    return sorted(path.stem for path in (VECTORS / folder).glob("*.json"))


@pytest.fixture
def server(pages: Path) -> Iterator[ScriptedServer]:
    with ScriptedServer(pages) as running:
        yield running


def test_parse(server: ScriptedServer, new_tab: NewTab) -> None:
    tab = new_tab(f"{server.base}/pages/page.html")
    for file in files_of("parse"):
        cases = cases_of("parse", file)
        judged = call(tab, "judgeParsing", cases)
        assert judged["differences"] == [], file
        assert judged["compared"] >= len(cases) * (WAYS - BYTEWISE)


def test_values(server: ScriptedServer, new_tab: NewTab) -> None:
    tab = new_tab(f"{server.base}/pages/page.html")
    for file in files_of("values"):
        cases = cases_of("values", file)
        judged = call(tab, "judgeValues", cases)
        assert judged == {"compared": len(cases), "differences": []}, file


def test_a_wrong_vector_is_seen(server: ScriptedServer, new_tab: NewTab) -> None:
    """The page compares, so it has to be seen that it does."""
    tab = new_tab(f"{server.base}/pages/page.html")
    for case in cases_of("parse", "data")[:5]:
        wrong = {**case, "last_event_id": "another"}
        assert len(call(tab, "judgeParsing", [wrong])["differences"]) == WAYS
    changed = next(case for case in cases_of("values", "set") if "value" in case)
    assert call(tab, "judgeValues", [{**changed, "value": "another"}])["differences"]


@pytest.mark.parametrize("file", files_of("http"))
def test_http(file: str, browser: Browser, server: ScriptedServer, new_tab: NewTab) -> None:
    tab = new_tab(f"{server.base}/pages/page.html")
    wrong = []
    for case in cases_of("http", file):
        if (browser.name, case["name"]) in TWICE_IN_UTF_8:
            case = twice_in_utf_8(case)
        server.play(case)
        differences = call(tab, "playExchanges", case)["differences"]
        if server.asked != len(case["exchanges"]):
            differences.append(f"{server.asked} requests, not {len(case['exchanges'])}")
        if differences or server.problems:
            wrong.append((case["name"], differences, server.problems))
    assert wrong == []

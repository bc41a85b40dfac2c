"""The real AI SDK, in the versions that are supported, reads generations: whole, cut and resumed at every chunk."""

from __future__ import annotations

import asyncio
import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.generation.chat_app import make_app
from tests.integration.serving import served
from tests.node import node_environment, npm

FOLDER = Path(__file__).parent
VERSIONS = (5, 6, 7)
CUTS = range(20)  # the frames of the whole, when the machine is busy and some pieces are told as one
WHOLE: list[dict[str, Any]] = [
    {"type": "step-start"},
    {"type": "reasoning", "text": "They want the weather.", "state": "done"},
    {"type": "text", "text": "Let me see. ", "state": "done"},
    {
        "type": "tool-weather",
        "toolCallId": "call_a",
        "state": "output-available",
        "input": {"city": "Oslo"},
        "output": {"celsius": 3},
    },
    {"type": "step-start"},
    {"type": "reasoning", "text": "Cold.", "state": "done"},
    {"type": "text", "text": "It is 3 °C \U0001f976 in Oslo.\n", "state": "done"},
    {"type": "data-title", "id": "title", "data": "Weather in Oslo"},
]
HISTORY = ["user: text", "assistant: reasoning, text, tool-call", "tool: tool-result", "assistant: reasoning, text"]

pytestmark = pytest.mark.timeout(240)  # the packages may have to be fetched


@pytest.fixture(scope="module", autouse=True)
def _packages() -> None:
    """The SDK, as the lock says, installed once."""
    npm(FOLDER)


async def run(*runs: dict[str, Any]) -> list[dict[str, Any]]:
    """Have the SDK chat."""
    async with served(make_app()) as url:
        plan = json.dumps({"url": f"{url}/chat", "runs": [{"id": str(at), **one} for at, one in enumerate(runs)]})
        node = await asyncio.create_subprocess_exec(
            "node",
            str(FOLDER / "chat.mjs"),
            plan,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=node_environment(),
        )
        try:
            async with asyncio.timeout(60):
                told, errors = await node.communicate()
        finally:
            if node.returncode is None:
                node.kill()
                await node.wait()
    assert node.returncode == 0, errors.decode()
    results: list[dict[str, Any]] = json.loads(told)
    return results


def parts_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of the one message that was generated, without what says nothing here."""
    (parts,) = copy.deepcopy(result["parts"])
    for part in parts:
        if part["type"] == "reasoning":
            part.pop("id", None)
    return parts


def check_whole(result: dict[str, Any]) -> None:
    assert result["status"] == "ready", result["errors"]
    assert parts_of(result) == WHOLE
    assert result["metadata"] == {"asked": "weather?"}
    assert result["history"] == HISTORY
    assert len(result["ids"]) == 1
    assert result["ids"][0].startswith("msg_")


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_whole(version: int) -> None:
    (result,) = await run({"version": version, "script": "weather"})
    check_whole(result)
    assert (result["errors"], result["reasons"]) == ([], ["stop"])
    (answer,) = result["answers"]
    assert (answer["status"], answer["header"]) == (200, "v1")
    assert answer["frames"] >= 20


@pytest.mark.parametrize("version", VERSIONS)
async def test_cut_at_every_chunk_and_resumed_by_a_reloaded_page(version: int) -> None:
    cuts = [{"version": version, "script": "weather", "cuts": [cut], "reload": True, "resumes": 1} for cut in CUTS]
    results = await run(*cuts)
    for result in results:
        check_whole(result)
    assert [result["answers"][0]["frames"] for result in results] == list(CUTS)


@pytest.mark.parametrize("version", VERSIONS[1:])
async def test_cut_at_every_chunk_and_resumed_on_the_same_page(version: int) -> None:
    cuts = [{"version": version, "script": "weather", "cuts": [cut], "resumes": 1} for cut in CUTS]
    results = await run(*cuts)
    for result in results:
        check_whole(result)
    assert [result["answers"][0]["frames"] for result in results] == list(CUTS)


async def test_version_5_on_the_same_page_is_told_the_whole_after_what_it_may_have_kept() -> None:
    """It starts anew, but not after what it takes for a lost network, nor within a tool's input. That is the SDK's own
    doing, with its own server too: nothing in a stream can make it start anew then."""
    cuts = [
        {"version": 5, "script": "weather", "cuts": [cut], "error": error, "resumes": 1}
        for error in ("network error", "terminated")
        for cut in CUTS
    ]
    results = await run(*cuts)
    for result in results:
        assert result["status"] == "ready"
        assert parts_of(result)[-len(WHOLE) :] == WHOLE
    assert sum(parts_of(result) == WHOLE for result in results[len(CUTS) :]) >= len(CUTS) - 5


@pytest.mark.parametrize("version", VERSIONS)
async def test_cut_again_and_again(version: int) -> None:
    again = {"version": version, "script": "weather", "cuts": [3, 5, 6, 7], "reload": True, "resumes": 4}
    (result,) = await run({**again, "error": "terminated" if version == 5 else "network error"})
    check_whole(result)
    assert [answer["frames"] for answer in result["answers"][:4]] == [3, 5, 6, 7]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_page_that_resumes_after_the_end_has_it_once(version: int) -> None:
    (result,) = await run({"version": version, "script": "weather", "resumes": 2})
    check_whole(result)


@pytest.mark.parametrize("version", VERSIONS)
async def test_where_there_is_nothing_to_resume(version: int) -> None:
    (result,) = await run({"version": version, "resumes": 1})
    assert (result["status"], result["parts"], result["errors"]) == ("ready", [], [])
    assert [answer["status"] for answer in result["answers"]] == [204]


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_does_not_end_well_does_not_look_as_if_it_had(version: int) -> None:
    scripts = ("failing", "lost", "stopped")
    failed, lost, stopped = await run(*[{"version": version, "script": script} for script in scripts])
    for result in (failed, lost, stopped):
        assert [part["text"] for part in parts_of(result) if part["type"] == "text"] == ["Half of "]
    assert (failed["status"], failed["errors"]) == ("error", ["The model is out of paper."])
    assert (lost["status"], lost["errors"]) == ("error", ["The generation broke off."])
    assert version < 7 or lost["reasons"] == ["interrupted"]
    assert (stopped["status"], stopped["errors"]) == ("ready", [])

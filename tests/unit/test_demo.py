"""The demo's parts that need no server: coalescing, the local generator, the door, the job."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from clarion.demo import texts
from clarion.demo.guard import refuse, refuse_host
from clarion.demo.jobs import Jobs, Progress, TooManyJobs, pack
from clarion.demo.markov import WORDS_MAX, WORDS_MIN, words
from clarion.demo.openai import OpenAISource, _piece
from clarion.demo.texts import Piece, SourceFailed, Texts, TooManyTexts, coalesce


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "COALESCE_SECONDS", 0)


async def pieces_of(*pieces: str, failure: Exception | None = None) -> AsyncGenerator[str, None]:
    for piece in pieces:
        yield piece
    if failure is not None:
        raise failure


class EndlessSource:
    """Writes until it is closed, and notes that it was."""

    label = "an endless source"

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def write(self, prompt: str) -> AsyncGenerator[str, None]:
        try:
            while True:
                yield prompt
                await asyncio.sleep(0)
        finally:
            self.closed.set()


async def test_pieces_that_are_there_together_are_one() -> None:
    assert [joined async for joined in coalesce(pieces_of("a", "b", "c"))] == ["abc"]


async def test_no_piece_waits_for_the_next() -> None:
    go_on = asyncio.Event()

    async def slow() -> AsyncGenerator[str, None]:
        yield "first"
        await go_on.wait()
        yield "second"

    joined = coalesce(slow())
    assert await anext(joined) == "first"
    go_on.set()
    assert [rest async for rest in joined] == ["second"]


async def test_failure_comes_after_what_was_written() -> None:
    joined = coalesce(pieces_of("a", "b", failure=SourceFailed("no more")))
    assert await anext(joined) == "ab"
    with pytest.raises(SourceFailed):
        await anext(joined)


async def test_endless_text_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "TEXT_CHARS", 10)
    source = EndlessSource()
    assert "".join([joined async for joined in coalesce(source.write("abc"))]) == "abcabcabca"
    assert source.closed.is_set()


async def test_stopped_text_tells_its_end_and_closes_its_source() -> None:
    told: list[Piece] = []
    some_text = asyncio.Event()

    async def tell(piece: Piece) -> None:
        told.append(piece)
        if piece.delta:
            some_text.set()

    source = EndlessSource()
    running = Texts(source, tell)
    text_id = running.start("la", "Ada")
    await some_text.wait()
    assert running.stop(text_id)
    await asyncio.wait_for(source.closed.wait(), 1)
    await running.close()
    assert [piece.seq for piece in told] == list(range(len(told)))
    assert (told[0].prompt, told[0].source) == ("la", "an endless source")
    assert told[-1].status == "stopped"
    assert not running.stop(text_id)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (SourceFailed("The key was refused."), "The key was refused."),
        (RuntimeError("secret"), "Something went wrong here; the server's log has the details."),
    ],
)
async def test_failed_text_tells_people_a_sentence_of_ours(failure: Exception, reason: str) -> None:
    ended: asyncio.Future[Piece] = asyncio.get_running_loop().create_future()

    async def tell(piece: Piece) -> None:
        if piece.status != "streaming":
            ended.set_result(piece)

    class FailingSource:
        label = "a failing source"

        def write(self, prompt: str) -> AsyncGenerator[str, None]:
            return pieces_of("so far", failure=failure)

    running = Texts(FailingSource(), tell)
    running.start("la", "Ada")
    last = await asyncio.wait_for(ended, 1)
    assert (last.status, last.reason) == ("failed", reason)
    await running.close()


async def test_texts_at_one_time_are_bounded() -> None:
    async def tell(piece: Piece) -> None: ...

    running = Texts(EndlessSource(), tell)
    running.start("la", "Ada")
    running.start("la", "Ada")
    with pytest.raises(TooManyTexts):
        running.start("la", "Ada")
    await asyncio.sleep(0)
    await running.close()
    await asyncio.sleep(0)
    running.start("la", "Ada")
    await asyncio.sleep(0)
    await running.close()


@pytest.mark.parametrize("seed", range(20))
def test_local_text_has_its_length_and_begins_near_the_prompt(seed: int) -> None:
    written = words("the LIGHTHOUSE!", random.Random(seed))
    assert WORDS_MIN <= len(written) <= WORDS_MAX
    assert written[0].lower() == "lighthouse"
    assert all(word.startswith(" ") for word in written[1:])


def test_local_text_needs_no_prompt_that_it_knows() -> None:
    assert words("xyzzy", random.Random(1)) != words("xyzzy", random.Random(2))


@pytest.mark.parametrize("data", ["", "[", "[]", "7", '{"choices": 1}', '{"choices": [{}]}', '{"error": {}}', "\ud800"])
def test_strange_completion_is_a_failure_and_not_a_crash(data: str) -> None:
    with pytest.raises(SourceFailed):
        _piece(data)


def test_chunk_without_text_says_nothing() -> None:
    assert _piece('{"choices": []}') == _piece('{"choices": [{"delta": {"content": null}}]}') == ""


def test_model_is_used_only_where_one_is_named() -> None:
    assert OpenAISource.from_environment({}) is None
    assert OpenAISource.from_environment({"OPENAI_BASE_URL": " "}) is None
    assert OpenAISource.from_environment({"OPENAI_BASE_URL": "http://model.example:port"}) is None
    named = OpenAISource.from_environment({"OPENAI_BASE_URL": "http://model.example/v1", "OPENAI_MODEL": "tiny"})
    assert named is not None
    assert named.label == "tiny at model.example"


JSON = {"content-type": "application/json", "content-length": "2", "host": "localhost:8000"}


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, None),
        ({"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}, None),
        ({"content-type": "Application/JSON; charset=utf-8"}, None),
        ({"origin": "http://localhost:8001"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-length": ""}, 411),
        ({"content-length": "-1"}, 411),
        ({"content-length": "16385"}, 413),
        ({"content-length": "9" * 5000}, 413),
    ],
)
def test_post_at_the_door(more: dict[str, str], status: int | None) -> None:
    refusal = refuse("POST", Headers({**JSON, **more}))
    assert (refusal and refusal[0]) == status
    assert refuse("GET", Headers(more)) is None


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "[::1]:8000", "127.0.0.1:1"])
def test_own_names_are_answered(host: str) -> None:
    assert refuse_host(host, {"localhost", "127.0.0.1", "::1"}) is None


@pytest.mark.parametrize("host", ["", "evil.example", "localhost.evil.example", "[", "localhost@evil.example"])
def test_other_names_are_not_answered(host: str) -> None:
    assert refuse_host(host, {"localhost", "127.0.0.1", "::1"}) is not None
    assert refuse_host(host, {"*"}) is None


def test_packing_counts_every_file(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("a" * 300)
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "two.py").write_text("b" * 100)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "left_out.py").write_text("c" * 100)
    steps = list(pack(tmp_path))
    assert [percent for percent, _ in steps] == [75, 100, 100]
    assert steps[1][1] == "pack/two.py, file 2 of 2"
    assert steps[2][1].startswith("2 files, ")


def test_packing_nothing_is_soon_done(tmp_path: Path) -> None:
    assert [percent for percent, _ in pack(tmp_path)] == [100]


def test_job_tells_its_end_once_and_last() -> None:
    told: list[Progress] = []
    jobs = Jobs(told.append)
    task_id = jobs.start("asyncio", "Ada")
    jobs.close()
    assert {step.taskId for step in told} == {task_id}
    assert [step.status for step in told][:-1] == ["running"] * (len(told) - 1)
    assert told[-1].status == "cancelled"
    assert not jobs.cancel(task_id)


def test_jobs_at_one_time_are_bounded() -> None:
    let_go = threading.Event()

    def tell(step: Progress) -> None:
        let_go.wait(10)

    jobs = Jobs(tell)
    jobs.start("asyncio", "Ada")
    jobs.start("asyncio", "Ben")
    with pytest.raises(TooManyJobs):
        jobs.start("asyncio", "Eve")
    let_go.set()
    jobs.close()

"""The demo's parts that need no server: the text and its sources, the job."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import threading
from collections.abc import AsyncIterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import httpx
import pytest

from clarion import Hub
from clarion.demo import app, jobs, openai, texts
from clarion.demo.jobs import Jobs, TooManyJobs, pack
from clarion.demo.markov import WORDS_MAX, WORDS_MIN, MarkovSource, words
from clarion.demo.openai import OpenAISource, chunk_of
from clarion.generation import GenerationRunning, GenerationWriter, Produce
from clarion.progress import Progress
from clarion.work.failures import Cancelled, PublicError


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with Hub() as running:
        yield running


async def value_that_ended(hub: Hub, topic: str) -> dict[str, Any]:
    """The topic's value once it says that what it is of has ended."""
    async with hub.subscribe(topic) as events:
        while True:
            value = await hub.get(topic)
            if value is not None and value["status"] != "running":
                return dict(value)
            await anext(events)


class Writing:
    """A source that writes `pieces`, and then raises `failure` or goes on until it is stopped."""

    label = "a test"

    def __init__(self, *pieces: str, failure: Exception | None = None) -> None:
        self._pieces = pieces
        self._failure = failure
        self.written = asyncio.Event()

    def producer(self, prompt: str) -> Produce:
        async def produce(out: GenerationWriter) -> None:
            for piece in self._pieces:
                await out.write(piece)
            self.written.set()
            if self._failure is not None:
                raise self._failure
            await asyncio.Event().wait()

        return produce


async def test_text_says_who_asked_for_what_and_is_stopped_with_what_it_has(hub: Hub) -> None:
    source = Writing("so ", "far")
    started = await texts.begin(hub, source, "Tell me", "Ada")
    assert started["id"] == texts.TOPIC
    await source.written.wait()
    await hub.cancel(texts.TOPIC)
    value = await value_that_ended(hub, texts.TOPIC)
    assert (value["status"], value["text"]) == ("cancelled", "so far")
    assert value["metadata"] == {"prompt": "Tell me", "user": "Ada", "source": "a test"}


async def test_one_text_is_written_at_a_time(hub: Hub) -> None:
    await texts.begin(hub, Writing(), "one", "Ada")
    with pytest.raises(GenerationRunning):
        await texts.begin(hub, Writing(), "two", "Ben")
    await hub.cancel(texts.TOPIC)
    await value_that_ended(hub, texts.TOPIC)
    await texts.begin(hub, Writing(), "three", "Ben")
    value = await hub.get(texts.TOPIC)
    assert value["metadata"]["prompt"] == "three"


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [(PublicError("The key was refused."), "The key was refused."), (RuntimeError("secret"), "Something went wrong.")],
)
async def test_failed_text_tells_people_a_sentence_of_ours(hub: Hub, failure: Exception, sentence: str) -> None:
    await texts.begin(hub, Writing("so far", failure=failure), "la", "Ada")
    value = await value_that_ended(hub, texts.TOPIC)
    assert (value["status"], value["text"]) == ("failed", "so far")
    assert value["error"]["message"] == sentence
    assert "secret" not in json.dumps(value)


async def test_text_that_never_ends_is_cut() -> None:
    demo = app.Demo("memory://")
    piece = "x" * 1000
    async with demo.hub as hub:
        await texts.begin(hub, Writing(*[piece] * 100), "la", "Ada")
        value = await value_that_ended(hub, texts.TOPIC)
    assert (value["status"], value["error"]["code"]) == ("failed", "too_large")
    assert 0 < len(value["text"]) < app.EVENT_BYTES


async def test_local_generator_writes_its_words(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.demo.markov.WORD_SECONDS", (0, 0))
    await texts.begin(hub, MarkovSource(), "the lighthouse", "Ada")
    value = await value_that_ended(hub, texts.TOPIC)
    assert value["status"] == "completed"
    assert value["text"].startswith("Lighthouse ")
    assert value["text"].endswith(".")


@pytest.mark.parametrize("seed", range(20))
def test_local_text_has_its_length_and_begins_near_the_prompt(seed: int) -> None:
    written = words("the LIGHTHOUSE!", random.Random(seed))
    assert WORDS_MIN <= len(written) <= WORDS_MAX
    assert written[0].lower() == "lighthouse"
    assert all(word.startswith(" ") for word in written[1:])


def test_local_text_needs_no_prompt_that_it_knows() -> None:
    assert words("xyzzy", random.Random(1)) != words("xyzzy", random.Random(2))


@pytest.mark.parametrize("data", ["", "[", "[" * 100_000, "[]", "7", '{"choices": 1}', '{"error": {}}', "\ud800"])
def test_strange_completion_is_a_failure_and_not_a_crash(data: str) -> None:
    with pytest.raises(PublicError):
        chunk_of(data)


def test_chunk_without_text_is_passed_on() -> None:
    for data in ('{"choices": []}', '{"choices": [{"delta": {"content": null}}], "error": null}'):
        assert chunk_of(data) == json.loads(data)


def completion(*chunks: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, text="".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks))


SOME_TEXT = {"choices": [{"index": 0, "delta": {"content": "so far"}}]}


@pytest.mark.parametrize(
    ("answer", "status", "sentence"),
    [
        (completion(SOME_TEXT, {"choices": [{"delta": {}, "finish_reason": "length"}]}), "completed", None),
        (completion(SOME_TEXT), "failed", "The text service stopped before the text was complete."),
        (
            completion(SOME_TEXT, {"error": {"message": "secret"}}),
            "failed",
            "The text service broke off with an error.",
        ),
        (completion(SOME_TEXT, {"choices": [{"delta": 5}, 6, {"index": []}]}), "failed", None),
        (httpx.Response(500, text="secret"), "failed", "The text service has a problem."),
        (httpx.Response(401, text="secret"), "failed", "The text service refused the key."),
        (httpx.ConnectError("secret"), "failed", "The text service could not be reached, or went away."),
    ],
)
async def test_answer_of_a_model(
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    answer: httpx.Response | httpx.ConnectError,
    status: str,
    sentence: str | None,
) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, httpx.ConnectError):
            raise answer
        return answer

    client = httpx.AsyncClient
    monkeypatch.setattr(openai.httpx, "AsyncClient", lambda **options: client(transport=httpx.MockTransport(respond)))
    await texts.begin(hub, OpenAISource("http://model.example/v1", "k", "tiny"), "la", "Ada")
    value = await value_that_ended(hub, texts.TOPIC)
    assert value["status"] == status
    assert "secret" not in json.dumps(value)
    if sentence is not None:
        assert value["error"]["message"] == sentence
    if status == "completed":
        assert (value["text"], value["finishReason"]) == ("so far", "length")


def test_model_is_used_only_where_one_is_named() -> None:
    assert OpenAISource.from_environment({}) is None
    assert OpenAISource.from_environment({"OPENAI_BASE_URL": " "}) is None
    assert OpenAISource.from_environment({"OPENAI_BASE_URL": "http://model.example:port"}) is None
    named = OpenAISource.from_environment({"OPENAI_BASE_URL": "http://model.example/v1", "OPENAI_MODEL": "tiny"})
    assert named is not None
    assert named.label == "tiny at model.example"


@pytest.fixture
def task() -> Progress:
    """A task that nobody is told of."""
    return Hub().progress("jobs/1")


def test_packing_counts_every_byte_and_says_what_came_of_it(task: Progress, tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("a" * 300)
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "two.py").write_text("b" * 100)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "left_out.py").write_text("c" * 100)
    pack(task, tmp_path)
    assert task.current == task.total == 400
    digest = hashlib.sha256(b"a" * 300 + b"b" * 100).hexdigest()
    assert task.reading().message == f"2 files, 0.0 MB packed to 0.0 MB, SHA-256 {digest[:16]}…"


def test_packing_nothing_is_soon_done(task: Progress, tmp_path: Path) -> None:
    pack(task, tmp_path)
    assert task.current == task.total == 0


def test_packing_stops_in_the_middle_of_a_file(task: Progress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PIECE_BYTES", 100)
    (tmp_path / "large.py").write_text("a" * 1000)
    advance = task.advance

    def advance_to(amount: float = 1, message: object = None) -> None:
        advance(amount, message)
        if task.current == 200:
            task.cancel()

    monkeypatch.setattr(task, "advance", advance_to)
    with pytest.raises(Cancelled):
        pack(task, tmp_path)
    assert task.current == 300


def test_files_that_cannot_be_read_are_told_without_their_names(
    task: Progress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PublicError, match=r"^The folder does not exist\.$"):
        pack(task, tmp_path / "none")
    (tmp_path / "secret.py").write_text("a")

    def deny(path: Path) -> bytes:
        raise PermissionError(13, "denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", deny)
    with pytest.raises(PublicError, match=r"^A file could not be read\.$"):
        pack(task, tmp_path)


async def test_job_is_a_task_that_anybody_is_told_of(hub: Hub) -> None:
    job = Jobs(hub).start("missing", "Ada")
    assert fnmatchcase(job.id, jobs.PATTERN)
    with pytest.raises(PublicError):
        await job
    value = await hub.get(job.id)
    assert value["title"] == "Pack and checksum a folder that is not there, for Ada"
    assert (value["status"], value["error"]["message"]) == ("failed", "The folder does not exist.")


async def test_jobs_at_one_time_are_bounded(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()
    monkeypatch.setattr(jobs, "pack", lambda task, root: let_go.wait(10))
    started = Jobs(hub)
    both = [started.start("asyncio", "Ada"), started.start("asyncio", "Ben")]
    with pytest.raises(TooManyJobs):
        started.start("asyncio", "Eve")
    let_go.set()
    for job in both:
        await job
        assert (await hub.get(job.id))["status"] == "completed"
    started.start("missing", "Eve")

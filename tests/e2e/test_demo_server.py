"""The demo's server without a browser: its door, its answers to hostile posts, its command line."""

from __future__ import annotations

import json
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import clarion.demo
from clarion.demo.command import default_journal, listen
from clarion.parser import Message, Parser
from clarion.values import MISSING, Change, applied
from tests.e2e.demo_server import DemoServer

TAB = "0" * 32


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    with DemoServer(tmp_path_factory.mktemp("demo")) as running:
        yield running


def error_of(answer: httpx.Response) -> str:
    return str(answer.json()["error"])


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("/api/chat", {"user": "Ada", "text": "x" * 501}, "Message: at most 500 characters, please."),
        ("/api/chat", {"user": "Ada", "text": "  "}, "Message: please write something."),
        ("/api/chat", {"user": "Ada"}, "Message: is missing."),
        ("/api/chat", {"user": "a/b", "text": "x"}, "Name: letters, digits, spaces and . ' - _ only"),
        ("/api/chat", {"user": "@all", "text": "x"}, "Name: letters, digits, spaces and . ' - _ only"),
        ("/api/chat", {"user": "Ada\n", "text": "x", "topic": "@all"}, "Request: is not what was expected."),
        ("/api/notify", {"user": "Ada", "to": "x" * 33, "text": "x"}, "Recipient: at most 32 characters"),
        ("/api/jobs", {"user": "Ada", "scope": "/etc"}, "Scope: is not what was expected."),
        ("/api/drop", {"tab": "*"}, "Request: "),
        ("/api/drop", {"tab": TAB, "seconds": 10**9}, "Request: is not what was expected."),
    ],
)
def test_invalid_post_is_explained(server: DemoServer, path: str, body: dict[str, object], sentence: str) -> None:
    answer = server.post(path, **body)
    assert answer.status_code == 422
    assert error_of(answer).startswith(sentence)


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"origin": "http://evil.example"}, b"{}", 403),
        ({"origin": "null"}, b"{}", 403),
        ({"sec-fetch-site": "cross-site"}, b"{}", 403),
        ({"content-type": "text/plain"}, b"{}", 415),
        ({"content-type": "application/x-www-form-urlencoded"}, b"user=Ada&text=x", 415),
        ({}, b" " * 20_000, 413),
        ({"host": "evil.example"}, b"{}", 400),
        ({}, b"\xff\x00", 422),
        ({}, b"not json", 422),
        ({}, b"[" * 16_000, 400),
    ],
)
def test_post_is_stopped_at_the_door(server: DemoServer, headers: dict[str, str], content: bytes, status: int) -> None:
    answer = httpx.post(
        server.url + "/api/chat", content=content, headers={"content-type": "application/json", **headers}
    )
    assert answer.status_code == status


def test_body_without_a_length_is_refused(server: DemoServer) -> None:
    answer = httpx.post(server.url + "/api/chat", content=iter([b"{}"]), headers={"content-type": "application/json"})
    assert answer.status_code == 411


@pytest.mark.parametrize("query", ["", "user=Ada", f"user=&tab={TAB}", f"user=a/b&tab={TAB}", "user=Ada&tab=short"])
def test_stream_needs_a_name_and_a_tab(server: DemoServer, query: str) -> None:
    assert httpx.get(f"{server.url}/events?{query}").status_code == 422


def test_strange_tab_drops_nobody(server: DemoServer) -> None:
    assert server.post("/api/drop", tab=TAB).json() == {"dropped": 0}


def test_what_does_not_run_cannot_be_stopped(server: DemoServer) -> None:
    for topic in ("jobs/nothing", "text", "chat"):
        answer = server.post(f"/api/tasks/{topic}/cancel")
        assert (answer.status_code, error_of(answer)) == (404, "no such task is under way")
    assert server.post("/api/tasks/@all/cancel").status_code == 422


def test_third_job_and_second_text_are_refused(server: DemoServer) -> None:
    answers = [server.post("/api/jobs", user="Ada") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert error_of(answers[2]) == "Two jobs are running. Wait for one, or cancel it."
    texts = [server.post("/api/texts", user="Ada", prompt="river") for _ in range(2)]
    assert [answer.status_code for answer in texts] == [202, 409]
    assert error_of(texts[1]) == "A text is being written. Wait for it, or stop it."
    for topic in ("text", *(answer.json()["taskId"] for answer in answers[:2])):
        server.post(f"/api/tasks/{topic}/cancel").raise_for_status()


class Told:
    """What a stream of the server's own says of values, folded."""

    def __init__(self, received: Iterator[bytes]) -> None:
        self._received = received
        self._parser = Parser()
        self._waiting: deque[Message] = deque()
        self.values: dict[str, Any] = {}
        self.first: dict[str, tuple[str, Any]] = {}  # of each value: the change that told it, and what of it

    def read(self, is_enough: Callable[[], bool]) -> None:
        """Read until what is told is complete and enough."""
        complete = False
        while not (complete and is_enough()):
            while not self._waiting:
                self._waiting.extend(self._parser.feed(next(self._received)))
            message = self._waiting.popleft()
            complete = "~" not in message.last_event_id
            if message.change and message.topic:
                before = self.values.get(message.topic, MISSING)
                change = Change[message.change.upper()]
                self.values[message.topic] = applied(before, change, json.loads(message.data))
                self.first.setdefault(message.topic, (message.change, self.values[message.topic]))


@contextmanager
def told_by(server: DemoServer) -> Iterator[Told]:
    with httpx.stream("GET", f"{server.url}/events?user=Ada&tab={TAB}", timeout=10) as stream:
        yield Told(stream.iter_bytes())


def test_late_tab_is_told_the_text_so_far_and_not_how_it_came_about(server: DemoServer) -> None:
    server.post("/api/texts", user="Ada", prompt="river").raise_for_status()
    with told_by(server) as first:
        first.read(lambda: len(first.values.get("text", {"text": ""})["text"]) > 80)
    with told_by(server) as second:
        second.read(lambda: "text" in second.values)
        assert second.values["text"]["text"].startswith(first.values["text"]["text"])
        assert {change for change, _ in second.first.values()} == {"set"}
        assert len(second.first["text"][1]["text"]) > 0, "all but what was said a moment ago is in one frame"
        so_far = second.values["text"]["text"]
        second.read(lambda: len(second.values["text"]["text"]) > len(so_far))
    server.post("/api/tasks/text/cancel").raise_for_status()


def test_sigterm_ends_it_though_a_stream_is_open(tmp_path: Path) -> None:
    server = DemoServer(tmp_path)
    server.start()
    with httpx.stream("GET", f"{server.url}/events?user=Ada&tab={TAB}", timeout=10) as stream:
        received = stream.iter_bytes()
        assert b"event: connected" in next(received)
        server.stop()
        assert b"event: bye" in b"".join(received)
    assert "Traceback" not in server.errors


def test_what_a_stopped_server_worked_on_is_lost_when_the_next_one_starts(tmp_path: Path) -> None:
    with DemoServer(tmp_path) as server:
        server.post("/api/texts", user="Ada", prompt="river").raise_for_status()
        job = server.post("/api/jobs", user="Ada").json()["taskId"]
        with told_by(server) as told:
            told.read(lambda: {"text", job} <= told.values.keys())
            assert {told.values[topic]["status"] for topic in ("text", job)} == {"running"}
        server.stop()
        server.start()
        with told_by(server) as told:
            told.read(lambda: True)
            assert {topic: value["status"] for topic, value in told.values.items()} == {"text": "lost", job: "lost"}
    assert "Traceback" not in server.errors


def test_taken_port_gives_the_next_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with listen("127.0.0.1", port) as listener:
            assert port < listener.getsockname()[1] <= port + 20


def test_foreign_address_is_an_error_not_a_search() -> None:
    with pytest.raises(OSError, match="assign"):
        listen("192.0.2.1", 8000)


def test_journal_belongs_to_the_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_journal(8000) == f"sqlite:///{tmp_path}/clarion/demo-8000.db"
    assert default_journal(8000) != default_journal(8001)


def test_missing_dependency_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(clarion.demo, "NEEDS", ("sys", "no_such_module_here"))
    assert clarion.demo.main([]) == 1
    assert capsys.readouterr().err == 'The demo needs no_such_module_here: pip install "clarion[demo]"\n'
    assert "no_such_module_here" not in sys.modules


@pytest.mark.parametrize("journal", ["carrier://pigeon", "sqlite:////no/such/folder/x.db"])
def test_journal_that_cannot_be_is_one_clear_line(journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert clarion.demo.main(["--port", "0", "--journal", journal]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"Cannot use the journal {journal}: ")
    assert said.err.count("\n") == 1
    assert said.out == ""

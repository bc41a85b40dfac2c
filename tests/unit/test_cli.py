"""The command line without a server: finding commands, showing events, publishing to a journal, clear refusals."""

import io
import json
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import httpx
import pytest

from clarion import ClarionError, Hub, Publisher, __version__
from clarion.cli import COMMANDS, main
from clarion.cli.show import as_json, as_line, printable
from clarion.cli.web import told
from clarion.parser import Message
from clarion.workers import check_workers, count_workers

AT = datetime(2026, 11, 3, 12, 30, 45, 123_000, tzinfo=UTC)


# Finding commands.


def test_help_tells_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told and does in told for name, does in COMMANDS.items())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert (left.value.code, capsys.readouterr().out) == (0, f"clarion {__version__}\n")


@pytest.mark.parametrize("arguments", [[], ["walk"], ["--walk"], ["publish"], ["listen", "ftp://host/"]])
def test_wrong_arguments_leave_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage: clarion" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "package", "extra"),
    [
        (["run", "app:app"], "uvicorn", "server"),
        (["bench"], "httptools", "server"),
        (["listen", "http://host/"], "httpx", "client"),
        (["publish", "http://host/", "news", "1"], "httpx", "client"),
    ],
)
def test_a_missing_extra_is_one_clear_line(
    arguments: list[str], package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    find_spec = importlib.util.find_spec
    monkeypatch.setattr("clarion.cli.extras.find_spec", lambda name: None if name == package else find_spec(name))
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert str(left.value.code).startswith(f"clarion {arguments[0]} ")
    assert str(left.value.code).endswith(f'needs {package}: pip install "clarion[{extra}]"')


def test_demo_and_bench_get_their_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[list[str]] = []

    def note(argv: list[str]) -> int:
        got.append(argv)
        return 3

    monkeypatch.setattr("clarion.demo.main", note)
    monkeypatch.setattr("clarion.bench.main", note)
    assert main(["demo", "--port", "1"]) == 3
    assert main(["bench", "--readers", "2"]) == 3
    assert got == [["--port", "1"], ["--readers", "2"]]


def test_interrupted_is_130_and_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(argv: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("clarion.demo.main", interrupt)
    assert main(["demo"]) == 130
    assert capsys.readouterr() == ("", "")


# run.


def test_run_hands_everything_to_uvicorn_and_names_the_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[dict[str, object]] = []
    monkeypatch.setattr(
        import_module("uvicorn.main"), "run", lambda app, **options: runs.append({"app": app, **options})
    )
    monkeypatch.setenv("CLARION_WORKERS", "1")
    for more in (["--port", "9", "--workers", "2"], ["--http", "h11", "--reload"]):
        with pytest.raises(SystemExit):
            main(["run", "module:app", *more])
    first, second = runs
    assert (first["app"], first["port"], first["workers"]) == ("module:app", 9, 2)
    assert first["http"] == "clarion.uvicorn:Protocol"
    assert (second["http"], second["reload"]) == ("h11", True)


def test_workers_are_counted_where_they_are_told() -> None:
    assert count_workers(["--workers", "3"], {}) == 3
    assert count_workers(["--workers=4"], {"WEB_CONCURRENCY": "2"}) == 4
    assert count_workers([], {"UVICORN_WORKERS": "2"}) == 2
    assert count_workers(["--workers"], {}) == 1


def test_a_journal_of_one_process_is_refused_to_workers(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ClarionError, match="3 worker processes"):
        check_workers(False, [], {"CLARION_WORKERS": "3"})
    check_workers(True, [], {"CLARION_WORKERS": "3"})
    check_workers(False, [], {"CLARION_WORKERS": "1"})
    assert caplog.records == []
    check_workers(False, ["-w", "3"], {})  # a guess: said, not refused
    assert "3 worker processes" in caplog.text


async def test_a_hub_in_memory_does_not_open_in_one_of_several_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARION_WORKERS", "2")
    with pytest.raises(ClarionError, match="sqlite"):
        await Hub().open()


# Showing events.


def test_a_line_has_time_id_type_topic_and_data() -> None:
    message = Message("note", '{"n":1}', "k3v9-7", "orders/7")
    assert as_line(message, AT, colours=False) == '12:30:45.123  k3v9-7  note  orders/7  {"n":1}'
    assert as_line(Message(data="x"), AT, colours=False) == "12:30:45.123  -  message  -  x"
    assert as_line(message, AT, colours=True).count("\x1b[") == 8


def test_a_stranger_cannot_drive_the_terminal() -> None:
    hostile = "\x1b[2J\x9b31m\x07\u202e\n"
    shown = printable(hostile)
    assert shown == "\\u001b[2J\\u009b31m\\u0007\\u202e\\n"
    for message in (Message("x", hostile, hostile, hostile), Message("x", json.dumps(hostile, ensure_ascii=False))):
        for line in (as_line(message, AT, colours=False), as_json(message, AT)):
            assert line.isprintable()
    assert json.loads(as_json(Message("x", hostile), AT))["text"] == hostile


def test_json_has_data_or_text() -> None:
    note = json.loads(as_json(Message("note", '{"n":[1,"ü"]}', "k3v9-7", "news"), AT))
    assert note == {
        "time": "2026-11-03T12:30:45.123+00:00",
        "id": "k3v9-7",
        "type": "note",
        "topic": "news",
        "data": {"n": [1, "ü"]},
    }
    plain = json.loads(as_json(Message("note", "no: json\nat all", "", None), AT))
    assert plain["text"] == "no: json\nat all"
    assert "data" not in plain


def test_a_refusal_is_one_line() -> None:
    assert told(403, "Forbidden", b'{"detail":"you may\\nnot"}') == "403 Forbidden: you may\\nnot"
    assert told(500, "", b"<html>") == "500"
    validation = b'{"detail":[{"msg":"Field required","loc":["body","topic"]}]}'
    assert told(422, "Unprocessable Entity", validation) == "422 Unprocessable Entity: Field required (body.topic)"


# publish.


def test_publishing_to_a_journal_prints_the_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'events.db'}"
    assert main(["publish", url, "news", '{"n":1}', "--event", "note", "--key", "k", "--ttl", "60"]) == 0
    first = capsys.readouterr().out.strip()
    assert first.endswith("-1")
    assert main(["publish", url, "news", '{"n":1}', "--key", "k"]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == first
    assert "nothing was added" in told.err
    with Publisher(url) as publisher:
        assert publisher.publish("news", 2).id.endswith("-2")


def test_data_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'events.db'}"
    monkeypatch.setattr("sys.stdin", io.StringIO("two\nlines"))
    assert main(["publish", url, "news", "-", "--text"]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("not json"))
    with pytest.raises(SystemExit) as left:
        main(["publish", url, "news", "-"])
    assert left.value.code == 2
    assert "--text" in capsys.readouterr().err


@pytest.mark.parametrize("topic", ["@all", "orders/*", "a\nb"])
def test_what_cannot_be_published_is_1(topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", f"sqlite:///{tmp_path / 'events.db'}", topic, "1"]) == 1
    assert capsys.readouterr().err.startswith("clarion publish: topic")


@pytest.mark.parametrize("url", ["memory://", "events.db", "redis://host"])
def test_a_journal_that_cannot_be_published_to_is_2(url: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(["publish", url, "news", "1"])
    assert left.value.code == 2


class Server:
    """Stands where `httpx.post` would be, and keeps what was sent."""

    def __init__(self, answer: httpx.Response | Exception) -> None:
        self.answer = answer
        self.request: httpx.Request | None = None

    def __call__(
        self, url: httpx.URL, *, content: bytes, headers: list[tuple[bytes, bytes]], timeout: float
    ) -> httpx.Response:
        self.request = httpx.Request("POST", url, content=content, headers=headers)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_publishing_to_a_server(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    server = Server(httpx.Response(200, json={"id": "k3v9-7", "sent": 1, "duplicate": False}))
    monkeypatch.setattr("httpx.post", server)
    monkeypatch.setenv("CLARION_TOKEN", "secret")
    assert main(["publish", "http://host/push/", "news", "null", "--event", "note", "--header", "X-A: b"]) == 0
    assert capsys.readouterr().out == "k3v9-7\n"
    assert server.request is not None
    assert str(server.request.url) == "http://host/push/publish"
    assert json.loads(server.request.content) == {"topic": "news", "data": None, "event": "note"}
    assert server.request.headers["authorization"] == "Bearer secret"
    assert server.request.headers["x-a"] == "b"


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (httpx.Response(403, json={"detail": "you may not publish here"}), "403 Forbidden: you may not publish here"),
        (httpx.Response(200, text="<html>"), "the server answered, but not as a Clarion hub does"),
        (httpx.Response(302, headers={"location": "http://else"}), "302 Found"),
        (httpx.ConnectError("refused"), "ConnectError: refused"),
    ],
)
def test_a_server_that_does_not_take_it_is_1(
    answer: httpx.Response | Exception,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("httpx.post", Server(answer))
    assert main(["publish", "http://host/publish", "news", "1"]) == 1
    assert capsys.readouterr() == ("", f"clarion publish: {line}\n")

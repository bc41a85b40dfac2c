"""The `clarion` command as people use it: processes, real sockets, Ctrl-C, `kill -9`, and a pipe that is closed."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 20.0  # for what should take one; the machine may be busy


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Command:
    """A running `clarion ...`, whose lines are kept as they come."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "clarion.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )
        self.out: list[str] = []
        self.err: list[str] = []
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._threads = [
            threading.Thread(target=lines.extend, args=(stream,))
            for lines, stream in ((self.out, self.process.stdout), (self.err, self.process.stderr))
        ]
        for thread in self._threads:
            thread.start()

    def until(self, condition: Callable[["Command"], Any], what: str) -> Any:
        deadline = time.monotonic() + SECONDS
        while not (found := condition(self)):
            assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}. {self.out} {self.err}"
            time.sleep(0.02)
        return found

    def end(self, number: int | None = None) -> int:
        """Send a signal, if one is given, wait for the process, and return its exit status."""
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            for thread in self._threads:
                thread.join(SECONDS)
            for stream in (self.process.stdout, self.process.stderr):
                if stream is not None:
                    stream.close()
        return code


class Commands:
    def __init__(self) -> None:
        self._started: list[Command] = []

    def start(self, *arguments: str, **environment: str) -> Command:
        self._started.append(Command(*arguments, **environment))
        return self._started[-1]

    def serve(self, app: str, port: int, *more: str, **environment: str) -> Command:
        """A server that answers."""
        server = self.start("run", app, "--port", str(port), "--no-access-log", *more, **environment)

        def answers(server: Command) -> bool:
            assert server.process.poll() is None, server.err
            try:
                return httpx.get(f"http://127.0.0.1:{port}/openapi.json").status_code == 200
            except httpx.TransportError:
                return False

        server.until(answers, "the server answers")
        return server

    def end(self) -> None:
        for command in self._started:
            command.end(signal.SIGKILL)


@pytest.fixture
def commands() -> Iterator[Commands]:
    commands = Commands()
    yield commands
    commands.end()


def connected(command: Command) -> bool:
    return any("connected" in line for line in command.err)


def test_run_listen_and_publish(commands: Commands) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    server = commands.serve("examples.metrics:app", port)
    people = commands.start("listen", f"{base}/events")
    program = commands.start("listen", f"{base}/events", "--json", "--quiet", "--since", "earliest")
    people.until(connected, "connected")

    published = commands.start("publish", base, "news", '{"n": 1}', "--event", "note")
    assert published.end() == 0
    event_id = published.out[0].strip()
    people.until(lambda command: command.out, "the event")
    assert people.out[0].split()[1:] == [event_id, "note", "news", '{"n":1}']
    assert "\x1b" not in people.out[0]
    program.until(lambda command: command.out, "the event")
    told = json.loads(program.out[0])
    assert (told["id"], told["type"], told["topic"], told["data"]) == (event_id, "note", "news", {"n": 1})

    refused = commands.start("publish", base, "secret", "1")
    assert refused.end() == 1
    assert refused.err == ["clarion publish: 403 Forbidden: you may not publish here\n"]

    assert server.end(signal.SIGTERM) in (0, -signal.SIGTERM)
    people.until(lambda command: any("bye (drain)" in line for line in command.err), "bye")
    assert people.end(signal.SIGINT) == 130
    assert program.end(signal.SIGINT) == 130
    assert program.err == []
    assert not any("Traceback" in line for line in people.err + server.err)


def test_the_socket_sink_is_switched_on(commands: Commands) -> None:
    port = free_port()
    commands.serve("examples.metrics:app", port)
    with (
        httpx.stream("GET", f"http://127.0.0.1:{port}/events") as stream,
        socket.create_connection(("127.0.0.1", port)) as bare,
    ):
        assert stream.headers["transfer-encoding"] == "chunked"
        # A connection that was taken over has no server behind it any more that would answer a second request.
        bare.settimeout(SECONDS)
        bare.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        while b"event: connected" not in got or not got.endswith(b"\n\n\r\n"):
            got += bare.recv(65_536)
        bare.settimeout(0.3)
        bare.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(TimeoutError):
            bare.recv(65_536)


def test_a_listener_gets_every_event_once_over_a_kill_and_a_restart(commands: Commands, tmp_path: Path) -> None:
    port = free_port()
    journal = f"sqlite:///{tmp_path / 'events.db'}"
    server = commands.serve("examples.worker:app", port, EVENTS=journal)
    listener = commands.start("listen", f"http://127.0.0.1:{port}/tasks/7/events", "--json")
    listener.until(connected, "connected")
    assert commands.start("publish", journal, "tasks/7", "1").end() == 0
    listener.until(lambda command: len(command.out) == 1, "the first event")
    server.end(signal.SIGKILL)
    assert commands.start("publish", journal, "tasks/7", "2").end() == 0
    commands.serve("examples.worker:app", port, EVENTS=journal)
    assert commands.start("publish", journal, "tasks/7", "3").end() == 0
    listener.until(lambda command: len(command.out) == 3, "the events after the restart")
    assert [json.loads(line)["data"] for line in listener.out] == [1, 2, 3]
    assert any("again in" in line for line in listener.err)
    assert any("resumed" in line for line in listener.err)


def test_a_journal_in_memory_is_refused_to_several_workers(commands: Commands) -> None:
    server = commands.start("run", "examples.metrics:app", "--port", str(free_port()), "--workers", "2")
    server.end()  # by itself; uvicorn's supervisor says 0 even so
    assert any("2 worker processes" in line and "sqlite" in line for line in server.err)


def test_several_workers_share_a_journal(commands: Commands, tmp_path: Path) -> None:
    port = free_port()
    journal = f"sqlite:///{tmp_path / 'events.db'}"
    server = commands.serve("examples.worker:app", port, "--workers", "2", EVENTS=journal)
    listener = commands.start("listen", f"http://127.0.0.1:{port}/tasks/7/events", "--json")
    listener.until(connected, "connected")
    assert commands.start("publish", journal, "tasks/7", "1").end() == 0
    listener.until(lambda command: command.out, "the event")
    assert server.end(signal.SIGTERM) == 0


def test_a_reader_of_the_pipe_may_leave(commands: Commands) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    commands.serve("examples.metrics:app", port)
    listener = subprocess.Popen(
        [sys.executable, "-m", "clarion.cli", "listen", f"{base}/events", "--since", "earliest"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert listener.stdout is not None
    assert listener.stderr is not None
    try:
        assert "connected" in listener.stderr.readline()
        listener.stdout.close()
        for number in range(2):
            assert commands.start("publish", base, "news", str(number)).end() == 0
        assert listener.wait(SECONDS) == 0
        assert listener.stderr.read() == ""
    finally:
        if listener.poll() is None:
            listener.kill()
            listener.wait()
        listener.stderr.close()


def test_a_stream_that_is_refused_is_one_line(commands: Commands) -> None:
    port = free_port()
    commands.serve("examples.metrics:app", port)
    listener = commands.start("listen", f"http://127.0.0.1:{port}/events", "--topic", "secret")
    assert listener.end() == 1
    assert listener.err == [
        "clarion listen: refused: 403 Forbidden: you may not subscribe to a topic that you ask for\n"
    ]

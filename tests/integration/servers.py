"""Real servers as processes, and readers on raw sockets that judge what they get with h11 and Clarion's parser."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h2.connection
import h2.events
import h11
import httpx

from clarion.parser import Message, Parser

ROOT = Path(__file__).parents[2]
APP = "tests.integration.served_app:app"
GOAWAY = 7
START_SECONDS = 30  # this machine may be busy
SECONDS = 15  # for everything that should happen at once

UVICORN = (sys.executable, "-m", "uvicorn", APP, "--port", "{port}", "--no-access-log")
COMMANDS: dict[str, tuple[str, ...]] = {
    "uvicorn": UVICORN,
    "protocol": (*UVICORN, "--http", "clarion.uvicorn:Protocol"),
    "protocol-asyncio": (*UVICORN, "--http", "clarion.uvicorn:Protocol", "--loop", "asyncio"),
    "hypercorn": (sys.executable, "-m", "hypercorn", APP, "--bind", "127.0.0.1:{port}"),
    "hypercorn-single": (sys.executable, "-m", "hypercorn", APP, "--bind", "127.0.0.1:{port}", "--workers", "0"),
    "granian": (sys.executable, "-m", "granian", APP, "--interface", "asgi", "--port", "{port}"),
    "thread": (sys.executable, "-m", "tests.integration.served_app", "{port}"),
}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_until(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Return what `condition` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(0.02)
    return found


class Server:
    """A server process with the app of these tests.

    kind: of `COMMANDS`. more: options after that. wanted: what the app shall be like. uds: listen there instead.
    """

    def __init__(
        self, folder: Path, kind: str, *more: str, scheme: str = "http", uds: Path | None = None, **wanted: Any
    ) -> None:
        self.port = free_port()
        self.uds = uds
        self.readers: list[Reader | H2Reader] = []  # all that came here; closed with it
        self._diary = folder / "diary"
        self._stderr = folder / "stderr"
        self._base = f"{scheme}://127.0.0.1:{self.port}"
        command = [part.format(port=self.port) for part in (*COMMANDS[kind], *more)]
        environment = {
            **os.environ,
            "CLARION_TEST": json.dumps({"diary": str(self._diary), **wanted}),
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src"))),
            "PYTHONUNBUFFERED": "1",
        }
        transport = httpx.HTTPTransport(uds=None if uds is None else str(uds), verify=False)
        self._http = httpx.Client(base_url=self._base, transport=transport, timeout=SECONDS, trust_env=False)
        with self._stderr.open("a") as stderr:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,  # a Ctrl-C of the terminal goes to the whole group
            )
        try:
            wait_until(self._answers, "the server answers", START_SECONDS)
        except BaseException:
            self.__exit__(None, None, None)
            raise AssertionError(f"the server did not start: {self.log}") from None

    @property
    def log(self) -> str:
        """What the server has said so far."""
        return self._stderr.read_text()

    @property
    def gone(self) -> list[dict[str, Any]]:
        """The calls of `on_disconnect` so far, of all processes."""
        if not self._diary.exists():
            return []
        return [json.loads(line) for line in self._diary.read_text().splitlines()]

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            self.connect().close()
            return self._http.get("/about").status_code == 200
        except (OSError, httpx.TransportError):
            return False

    def connect(self, buffer_bytes: int | None = None) -> socket.socket:
        """A connection to it; `buffer_bytes` is the size of the receive buffer."""
        sock = socket.socket(socket.AF_INET if self.uds is None else socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if buffer_bytes is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            sock.settimeout(SECONDS)
            sock.connect(("127.0.0.1", self.port) if self.uds is None else str(self.uds))
        except BaseException:
            sock.close()
            raise
        return sock

    def about(self) -> dict[str, Any]:
        """What the app says of its process."""
        said: dict[str, Any] = self._http.get("/about").raise_for_status().json()
        return said

    def publish(self, topic: str = "news", body: str = "", *, times: int = 1, first: int = 0) -> str:
        """Publish a run of numbered events; the id of the last."""
        answer = self._http.post(f"/publish/{topic}", content=body, params={"times": times, "first": first})
        position: str = answer.raise_for_status().json()["id"]
        return position

    def post(self, path: str, content: str = "", **query: Any) -> httpx.Response:
        return self._http.post(path, content=content, params=query).raise_for_status()

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self._http.get(path, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._http.request(method, path, **options)

    def wait_for_clients(self, count: int) -> None:
        wait_until(lambda: self.about()["clients"] == count, f"{count} clients")

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to the main process, as a service manager does."""
        self.process.send_signal(number)

    def tell_group(self, number: signal.Signals) -> None:
        """Send a signal to all its processes, as Ctrl-C in a terminal does."""
        os.killpg(self.process.pid, number)

    def wait(self, seconds: float = SECONDS) -> int:
        """Wait for its end; the exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server still runs after {seconds} s: {self.log}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        for reader in self.readers:
            reader.close()
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # its own session: nobody else is in the group
        except ProcessLookupError:
            pass
        self.process.wait()


class Closed(Exception):
    """The connection ended. clean: the response was complete."""

    def __init__(self, clean: bool) -> None:
        super().__init__("clean" if clean else "cut")
        self.clean = clean


class Reader:
    """An SSE client on a socket of its own. h11 is the judge of the response: it raises at the first wrong byte.

    buffer_bytes: of the socket's receive buffer. Small, and a reader that does not read is noticed at once.
    """

    def __init__(
        self,
        server: Server,
        path: str = "/events",
        *,
        last_event_id: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        buffer_bytes: int | None = None,
        tls: bool = False,
        raw: bytes | None = None,
    ) -> None:
        self.sock: socket.socket = server.connect(buffer_bytes)
        server.readers.append(self)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.sock = context.wrap_socket(self.sock)
        self._http = h11.Connection(h11.CLIENT)
        self._parser = Parser()
        self._messages: list[Message] = []
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.last_event_id = ""  # of the last event that `next` gave; there may be more in here
        lines = [("Host", "test"), ("Accept", "text/event-stream"), *headers]
        if last_event_id is not None:
            lines.append(("Last-Event-ID", last_event_id))
        data = self._http.send(h11.Request(method="GET", target=path, headers=lines))
        self._http.send(h11.EndOfMessage())
        assert data is not None
        self.sock.sendall(data if raw is None else raw)

    def head(self) -> Self:
        """Wait for the head of the response."""
        while not self.status:
            self._step(time.monotonic() + SECONDS)
        return self

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def next(self, seconds: float = SECONDS, *, heartbeats: bool = False) -> Message:
        """The next event. Raises `Closed` at the end. Without heartbeats, unless asked for."""
        deadline = time.monotonic() + seconds
        while True:
            while self._messages:
                message = self._messages.pop(0)
                self.last_event_id = message.last_event_id
                if heartbeats or message.type != "heartbeat":
                    return message
            self._step(deadline)

    def connected(self) -> dict[str, Any]:
        """Wait for `connected`; its data."""
        message = self.next()
        assert message.type == "connected", message
        data: dict[str, Any] = json.loads(message.data)
        return data

    def numbers(self, count: int, seconds: float = SECONDS) -> list[int]:
        """The numbers of the next so many events that `Server.publish` published."""
        return [number_of(self.next(seconds)) for _ in range(count)]

    def until(self, kind: str, seconds: float = SECONDS) -> tuple[list[Message], Message]:
        """All events before the next of a type, and that one."""
        before: list[Message] = []
        while (message := self.next(seconds)).type != kind:
            before.append(message)
        return before, message

    def bye(self) -> dict[str, Any]:
        """Wait for `bye` and for the clean end after it; its data, with `last_event_id`."""
        _, message = self.until("bye")
        self.end(clean=True)
        return {**json.loads(message.data), "last_event_id": message.last_event_id}

    def end(self, *, clean: bool | None = None, seconds: float = SECONDS) -> list[Message]:
        """Wait for the end; what came before it."""
        rest: list[Message] = []
        try:
            while True:
                rest.append(self.next(seconds))
        except Closed as closed:
            if clean is not None and closed.clean is not clean:
                raise AssertionError(f"the end was {closed}") from None
        return rest

    def step(self) -> None:
        """Read once; for bodies that are no plain events."""
        self._step(time.monotonic() + SECONDS)

    def feed(self, size: int = 65_536) -> bool:
        """Read once, at most so many bytes. False at the end of the connection."""
        data = self.sock.recv(size)
        self._http.receive_data(data)
        return bool(data)

    def _step(self, deadline: float) -> None:
        event = self._http.next_event()
        if event is h11.NEED_DATA:
            left = deadline - time.monotonic()
            assert left > 0, "nothing came in time"
            self.sock.settimeout(left)
            try:
                if not self.feed():
                    self._at_eof()
            except TimeoutError:
                raise AssertionError("nothing came in time") from None
            except ConnectionError:
                raise Closed(False) from None
        elif isinstance(event, h11.Response):
            self.status = event.status_code
            self.headers = [(name.decode(), value.decode()) for name, value in event.headers]
        elif isinstance(event, h11.Data):
            if self.header("content-encoding") is None:
                self._messages += self._parser.feed(bytes(event.data))
            else:
                self.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            raise Closed(True)
        elif isinstance(event, h11.ConnectionClosed):
            raise Closed(False)

    def _at_eof(self) -> None:
        """h11 says at the next event whether this end is within the response."""
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError:
            raise Closed(False) from None
        raise Closed(isinstance(event, h11.EndOfMessage))

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class H2Reader:
    """An SSE client over HTTP/2 without TLS, with prior knowledge. frozen: it never opens its window again."""

    def __init__(self, server: Server, path: str = "/events", *, frozen: bool = False) -> None:
        self.sock = server.connect()
        server.readers.append(self)
        self._h2 = h2.connection.H2Connection()
        self._frozen = frozen
        self._parser = Parser()
        self._messages: list[Message] = []
        self.headers: dict[str, str] = {}
        self.ended = False
        self._data = b""
        self._h2.initiate_connection()
        self._h2.send_headers(
            1,
            [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "test")],
            end_stream=True,
        )
        self.sock.sendall(self._h2.data_to_send())

    def next(self) -> Message | None:
        """The next event; None at the end of the stream."""
        while not self._messages:
            if self.ended:
                return None
            data = self.sock.recv(65_536)
            assert data, "the connection ended before the stream"
            for event in self._h2.receive_data(self._without_goaway(data)):
                self._take(event)
            self.sock.sendall(self._h2.data_to_send())
        message = self._messages.pop(0)
        return message if message.type != "heartbeat" else self.next()

    def _without_goaway(self, data: bytes) -> bytes:
        """Whole frames (RFC 9113 section 4.1) but GOAWAY, after which h2 takes nothing, though streams may go on."""
        self._data += data
        frames = b""
        while len(self._data) >= 9 and len(self._data) >= (size := 9 + int.from_bytes(self._data[:3])):
            if self._data[3] != GOAWAY:
                frames += self._data[:size]
            self._data = self._data[size:]
        return frames

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.headers = {name.decode(): value.decode() for name, value in event.headers or ()}
        elif isinstance(event, h2.events.DataReceived):
            self._messages += self._parser.feed(event.data or b"")
            if not self._frozen:
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, 1)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended = True
        assert not isinstance(event, h2.events.StreamReset), "the stream was reset"

    def close(self) -> None:
        self.sock.close()


def number_of(message: Message) -> int:
    """The number that `Server.publish` gave an event."""
    assert message.type == "message", message
    return int(json.loads(message.data).partition(":")[0])


def connect_many(server: Server, count: int, path: str = "/events", **options: Any) -> list[Reader]:
    """So many readers, each with its `connected`."""
    readers = [Reader(server, path, **options) for _ in range(count)]
    for reader in readers:
        reader.connected()
    return readers


def publish_in_bursts(server: Server, count: int, seed: int, pause_seconds: float) -> None:
    """Publish numbered events, a few at a time and of different sizes."""
    chance = random.Random(seed)
    published = 0
    while published < count:
        times = min(chance.randrange(1, 12), count - published)
        server.publish(body="x" * chance.choice([1, 50, 1_500]), times=times, first=published)
        published += times
        time.sleep(pause_seconds * chance.random())

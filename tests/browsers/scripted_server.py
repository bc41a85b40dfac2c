"""A server for one page, which plays the cases of spec/vectors/http to it on real connections.

The page comes from here, too, so that the requests of the cases are those of one origin. Each request has a connection
of its own: a browser sends a request again by itself when a connection that it used before breaks.
"""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.integration.scripted_server import unescaped
from tests.unit.test_vectors_parse import as_bytes, as_text

STREAM: Final = {"content-type": "text/event-stream"}
TYPES: Final = {".html": "text/html; charset=utf-8", ".js": "text/javascript"}
BETWEEN_PIECES_SECONDS: Final = 0.002  # so that each piece is a read of its own, mostly
BEFORE_BREAK_SECONDS: Final = 0.15  # a body that fails loses what the page has not read: it must have read all
BODILESS: Final = (204, 304)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 100
    scripted: ScriptedServer


class ScriptedServer:
    """pages: the folder that `/pages/` is served from. problems: what was wrong with the requests of the case."""

    def __init__(self, pages: Path) -> None:
        self.problems: list[str] = []
        self.asked = 0
        self._pages = pages
        self._case: dict[str, Any] = {"exchanges": []}
        self._hanging: list[socket.socket] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Connection)
        self._server.scripted = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="scripted server")
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}"

    def play(self, case: dict[str, Any]) -> None:
        """From now on requests are answered as this case says."""
        with self._lock:
            self._case, self.asked, self.problems = case, 0, []
            hanging, self._hanging = self._hanging, []
        # Firefox does not hang up by itself where a stream was redirected to, and has six connections to a server.
        for connection in hanging:
            with connection:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # the browser did hang up
                    pass

    def hang(self, connection: socket.socket) -> None:
        """Leave a connection open until the next case."""
        with self._lock:
            self._hanging.append(connection.dup())

    def page(self, path: str) -> Path | None:
        """The file that is served at a path below `/pages/`."""
        file = self._pages / path.rpartition("/")[2]
        return file if path.startswith("/pages/") and file.is_file() else None

    def answer_to(self, method: str, path: str, headers: dict[str, str], body: str) -> dict[str, Any]:
        """Judge a request; the answer that the case has for it."""
        with self._lock:
            number = self.asked
            self.asked += 1
            if number >= len(self._case["exchanges"]):
                self.problems.append(f"nobody expects {method} {path}")
                return {"no_answer": True}
            exchange = self._case["exchanges"][number]
            expected = exchange["expect"]
            wanted = {name: value and as_text(value) for name, value in expected.get("headers", {}).items()}
            asked = (method, unescaped(path), {name: headers.get(name) for name in wanted}, body)
            right = (
                expected.get("method", "GET"),
                unescaped(expected.get("path", self._case.get("path", "/events"))),
                wanted,
                as_text(expected.get("body", "")),
            )
            if asked != right:
                self.problems.append(f"request {number} is {asked}, and should be {right}")
            answer: dict[str, Any] = exchange["answer"]
            return answer

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.play({"exchanges": []})
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Connection(socketserver.StreamRequestHandler):
    server: _Server
    timeout = 30
    disable_nagle_algorithm = True

    def handle(self) -> None:
        try:
            self._exchange()
        except OSError:  # the browser hung up
            pass

    def _exchange(self) -> None:
        first = self.rfile.readline().decode()
        if not first:
            return  # opened in advance, and not needed
        method, path, _ = first.split(" ")
        headers: dict[str, str] = {}
        while (line := self.rfile.readline().decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", 0))).decode()
        if page := self.server.scripted.page(path):
            self._head(200, {"content-type": TYPES[page.suffix], "content-length": str(page.stat().st_size)})
            self.wfile.write(page.read_bytes())
        else:
            self._give(self.server.scripted.answer_to(method, path, headers, body))

    def _head(self, status: int, headers: dict[str, str]) -> None:
        reason = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Said"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.wfile.write(f"HTTP/1.1 {status} {reason}\r\n{lines}connection: close\r\n\r\n".encode())

    def _give(self, answer: dict[str, Any]) -> None:
        if answer.get("no_answer"):
            return
        status: int = answer.get("status", 200)
        has_body = status not in BODILESS
        headers: dict[str, str] = answer.get("headers", STREAM)
        self._head(status, {**headers, "transfer-encoding": "chunked"} if has_body else headers)
        for piece in answer.get("body", ()):
            if data := as_bytes(piece):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                time.sleep(BETWEEN_PIECES_SECONDS)
        then = answer.get("then", "end")
        if then == "hang":
            if not answer.get("body"):
                self.wfile.write(b"2\r\n:\n\r\n")  # Firefox says nothing of an answer before its first byte
            self.server.scripted.hang(self.connection)
            self.rfile.read(1)  # nothing comes before the browser hangs up
        elif then == "break":
            time.sleep(BEFORE_BREAK_SECONDS)
        elif has_body:
            self.wfile.write(b"0\r\n\r\n")

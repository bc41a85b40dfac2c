"""A stand-in for an OpenAI-compatible endpoint, on a thread and a free port of this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ModelServer(ThreadingHTTPServer):
    """Answers chat completions with `pieces`, or with `status` and a text that must not reach a page."""

    daemon_threads = True

    def __init__(self, pieces: list[str], status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Completion)
        self.pieces = pieces
        self.status = status
        self.asked: list[dict[str, object]] = []
        self.keys: list[str | None] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Completion(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, ModelServer)
        body = self.rfile.read(int(self.headers["content-length"]))
        server.asked.append({"path": self.path, **json.loads(body)})
        server.keys.append(self.headers.get("authorization"))
        self.send_response(server.status)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        if server.status != 200:
            self.wfile.write(b'{"error": {"message": "the secret inner text"}}')
            return
        for piece in server.pieces:
            chunk = {"choices": [{"index": 0, "delta": {"content": piece}}]}
            self.wfile.write(b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n")
        self.wfile.write(b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n')
        self.wfile.write(b'data: {"choices": [], "usage": {}}\n\ndata: [DONE]\n\n')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing; the base class writes to standard error."""


@contextmanager
def model_server(pieces: list[str], status: int = 200) -> Iterator[ModelServer]:
    """A running `ModelServer`."""
    with ModelServer(pieces, status) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

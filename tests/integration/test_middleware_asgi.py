"""Streams through the server's own `send`, with the middleware that people have around them."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.integration.servers import Reader, Server

SERVERS = ["uvicorn", "hypercorn-single", "granian"]


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("middleware", [["base", "base"], ["session", "cors", "gzip"]], ids="-".join)
def test_a_stream_through_middleware(kind: str, middleware: list[str], tmp_path: Path) -> None:
    headers = [("Origin", "https://page.example"), ("Accept-Encoding", "gzip")]
    with Server(tmp_path, kind, middleware=middleware) as server:
        leaving, staying = Reader(server, headers=headers), Reader(server, headers=headers)
        for reader in (leaving, staying):
            reader.connected()
        assert staying.header("x-tagged") == ("yes" if "base" in middleware else None)
        assert staying.header("content-encoding") is None
        if "cors" in middleware:
            assert staying.header("access-control-allow-origin") == "https://page.example"
            assert (staying.header("set-cookie") or "").startswith("session=")
        server.publish(body="x" * 5_000, times=100)
        for reader in (leaving, staying):
            assert reader.numbers(100) == list(range(100))
        leaving.close()
        server.wait_for_clients(1)
        server.publish(first=100)
        assert staying.numbers(1) == [100]
        server.tell(signal.SIGTERM)
        assert staying.bye()["reason"] == "drain"
        server.wait()
        assert [one["reason"] for one in server.gone] == ["disconnected", "drain"]
        assert "Traceback" not in server.log


def test_dependencies_are_held_by_the_stream_unless_they_are_of_the_function(tmp_path: Path) -> None:
    """What the documents say of database sessions where a stream is not taken over."""
    with Server(tmp_path, "uvicorn") as server:
        Reader(server, "/early").connected()
        assert server.about()["released"] == ["opened", "closed"]
        Reader(server, "/events").connected()
        assert server.about()["released"] == ["opened", "closed", "opened"]

"""Limits where connections come and go: what was counted in is counted out, in either sink and between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.servers import Reader, Server


@pytest.mark.parametrize(
    ("kind", "middleware"),
    [("uvicorn", []), ("protocol", []), ("protocol", ["compressing"])],
    ids=["asgi", "socket", "from socket to asgi"],
)
def test_places_are_given_back(kind: str, middleware: list[str], tmp_path: Path) -> None:
    limits = {"max_readers": 3, "max_readers_per_user": 2}
    with Server(tmp_path, kind, middleware=middleware, limits=limits) as server:
        for _ in range(3):
            readers = [Reader(server, path).head() for path in ("/events?user=ann", "/events?user=ann", "/events")]
            assert [reader.status for reader in readers] == [200] * 3
            refused = Reader(server).head()
            assert refused.status == 503
            assert int(refused.header("retry-after") or 0) >= 1
            readers[2].close()
            server.wait_for_clients(2)
            refused = Reader(server, "/events?user=ann").head()
            assert refused.status == 429
            assert int(refused.header("retry-after") or 0) >= 1
            for reader in readers:
                reader.close()
            server.wait_for_clients(0)
        assert "Traceback" not in server.log


@pytest.mark.parametrize("kind", ["uvicorn", "protocol"])
def test_head_and_bad_requests(kind: str, tmp_path: Path) -> None:
    with Server(tmp_path, kind) as server:
        assert Reader(server, "/events?since=yesterday").head().status == 422
        assert Reader(server, "/events?topic=@all").head().status == 422
        assert Reader(server, "/events?last_event_id=%FF%00%0A").connected()["mode"] == "gap"
        server.wait_for_clients(1)
        assert server.request("HEAD", "/events").status_code == 405  # FastAPI's answer: the route is for GET
        assert "Traceback" not in server.log

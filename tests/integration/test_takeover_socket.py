"""Taking over, on real sockets: which connections, with which middleware, and what clients may do meanwhile."""

from __future__ import annotations

import gzip
import random
import socket
import struct
from pathlib import Path

import pytest

from tests.integration.servers import Closed, Reader, Server, connect_many, number_of, wait_until

LOOPS = ["protocol", "protocol-asyncio"]
CERTIFICATE = Path(__file__).parent / "localhost.pem"


def is_taken_over(server: Server) -> bool:
    """With one reader: its request is over, so the server has forgotten it, though its stream goes on."""
    about = server.about()
    assert about["clients"] == 1
    opened, closed = about["released"].count("opened"), about["released"].count("closed")
    return bool(opened == closed)


@pytest.mark.parametrize("kind", LOOPS)
def test_a_stream_is_taken_over_and_is_correct_to_its_end(kind: str, tmp_path: Path) -> None:
    with Server(tmp_path, kind) as server:
        reader = Reader(server).head()
        assert reader.status == 200
        assert reader.header("transfer-encoding") == "chunked"
        assert reader.header("content-type") == "text/event-stream; charset=utf-8"
        assert reader.header("cache-control") == "no-store"
        assert reader.header("x-accel-buffering") == "no"
        assert reader.header("connection") is None
        client = reader.connected()["clientId"]
        assert ("uvloop" in server.about()["loop"]) == (kind == "protocol")
        wait_until(lambda: is_taken_over(server), "the dependencies are released")
        server.publish(body="x" * 10_000, times=50)
        assert reader.numbers(50) == list(range(50))
        server.post("/kick", client=client, reason="enough")
        bye = reader.bye()
        assert (bye["reason"], bye["detail"]) == ("kicked", "enough")
        assert "Traceback" not in server.log


ALL = ["base", "cors", "gzip", "session"]
MIDDLEWARE = [["base"], ["cors"], ["gzip"], ["session"], ALL, ["session", "base", "base"]]


@pytest.mark.parametrize("middleware", MIDDLEWARE, ids="-".join)
def test_middleware_keeps_its_headers(middleware: list[str], tmp_path: Path) -> None:
    with Server(tmp_path, "protocol", middleware=middleware) as server:
        headers = [("Origin", "https://page.example"), ("Accept-Encoding", "gzip")]
        reader = Reader(server, headers=headers)
        reader.connected()
        if "base" in middleware:
            assert reader.header("x-tagged") == "yes"
        if "cors" in middleware:
            assert reader.header("access-control-allow-origin") == "https://page.example"
            assert reader.header("access-control-allow-credentials") == "true"
        if "session" in middleware:
            assert (reader.header("set-cookie") or "").startswith("session=")
        wait_until(lambda: is_taken_over(server), "the dependencies are released")
        server.publish(times=20)
        assert reader.numbers(20) == list(range(20))
        reader.close()
        server.wait_for_clients(0)
        assert "Traceback" not in server.log


def test_a_compressed_stream_is_not_taken_over(tmp_path: Path) -> None:
    with Server(tmp_path, "protocol", middleware=["compressing"]) as server:
        reader = Reader(server).head()
        assert reader.header("content-encoding") == "gzip"
        server.wait_for_clients(1)
        server.publish(times=3)
        while (text := gzip.decompress(reader.body)).count(b"topic: news") < 3:
            reader.step()
        assert text.index(b"event: connected") < text.index(b"topic: news")
        assert not is_taken_over(server)
        reader.close()
        server.wait_for_clients(0)


def test_tls_is_served_through_asgi(tmp_path: Path) -> None:
    options = ["--ssl-certfile", str(CERTIFICATE), "--ssl-keyfile", str(CERTIFICATE)]
    with Server(tmp_path, "protocol", *options, scheme="https") as server:
        reader = Reader(server, tls=True)
        reader.connected()
        server.publish(times=30)
        assert reader.numbers(30) == list(range(30))
        assert not is_taken_over(server)


@pytest.mark.parametrize("kind", LOOPS)
def test_unix_domain_sockets(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Server(tmp_path, kind, "--uds", str(path), uds=path) as server:
        reader = Reader(server)
        reader.connected()
        wait_until(lambda: is_taken_over(server), "the dependencies are released")
        server.publish(body="y" * 20_000, times=100)
        assert reader.numbers(100) == list(range(100))


def test_http_1_0_gets_what_the_head_says(tmp_path: Path) -> None:
    """uvicorn says chunked to these clients too, and nginx, which speaks 1.0 to it by default, understands that."""
    with Server(tmp_path, "protocol") as server:
        reader = Reader(server, raw=b"GET /events HTTP/1.0\r\nHost: test\r\n\r\n").head()
        client = reader.connected()["clientId"]
        server.publish(times=3)
        assert reader.numbers(3) == [0, 1, 2]
        server.post("/kick", client=client)
        assert reader.bye()["reason"] == "kicked"


def test_pipelined_requests(tmp_path: Path) -> None:
    one = b"GET /nowhere HTTP/1.1\r\nHost: test\r\n\r\n"
    stream = b"GET /events HTTP/1.1\r\nHost: test\r\n\r\n"
    with Server(tmp_path, "protocol") as server:
        for raw, answers_before in ((one + stream, 1), (one * 2 + stream, 2), (stream + one, 0), (stream * 3, 0)):
            with socket.create_connection(("127.0.0.1", server.port), 10) as sock:
                sock.sendall(raw)
                data = b""
                while b"event: connected" not in data:
                    data += sock.recv(65_536)
                assert data.count(b"HTTP/1.1 404") == answers_before
                assert data.count(b"HTTP/1.1 200") == 1
                server.wait_for_clients(1)
                server.publish(body="last")
                while b"last" not in data:
                    data += sock.recv(65_536)
            server.wait_for_clients(0)
        assert "Traceback" not in server.log


def test_a_client_that_goes_on_talking(tmp_path: Path) -> None:
    """A little is ignored; without end, it is closed."""
    with Server(tmp_path, "protocol") as server:
        reader = Reader(server)
        reader.connected()
        wait_until(lambda: is_taken_over(server), "the dependencies are released")
        for _ in range(20):
            reader.sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        server.publish(times=3)
        assert reader.numbers(3) == [0, 1, 2]
        endless = Reader(server)
        endless.connected()
        server.wait_for_clients(2)
        with pytest.raises(ConnectionError):
            endless.sock.sendall(b"x" * 16_384_000)
        server.wait_for_clients(1)
        server.publish(first=3)
        assert reader.numbers(1) == [3]


def test_a_client_may_vanish_at_any_moment(tmp_path: Path) -> None:
    """With a reset or politely, before, while and after its connection is taken over."""
    chance = random.Random(7)
    with Server(tmp_path, "protocol") as server:
        watching = Reader(server)
        watching.connected()
        before = server.about()["descriptors"]
        request = b"GET /events HTTP/1.1\r\nHost: test\r\n\r\n"
        for n in range(300):
            sock = socket.create_connection(("127.0.0.1", server.port), 10)
            if n % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.sendall(request[: chance.choice([5, 40, len(request), len(request), len(request)])])
            for _ in range(chance.choice([0, 0, 1, 1, 3])):
                if n % 3 and len(request):
                    sock.setblocking(False)
                    try:
                        sock.recv(chance.choice([1, 100, 4096]))
                    except BlockingIOError:
                        pass
            sock.close()
        server.wait_for_clients(1)
        wait_until(lambda: server.about()["descriptors"] <= before, "no descriptor is left open")
        wait_until(lambda: server.about()["tasks"] < 10, "no task is left")
        server.publish(times=2)
        assert watching.numbers(2) == [0, 1]
        assert "Traceback" not in server.log
        gone = [one["gone"] for one in server.gone]
        assert len(gone) == len(set(gone))


def test_no_descriptor_is_left_after_300_streams(tmp_path: Path) -> None:
    with Server(tmp_path, "protocol") as server:
        connect_many(server, 1)
        before = server.about()["descriptors"]
        for _ in range(10):
            for reader in connect_many(server, 30):
                reader.close()
        server.wait_for_clients(1)
        wait_until(lambda: server.about()["descriptors"] <= before, "no descriptor is left open")
        wait_until(lambda: len(server.gone) == 300, "300 are told as gone")
        assert {one["reason"] for one in server.gone} == {"disconnected"}


def test_the_server_forgets_what_was_taken_over(tmp_path: Path) -> None:
    """More streams than it would serve at once."""
    with Server(tmp_path, "protocol", "--limit-concurrency", "4") as server:
        readers = []
        for count in range(1, 13):
            readers.append(Reader(server))
            readers[-1].connected()
            wait_until(lambda: server.get("/about").status_code == 200, "there is room for more")
            server.wait_for_clients(count)
        server.publish()
        assert [number_of(reader.next()) for reader in readers] == [0] * 12


def test_the_end_of_an_http_exchange_is_told_from_a_cut(tmp_path: Path) -> None:
    """What these tests rest on: the judge sees a difference."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        class Fake:
            readers: list[Reader] = []  # noqa: RUF012

            def connect(self, buffer_bytes: int | None) -> socket.socket:
                return socket.create_connection(listening.getsockname(), 10)

        for last, clean in ((b"0\r\n\r\n", True), (b"", False)):
            reader = Reader(Fake())  # type: ignore[arg-type]
            peer, _ = listening.accept()
            peer.recv(10_000)
            peer.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n" + last)
            peer.close()
            assert reader.next().data == "1"
            with pytest.raises(Closed) as closed:
                reader.next()
            assert closed.value.clean is clean
            reader.close()

"""The load client against scripted servers: it must notice each way in which a stream can break its
promise."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from clarion.bench.client import Client, request
from clarion.bench.payload import event_text

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def events(*numbers: int) -> bytes:
    return chunk(b"".join(f"data: {event_text(number)}\n\n".encode() for number in numbers))


@contextmanager
def serving(script: Callable[[socket.socket, int], None]) -> Iterator[int]:
    """Run `script(connection, number of it)` for each connection; yield the port."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.recv(4096)
                script(connection, len(held))
                held.append(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in held:
                connection.close()


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    yield made
    made.drop({})
    made.poll.close()


def collected(client: Client, body: bytes, goal: int, readers: int = 3, timeout: float = 0.3) -> dict[str, object]:
    with serving(lambda connection, _: connection.sendall(HEAD + body)) as port:
        opened = client.open({"count": readers, "port": port, "timeout": 5})
        assert (opened["readers"], opened["unanswered"], opened["refused"]) == (readers, 0, [])
        return client.collect({"goal": goal, "timeout": timeout})


def test_a_whole_stream_is_complete(client: Client) -> None:
    found = collected(client, events(1, 2) + events(3), goal=3, timeout=5)
    assert found["complete"] is True
    assert found["deliveries"] == 9
    assert found["faults"] == {"lost": 0, "duplicated": 0, "gaps": 0, "closed": 0}
    assert found["latency_samples"] == 9


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (events(1, 3), {"lost": 3}),
        (events(1, 2), {"lost": 3}),
        (events(2, 3), {"lost": 3}),
        (events(1, 2) + events(2) + events(3), {"duplicated": 3}),
        (events(1, 2, 2, 3), {"duplicated": 3}),
        (events(1, 3, 2), {"lost": 3, "duplicated": 3}),
        (chunk(b"event: gap\ndata: {}\n\n") + events(1, 2, 3), {"gaps": 3}),
    ],
)
def test_a_broken_promise_is_noticed(client: Client, body: bytes, fault: dict[str, int]) -> None:
    found = collected(client, body, goal=3)
    assert found["complete"] is False
    assert found["faults"] == {"lost": 0, "duplicated": 0, "gaps": 0, "closed": 0} | fault


def test_a_stream_that_is_closed_early_is_a_fault(client: Client) -> None:
    def script(connection: socket.socket, number: int) -> None:
        connection.sendall(HEAD + events(1))
        if number == 0:
            connection.shutdown(socket.SHUT_RDWR)

    with serving(script) as port:
        client.open({"count": 2, "port": port, "timeout": 5})
        found = client.collect({"goal": 2, "timeout": 0.3})
    assert found["complete"] is False
    assert found["faults"] == {"lost": 1, "duplicated": 0, "gaps": 0, "closed": 1}


def test_a_refusal_is_told(client: Client) -> None:
    refusal = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\r\n"
    with serving(lambda connection, _: connection.sendall(refusal)) as port:
        opened = client.open({"count": 1, "port": port, "timeout": 5})
    assert opened["readers"] == 0
    assert opened["refused"] == [refusal.decode()]


def test_readers_that_resume_want_what_follows(client: Client) -> None:
    with serving(lambda connection, _: connection.sendall(HEAD + events(8, 9))) as port:
        client.open({"count": 2, "port": port, "first": 8, "goal": 9, "timeout": 5})
        found = client.collect({"goal": 9, "timeout": 5})
    assert found["complete"] is True
    assert found["deliveries"] == 4


def test_counts_start_anew_with_each_collection(client: Client) -> None:
    sent = threading.Event()

    def script(connection: socket.socket, number: int) -> None:
        connection.sendall(HEAD + events(1))
        sent.wait(5)
        connection.sendall(events(2))

    with serving(script) as port:
        client.open({"count": 1, "port": port, "timeout": 5})
        assert client.collect({"goal": 1, "timeout": 5})["deliveries"] == 1
        sent.set()
        assert client.collect({"goal": 2, "timeout": 5})["deliveries"] == 1


def test_each_reader_has_a_request_of_its_own() -> None:
    order = {"path": "/events?user={i}&topic=team/{i%100}", "headers": {"Last-Event-ID": "k3v9-{i}"}}
    assert request(order, 107) == (
        b"GET /events?user=107&topic=team/7 HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n"
        b"Last-Event-ID: k3v9-107\r\n\r\n"
    )

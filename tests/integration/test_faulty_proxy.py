"""The faults of the proxy are what they say: a plain reader behind it has them."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from clarion.parser import Message, Parser
from tests.integration.faulty_proxy import FAULTS, FaultyProxy, Trouble
from tests.integration.servers import Server, number_of

QUIET_SECONDS = 1.5  # then nothing more comes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("proxy"), "protocol") as running:
        running.publish(body="x" * 50, times=20)
        yield running


def read(way: FaultyProxy, last_event_id: str | None = None) -> tuple[int, list[Message], bool]:
    """The status, all events of a stream from the earliest on, and whether it ended as it should."""
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    parser, messages = Parser(), list[Message]()
    with closing(http.client.HTTPConnection("127.0.0.1", way.port, timeout=QUIET_SECONDS)) as connection:
        connection.request("GET", "/events?since=earliest", headers=headers)
        answer = connection.getresponse()
        try:
            while data := answer.read1():
                messages += parser.feed(data)
        except (http.client.HTTPException, ConnectionError, TimeoutError):
            return answer.status, messages, False
        return answer.status, messages, True


def numbers(messages: list[Message]) -> list[int]:
    return [number_of(message) for message in messages if message.topic is not None]


@pytest.mark.parametrize("fault", ["cut", "reset", "delay", "dribble"])
def test_it_ends_after_so_many_bytes(fault: str, server: Server) -> None:
    with FaultyProxy(server.port, troubles=[Trouble(fault, 900)]) as way:
        status, messages, is_whole = read(way)
    assert (status, is_whole) == (200, False)
    assert numbers(messages) == list(range(len(numbers(messages))))
    assert 0 < len(numbers(messages)) <= 20


def test_what_is_delayed_comes_later(server: Server) -> None:
    with FaultyProxy(server.port, troubles=[Trouble("cut", 900), Trouble("delay", 900)]) as way:
        began = time.monotonic()
        before = read(way)[1]
        between = time.monotonic()
        after = read(way)[1]
        assert len(after) > len(before)
        assert time.monotonic() - between > between - began


def test_what_is_repeated_comes_twice(server: Server) -> None:
    with FaultyProxy(server.port, troubles=[Trouble("repeat", 900)]) as way:
        _, messages, _ = read(way)
    told = numbers(messages)
    assert len(told) > len(set(told))
    assert sorted(set(told)) == list(range(max(told) + 1))


def test_an_old_id_has_the_hub_say_again_what_was_had(server: Server) -> None:
    with FaultyProxy(server.port, troubles=[Trouble("cut", 700), Trouble("old-id", 900)]) as way:
        _, first, _ = read(way, last_event_id=server.publish(body="x", first=20).rpartition("-")[0] + "-2")
        _, again, _ = read(way, last_event_id=first[-1].last_event_id)
    assert numbers(again)[0] == 2
    assert numbers(first)[0] == 2


def test_a_lost_id_makes_a_stream_begin_anew(server: Server) -> None:
    with FaultyProxy(server.port, troubles=[Trouble("lost-id", 900)]) as way:
        assert numbers(read(way, last_event_id="aaaa-1")[1])[0] == 0


def test_it_answers_for_the_server(server: Server) -> None:
    with FaultyProxy(server.port, faults=("busy",)) as way:
        assert {read(way)[0] for _ in range(12)} == {500, 502, 503}


def test_what_is_no_http_is_not(server: Server) -> None:
    with FaultyProxy(server.port, troubles=[Trouble("garbage", 0)]) as way:
        status, messages, is_whole = read(way)
    assert (status, messages, is_whole) == (200, [], False)


def test_each_seed_is_a_run_of_its_own(server: Server) -> None:
    assert [FaultyProxy(1, seed)._next_trouble() for seed in (1, 1)] == [FaultyProxy(1, 1)._next_trouble()] * 2
    drawn = {FaultyProxy(1, seed)._next_trouble().fault for seed in range(100)}  # type: ignore[union-attr]
    assert drawn == set(FAULTS)

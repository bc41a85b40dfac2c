"""The synchronous source: the same promises in threads, closed from anywhere, interrupted without a loss."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from clarion.client import (
    CursorNotSaved,
    MemoryCursor,
    ReceivedEvent,
    Source,
    State,
    StreamRefused,
    TransportFailed,
)
from clarion.client.request import Request
from tests.unit.client_script import HANG, URL, Reply, Script, bye, change, connected, event, refuse

DONE = bye("done", id="k3v9-99.done")
SECONDS = 10
QUICK: dict[str, Any] = {"min_delay_seconds": 0.001, "max_delay_seconds": 0.001, "random": lambda: 0.0}


def source_of(*replies: Any, **options: Any) -> tuple[Source, Script]:
    script = Script(*replies)
    return Source(URL, transport=script, **{**QUICK, **options}), script


def test_events_come_once_and_in_order_over_connections() -> None:
    source, script = source_of(
        Reply(connected(retry=1), event(5), event(6)),
        TransportFailed("down"),
        Reply(connected("k3v9-6", mode="resumed"), event(6), event(7), DONE),
    )
    with source:
        assert [received.data for received in source] == [5, 6, 7]
        assert list(source) == []
        assert source.status.state is State.CLOSED
    assert script.ids == [None, "k3v9-6", "k3v9-6"]
    assert threading.active_count() == 1


def test_a_refusal_is_raised_in_the_thread_that_asks() -> None:
    source, _ = source_of(refuse(403, b"no"))
    with source, pytest.raises(StreamRefused) as refused:
        list(source)
    assert refused.value.status_code == 403


def test_a_fault_of_the_transport_is_raised() -> None:
    source, _ = source_of(Reply(connected(), ZeroDivisionError("a bug")))
    with source, pytest.raises(ZeroDivisionError):
        list(source)


def test_receive_waits_no_longer_than_told_and_loses_nothing() -> None:
    arrived = threading.Event()

    class Later(Reply):
        async def chunks(self) -> AsyncGenerator[bytes, None]:
            yield connected()
            await asyncio.to_thread(arrived.wait)
            yield event(5) + DONE

    source, _ = source_of(Later())
    with source:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                source.receive(timeout_seconds=0.01)
        arrived.set()
        received = source.receive(timeout_seconds=SECONDS)
        assert received is not None
        assert received.data == 5
        assert source.receive() is None


def test_close_from_another_thread_ends_the_loop() -> None:
    source, script = source_of(Reply(connected(), event(5), HANG))
    waiting = threading.Event()
    source.on_status(lambda status: waiting.set() if status.connected else None)
    got: list[Any] = []

    def work() -> None:
        with source:
            got.extend(received.data for received in source)

    thread = threading.Thread(target=work)
    thread.start()
    assert waiting.wait(SECONDS)
    source.close()
    source.close()
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert got in ([5], [])
    assert script.given[0].closed


def test_close_in_the_middle_of_the_loop_deals_with_the_event_in_hand() -> None:
    cursor = MemoryCursor()
    source, _ = source_of(Reply(connected(values=None) + event(5) + event(6), HANG), cursor=cursor)
    with source:
        for received in source:
            assert received.data == 5
            source.close()
    assert cursor.load() == "k3v9-5"


def test_a_callback_may_close() -> None:
    source, _ = source_of(Reply(connected() + event(5) + event(6), HANG))
    source.on("message", lambda received: source.close())
    with source:
        assert [received.data for received in source] == [5]
    assert threading.active_count() == 1


def test_callbacks_are_called_in_the_thread_that_asks() -> None:
    source, _ = source_of(Reply(connected(), event(5), event(6, "no json"), DONE))
    threads: list[threading.Thread] = []

    def note(*about: Any) -> None:
        threads.append(threading.current_thread())

    for register in (source.on_status, source.on_error, source.on("message")):
        register(note)
    with source:
        source.run()
    assert len(threads) > 5
    assert set(threads) == {threading.main_thread()}


def test_coroutine_functions_are_refused() -> None:
    source, _ = source_of()

    async def never(received: ReceivedEvent) -> None: ...

    with pytest.raises(TypeError, match="AsyncSource"):
        source.on("message", never)


def test_callbacks_that_raise_are_reported() -> None:
    source, _ = source_of(Reply(connected(), event(5), event(6), DONE))
    errors: list[Exception] = []
    source.on_error(errors.append)

    @source.on("message")
    def bad(received: ReceivedEvent) -> None:
        raise ZeroDivisionError

    with source:
        assert [received.data for received in source.events("message")] == [5, 6]
    assert [type(error.__cause__) for error in errors] == [ZeroDivisionError] * 2


def test_what_the_loop_raises_is_raised_and_the_event_comes_again() -> None:
    cursor = MemoryCursor()
    source, _ = source_of(Reply(connected(values=None) + event(5) + event(6), HANG), cursor=cursor)

    def work() -> None:
        with source:
            for received in source:
                if received.data == 6:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert cursor.load() == "k3v9-5"
    assert threading.active_count() == 1


def test_it_can_be_opened_again() -> None:
    source, script = source_of(
        Reply(connected(values=None) + event(5) + event(6), HANG), Reply(connected("k3v9-5", mode="resumed"), DONE)
    )
    with source:
        assert next(source).data == 5
    with source:
        assert list(source) == []
    assert script.ids == [None, "k3v9-5"]


def test_values_are_held() -> None:
    source, script = source_of(
        Reply(connected(retry=1), change("k3v9-5", "set", '"a"') + change("k3v9-6", "append", "1"), HANG),
        Reply(connected("k3v9-6~0", mode="resumed", values="changed"), change("k3v9-6", "set", '"b"'), DONE),
    )
    with source:
        assert [received.data for received in source] == ["a", 1, "b"]
        assert source.value("task") == "b"
    assert script.ids == [None, "k3v9-6~0"]


def test_it_can_be_told_from_any_thread() -> None:
    source, script = source_of(
        Reply(connected(), event(5), HANG),
        Reply(connected("k3v9-5", mode="resumed"), event(6), HANG),
        Reply(connected("k3v9-6~0", mode="resumed"), event(7), HANG),
        Reply(connected("k3v9-7~0", mode="resumed"), event(8), DONE),
    )

    def tell(order: Any) -> None:
        thread = threading.Thread(target=order)
        thread.start()
        thread.join(SECONDS)

    with source:
        assert next(source).data == 5
        tell(source.reconnect)
        assert next(source).data == 6
        tell(lambda: source.subscribe("sport"))
        assert next(source).data == 7
        tell(lambda: source.unsubscribe("sport"))
        assert next(source).data == 8
    assert script.ids == [None, "k3v9-5", "k3v9-6~0", "k3v9-7~0"]


def test_pausing() -> None:
    source, script = source_of(
        Reply(connected(), event(5), HANG), Reply(connected("k3v9-5", mode="resumed"), event(6), DONE)
    )
    paused: list[Any] = []
    source.on_status(lambda status: paused.append(status.state) if status.state is State.PAUSED else None)
    with source:
        assert next(source).data == 5
        source.pause()
        while not paused:
            with pytest.raises(TimeoutError):
                source.receive(timeout_seconds=0.01)
        assert len(script.requests) == 1
        source.resume()
        assert next(source).data == 6


def test_a_cursor_that_cannot_be_stored_is_reported() -> None:
    class Broken(MemoryCursor):
        def save(self, last_event_id: str) -> None:
            raise OSError("disk full")

    errors: list[Any] = []
    source, _ = source_of(Reply(connected(), event(5), DONE), cursor=Broken())
    source.on_error(errors.append)
    with source:
        assert [received.data for received in source] == [5]
    assert {type(error) for error in errors} == {CursorNotSaved}


def test_a_slow_reader_is_not_read_ahead_for() -> None:
    """What is read and not asked for is bounded by one read of the network."""
    read: list[int] = []

    class Endless(Reply):
        async def chunks(self) -> AsyncGenerator[bytes, None]:
            yield connected()
            for number in range(5, 1_000):
                read.append(number)
                yield event(number)

    source, _ = source_of(Endless())
    with source:
        for expected in range(5, 50):
            assert next(source).data == expected
            assert len(read) <= expected - 5 + 2


def test_several_sources_in_several_threads() -> None:
    results: dict[int, list[Any]] = {}

    def work(index: int) -> None:
        frames = [event(number) for number in range(5, 200)]
        source, _ = source_of(Reply(connected(), *frames, DONE))
        with source:
            results[index] = [received.data for received in source]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert results == {index: list(range(5, 200)) for index in range(5)}


def test_wrong_use() -> None:
    source, _ = source_of(Reply(connected(), HANG))
    with pytest.raises(RuntimeError, match="not open"):
        next(source)
    source.close()  # was never open
    with source, pytest.raises(RuntimeError, match="open already"):
        source.open()


def test_the_function_for_the_token_runs_in_another_thread() -> None:
    threads: list[threading.Thread] = []

    def token() -> str:
        threads.append(threading.current_thread())
        return "x"

    source, script = source_of(refuse(204), token=token)
    with source:
        source.run()
    assert threads[0] is not threading.main_thread()
    assert isinstance(script.requests[0], Request)
    assert script.requests[0].header("authorization") == b"Bearer x"

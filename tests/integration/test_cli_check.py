"""`clarion check` against servers that stand for what may be between a hub and its readers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress

import pytest

from clarion.cli import check, main

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\r\n"
CONNECTED = b'id: abcd-0\nevent: connected\ndata: {"heartbeat":100}\n\n'
HEARTBEAT = b"id: abcd-0\nevent: heartbeat\ndata: {}\n\n"

Script = Callable[[asyncio.StreamWriter], Coroutine[None, None, None]]


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """A server that plays `script` to whoever connects."""
    ready = threading.Event()
    stop: list[Callable[[], None]] = []
    url: list[str] = []

    async def serve() -> None:
        ended = asyncio.Event()
        played: set[asyncio.Task[None]] = set()

        async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            played.add(task)
            try:
                await reader.readuntil(b"\r\n\r\n")
                await script(writer)
            except (ConnectionError, asyncio.CancelledError):
                pass
            finally:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

        server = await asyncio.start_server(play, "127.0.0.1", 0)
        url.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/events")
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(ended.set))
        ready.set()
        await ended.wait()
        server.close()
        for task in played:
            task.cancel()
        await asyncio.gather(*played)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield url[0]
    finally:
        stop[0]()
        thread.join()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "FIRST_SECONDS", 0.5)
    monkeypatch.setattr(check, "LATE_SECONDS", 0.4)


async def _healthy(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + CONNECTED)
    while True:
        await asyncio.sleep(0.1)
        writer.write(HEARTBEAT)
        await writer.drain()


async def _holds_back(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD)
    await asyncio.sleep(60)


async def _holds_later_events_back(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + CONNECTED)
    await asyncio.sleep(60)


async def _cuts(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + CONNECTED)
    await asyncio.sleep(0.05)


async def _compresses(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD.replace(b"cache-control", b"content-encoding: gzip\r\ncache-control") + CONNECTED)
    await asyncio.sleep(60)


async def _says_nothing(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def _answers_with_a_page(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi")


async def _refuses(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("script", "status", "told"),
    [
        (_healthy, 0, "the next event came through"),
        (_holds_back, 1, "something holds it back"),
        (_holds_later_events_back, 1, "something holds what comes later back"),
        (_cuts, 1, "a proxy's timeout is too short"),
        (_compresses, 1, "compressed (gzip)"),
        (_says_nothing, 1, "no answer"),
        (_answers_with_a_page, 1, "content type is text/html"),
        (_refuses, 1, "HTTP 503"),
    ],
)
def test_it_tells_what_stands_between(
    script: Script, status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(script) as url:
        assert main(["check", url, "--seconds", "3"]) == status
    assert told in capsys.readouterr().out

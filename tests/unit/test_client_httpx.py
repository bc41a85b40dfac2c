"""The transport over httpx: what it sends, how the library's errors are told, and which library it takes."""

import asyncio
from collections.abc import AsyncIterator
from importlib import import_module
from importlib.util import find_spec
from inspect import isfunction
from typing import Any

import pytest

from clarion.client import AsyncSource, HttpxTransport, RequestImpossible, TransportFailed
from clarion.client.httpx import LIBRARIES, library_name, library_of
from clarion.client.request import Request
from tests.unit.client_script import bye, connected, event

GET = Request("GET", "http://host/events", ((b"accept", b"text/event-stream"),))


@pytest.fixture(params=[name for name in LIBRARIES if find_spec(name) is not None])
def library(request: pytest.FixtureRequest) -> Any:
    """Each of the libraries that is there."""
    return import_module(request.param)


def body_of(library: Any, *parts: Any) -> Any:
    """A body that comes in parts, and notes that it was closed."""

    class Body(library.AsyncByteStream):
        closed = False

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for part in parts:
                if isinstance(part, Exception):
                    raise part
                yield part

        async def aclose(self) -> None:
            self.closed = True

    return Body()


def client_of(library: Any, answer: Any) -> Any:
    """A client whose every request gets an answer: a response, an error, or what a function makes of it."""

    def respond(request: Any) -> Any:
        made = answer(request) if isfunction(answer) else answer
        if isinstance(made, Exception):
            raise made
        return made

    return library.AsyncClient(transport=library.MockTransport(respond), timeout=0.01)


async def test_a_source_reads_over_it(library: Any) -> None:
    body = body_of(library, connected(), event(5), bye("done", id="k3v9-5.done"))
    answer = library.Response(200, headers={"content-type": "text/event-stream"}, stream=body)
    async with client_of(library, answer) as client:
        async with AsyncSource("http://host/events", transport=HttpxTransport(client)) as source:
            assert [received.data async for received in source] == [5]
        assert not client.is_closed  # it is its owner's
    assert body.closed


async def test_what_is_sent(library: Any) -> None:
    seen: list[Any] = []

    def answer(request: Any) -> Any:
        seen.append(request)
        return library.Response(307, headers={"Location": "/x", "X-Y": "z"}, stream=body_of(library, b"a", b"b"))

    request = Request("POST", "http://host/e?a=%2F", ((b"last-event-id", "\u00e9".encode()), (b"x", b"y")), b"body")
    async with client_of(library, answer) as client:
        response = await HttpxTransport(client).send(request)
        assert (response.status, response.header("location"), response.header("x-none")) == (307, "/x", None)
        assert [part async for part in response.chunks()] == [b"a", b"b"]
        await response.aclose()
        await response.aclose()
    (sent,) = seen
    assert (sent.method, sent.url.raw_path, sent.content) == ("POST", b"/e?a=%2F", b"body")
    assert (b"last-event-id", "\u00e9".encode()) in [(name.lower(), value) for name, value in sent.headers.raw]
    assert sent.extensions["timeout"] == {"connect": None, "read": None, "write": None, "pool": None}


@pytest.mark.parametrize("name", ["ConnectError", "ReadTimeout", "RemoteProtocolError", "ProxyError"])
@pytest.mark.parametrize("said", ["said", ""])
async def test_failures_of_the_network(name: str, said: str, library: Any) -> None:
    error = getattr(library, name)(said)
    async with client_of(library, error) as client:
        with pytest.raises(TransportFailed) as failed:
            await HttpxTransport(client).send(GET)
    assert failed.value.__cause__ is error
    assert str(failed.value) == (said or name)


async def test_a_stream_that_breaks(library: Any) -> None:
    body = body_of(library, b"a", library.ReadError("cut"))
    async with client_of(library, library.Response(200, stream=body)) as client:
        response = await HttpxTransport(client).send(GET)
        with pytest.raises(TransportFailed, match="cut"):
            _ = [part async for part in response.chunks()]
        await response.aclose()
    assert body.closed


@pytest.mark.parametrize("name", ["LocalProtocolError", "UnsupportedProtocol", "InvalidURL"])
async def test_what_cannot_be_asked_for(name: str, library: Any) -> None:
    async with client_of(library, getattr(library, name)("secret")) as client:
        with pytest.raises(RequestImpossible) as impossible:
            await HttpxTransport(client).send(GET)
    assert "secret" not in str(impossible.value)


async def test_a_client_that_was_given_is_not_closed(library: Any) -> None:
    async with client_of(library, None) as client:
        await HttpxTransport(client).aclose()
        assert not client.is_closed


async def test_a_source_closes_the_client_that_it_made() -> None:
    source = AsyncSource("http://127.0.0.1:1/events")
    async with source:
        await asyncio.sleep(0)
        transport = source._transport
    assert isinstance(transport, HttpxTransport)
    assert transport._client.is_closed


@pytest.mark.parametrize(("there", "taken"), [(["httpx", "httpx2"], "httpx2"), (["httpx"], "httpx")])
def test_httpx2_is_taken_where_it_is_installed(there: list[str], taken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.client.httpx.find_spec", lambda name: name if name in there else None)
    assert library_name() == taken


def test_the_library_of_a_client_is_where_its_class_is_from(library: Any) -> None:
    class Mine(library.AsyncClient):
        pass

    assert library_of(Mine()) is library
    with pytest.raises(TypeError, match="not a int"):
        library_of(5)


def test_without_any_library_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.client.httpx.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"clarion\[client\]"):
        HttpxTransport()

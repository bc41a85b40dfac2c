"""The transport over httpx, or over httpx2 where it is installed. The one file of the client that names them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, cast

from clarion.client.errors import RequestImpossible, TransportFailed
from clarion.client.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

LIBRARIES: Final = ("httpx2", "httpx")  # the first that is there


class HttpxTransport:
    """Sends over an `httpx.AsyncClient`.

    client: one of your own, with proxies, certificates or cookies; you close it, its timeouts do not count here, and
    redirects are followed by the source. None: one is made.
    """

    def __init__(self, client: httpx.AsyncClient | None = None) -> None:
        self._library = library_of(client) if client is not None else import_module(library_name())
        self._own = client is None
        self._client = self._library.AsyncClient() if client is None else client

    async def send(self, request: Request) -> HttpxResponse:
        """See `Transport.send`."""
        with translated(self._library):
            message = self._client.build_request(
                request.method,
                request.url,
                headers=list(request.headers),
                content=request.body,
                # Silence is no error on a stream, and the source has an eye on everything that takes too long.
                timeout=self._library.Timeout(None),
            )
            response = await self._client.send(message, stream=True, follow_redirects=False)
        return HttpxResponse(response, self._library)

    async def aclose(self) -> None:
        """See `Transport.aclose`."""
        if self._own:
            await self._client.aclose()


class HttpxResponse:
    """See `clarion.client.transport.Response`."""

    def __init__(self, response: httpx.Response, library: Any) -> None:
        self._response = response
        self._library = library

    @property
    def status(self) -> int:
        """See `Response.status`."""
        return self._response.status_code

    def header(self, name: str) -> str | None:
        """See `Response.header`."""
        value: str | None = self._response.headers.get(name)
        return value

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """See `Response.chunks`."""
        with translated(self._library):
            # It is a generator, whatever its type says: one that is not closed would keep its connection.
            generator = cast("AsyncGenerator[bytes, None]", self._response.aiter_bytes())
            async with aclosing(generator) as parts:
                async for part in parts:
                    yield part

    async def aclose(self) -> None:
        """See `Response.aclose`."""
        with translated(self._library):
            await self._response.aclose()


@contextmanager
def translated(library: Any) -> Iterator[None]:
    """The library's errors as ours."""
    try:
        yield
    except (library.LocalProtocolError, library.UnsupportedProtocol, library.InvalidURL) as error:
        raise RequestImpossible(f"this cannot be asked for: {type(error).__name__}") from error
    except (library.HTTPError, library.StreamError) as error:
        raise TransportFailed(str(error) or type(error).__name__) from error


def library_name() -> str:
    """Which of the libraries is there. Raises `ModuleNotFoundError`, saying how to get one."""
    for name in LIBRARIES:
        if find_spec(name) is not None:
            return name
    raise ModuleNotFoundError('clarion.client needs httpx or httpx2: pip install "clarion[client]"', name="httpx")


def library_of(client: Any) -> Any:
    """The module that a client is from, for its errors."""
    for kind in type(client).__mro__:
        name = kind.__module__.partition(".")[0]
        if name in LIBRARIES:
            return import_module(name)
    raise TypeError(f"client must be an AsyncClient of httpx or httpx2, not a {type(client).__name__}")

"""What a source needs of an HTTP client. `clarion.client.httpx` fulfils it; so can anything else, a test for one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from clarion.client.request import Request

__all__ = ["Request", "Response", "Transport"]


class Response(Protocol):
    """An answer whose head has come. The status, and its body as it comes."""

    @property
    def status(self) -> int:
        """The status code."""
        ...

    def header(self, name: str) -> str | None:
        """The value of a header, None if it is not there. name: in any case."""
        ...

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body, with any content coding undone, each part as soon as it is there. Asked for once.

        Raises `TransportFailed` when the connection breaks.
        """
        ...

    async def aclose(self) -> None:
        """Let go of the connection; called in any case, and may be called twice."""
        ...


class Transport(Protocol):
    """Sends requests. It follows no redirects, keeps no time, and is used by one source at a time.

    Each call may be cancelled at any moment, and must then leave no connection behind.
    """

    async def send(self, request: Request) -> Response:
        """Send a request and return when the head of the answer is there.

        Raises `TransportFailed` if the network does not do it, `RequestImpossible` if there can be no such request.
        """
        ...

    async def aclose(self) -> None:
        """Let go of everything. Called once, if the source made the transport itself."""
        ...

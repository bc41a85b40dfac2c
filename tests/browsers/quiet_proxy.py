"""A TCP proxy whose connections fall silent when a test says so, as after a machine's sleep, or without a network."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

TURNS_TO_ACCEPT: Final = 20  # of the loop, until all that was accepted is being served


class QuietProxy:
    """Listens on a port of its own and passes on to `target_port`, which may change at any time.

    In an event loop and a thread of its own, from `with` to its end.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.connections = 0  # so far
        self._passes = True  # what comes anew
        self._silent: set[asyncio.StreamWriter] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None] | None] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="quiet proxy")

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def silence(self) -> None:
        """No connection that is there now will ever say anything again, and none is closed. New ones work."""
        self._do(lambda: self._silent.update(self._open))

    def stop(self) -> None:
        """As `silence`, and new ones get no answer either."""
        self._do(lambda: self._set_passes(False))
        self.silence()

    def go_on(self) -> None:
        """New ones work again. The silent ones stay silent."""
        self._do(lambda: self._set_passes(True))

    def refuse(self) -> None:
        """Cut all connections, and new ones as soon as they come."""
        self.target_port = 0
        self.cut()

    def cut(self) -> None:
        """Cut all connections."""
        self._do(self._cut)

    def _set_passes(self, passes: bool) -> None:
        self._passes = passes

    def _cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    def _do(self, what: Callable[[], None]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(what)
        self._loop.call_soon_threadsafe(done.set)
        assert done.wait(10)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve_one, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ending.wait()
        server.close()
        for _ in range(TURNS_TO_ACCEPT):
            self._cut()
            await asyncio.sleep(0)
        await asyncio.gather(*(task for task in self._serving if task is not None), return_exceptions=True)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        self._serving.add(task)
        self._open.add(writer)
        if not self._passes:
            self._silent.add(writer)
        copies: list[asyncio.Future[None]] = []
        to_server: asyncio.StreamWriter | None = None
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self.target_port)
            copies = [
                asyncio.ensure_future(self._copy(reader, to_server, writer)),
                asyncio.ensure_future(self._copy(from_server, writer, writer)),
            ]
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for copy in copies:
                copy.cancel()
            await asyncio.gather(*copies, return_exceptions=True)
            self._serving.discard(task)
            self._open.discard(writer)
            self._silent.discard(writer)
            for end in (writer, to_server):
                if end is not None:
                    end.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, client: asyncio.StreamWriter) -> None:
        """Until the end, or for ever if the client's connection is silent."""
        while data := await reader.read(65_536):
            if client in self._silent:
                await asyncio.Event().wait()
            to.write(data)
            await to.drain()

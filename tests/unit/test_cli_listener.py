"""`clarion listen` against a server of scripted answers: resuming, waiting, giving up, noticing dead streams."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx
import pytest

from clarion.cli.listener import Listener
from clarion.client import HttpxTransport, Status
from clarion.parser import Message
from clarion.testing import ManualClock
from tests.unit.client_script import idle, until

STREAM = {"content-type": "text/event-stream; charset=utf-8"}
HELLO = (
    b"retry: 2000\nid: k3v9-4\nevent: connected\n"
    b'data: {"clientId":"c1","mode":"live","from":"k3v9-4","to":"k3v9-4","heartbeat":0}\n\n'
)
NEWS = b"id: k3v9-5\ntopic: news\ndata: 5\n\n"
DONE = b'retry: 10\nid: k3v9-5.done\nevent: bye\ndata: {"reason":"done","retry":10}\n\n'
SILENCE = object()  # nothing more, and the connection stays open


class Body(httpx.AsyncByteStream):
    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            if part is SILENCE:
                await asyncio.Event().wait()
            elif isinstance(part, Exception):
                raise part
            else:
                yield part


def stream(*parts: Any) -> Callable[[], httpx.Response]:
    return lambda: httpx.Response(200, headers=STREAM, stream=Body(parts))


def status(code: int, **headers: str) -> Callable[[], httpx.Response]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: httpx.Response(code, headers=named, json={"detail": "because"})


class Run:
    """A listener's whole life: what it asked, showed, told and waited for. The clock runs while it waits.

    chance: 1.0 waits as long as it may be, 0.0 as short.
    """

    def __init__(self, *answers: Any, chance: float = 1.0, **options: Any) -> None:
        self.requests: list[httpx.Request] = []
        self.shown: list[Message] = []
        self.told: list[str] = []
        self.waits: list[float] = []
        self.clock = ManualClock()
        self._answers = list(answers)
        self._chance = chance
        self._options = options

    async def __call__(self) -> int:
        async with httpx.AsyncClient(transport=httpx.MockTransport(self._answer)) as client:
            listener = Listener(
                self._options.pop("url", "http://host/events"),
                show=self.shown.append,
                tell=self.told.append,
                transport=HttpxTransport(client),
                clock=self.clock,
                random=lambda: self._chance,
                **self._options,
            )
            listener.source.on_status(self._note)
            async with asyncio.timeout(5):
                return await listener.run()

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer()

    def _note(self, status: Status) -> None:
        if status.delay_seconds is not None:
            self.waits.append(status.delay_seconds)
            asyncio.get_running_loop().call_soon(self.clock.advance, status.delay_seconds + 0.001)

    @property
    def ids(self) -> list[str | None]:
        return [request.headers.get("last-event-id") for request in self.requests]


async def test_events_are_shown_and_what_the_stream_says_of_itself_is_told() -> None:
    heartbeat = b'id: k3v9-5\nevent: heartbeat\ndata: {"timestamp":1}\n\n'
    run = Run(stream(HELLO, NEWS, heartbeat, DONE))
    assert await run() == 0
    assert run.shown == [Message("message", "5", "k3v9-5", "news")]
    assert run.told == ["connected (live)", "the stream is complete"]


async def test_a_gap_is_shown() -> None:
    gap = b'id: k3v9-9\nevent: gap\ndata: {"reason":"expired","requested":null,"oldest":"k3v9-10","missed":4}\n\n'
    run = Run(stream(HELLO, gap, DONE))
    await run()
    assert [message.type for message in run.shown] == ["gap"]


async def test_other_peoples_events_of_those_names_are_shown() -> None:
    run = Run(stream(b"event: bye\ndata: see you\n\n", b"event: connected\ndata: 1\n\n"), status(204))
    assert await run() == 0
    assert [message.data for message in run.shown] == ["see you", "1"]


async def test_it_resumes_after_the_last_id_and_waits_as_told() -> None:
    run = Run(stream(HELLO, NEWS), stream(b"id: k3v9-6\ndata: 6\n\n", httpx.ReadError("cut")), stream(DONE))
    assert await run() == 0
    assert run.ids == [None, "k3v9-5", "k3v9-6"]
    assert run.waits == [2.0, 4.0]
    assert run.told[1] == "the stream broke off; again in 2.0 s"


async def test_an_incomplete_last_event_is_not_shown_and_not_skipped() -> None:
    run = Run(stream(HELLO, b"id: k3v9-5\ndata: 5\n"), stream(DONE))
    await run()
    assert run.shown == []
    assert run.ids == [None, "k3v9-4"]


async def test_waits_double_after_failures_in_a_row_and_opening_alone_is_no_success() -> None:
    down = httpx.ConnectError("refused")
    run = Run(stream(HELLO), *[down] * 6, stream(HELLO), down, stream(DONE))
    assert await run() == 0
    assert run.waits == [2, 4, 8, 16, 30, 30, 30, 30, 30]


async def test_waits_are_jittered() -> None:
    run = Run(stream(HELLO), stream(DONE), chance=0.0)
    assert await run() == 0
    assert run.waits == [1.0]  # of up to 2


@pytest.mark.parametrize("code", [429, 500, 502, 503])
async def test_a_server_that_is_full_or_broken_is_asked_again_no_sooner_than_it_says(code: int) -> None:
    run = Run(status(code, retry_after="40"), status(code, retry_after="nonsense"), status(204), chance=0.0)
    assert await run() == 0
    assert run.waits == [40.0, 1.5]
    assert "because" in run.told[0]


async def test_retry_after_may_be_a_date() -> None:
    run = Run(status(503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"), status(204))
    assert await run() == 0
    assert run.waits == [3.0]  # long past
    run = Run(status(503, retry_after="Fri, 01 Jan 2100 00:00:00 GMT"), status(204))
    await run()
    assert run.waits[0] > 1e6  # as long as a timer can be


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422])
async def test_who_is_refused_does_not_come_back(code: int) -> None:
    run = Run(status(code))
    assert await run() == 1
    assert run.waits == []
    assert run.told[0].startswith(f"refused: {code} ")


async def test_what_is_no_event_stream_is_said() -> None:
    run = Run(lambda: httpx.Response(200, html="<p>hello"))
    assert await run() == 1
    assert run.told == ["this is no event stream, but text/html; charset=utf-8"]


async def test_204_is_the_end() -> None:
    run = Run(status(204))
    assert await run() == 0


async def test_kicked_is_the_end_and_says_why() -> None:
    kicked = b'retry: 10\nevent: bye\ndata: {"reason":"kicked","retry":10,"detail":"too loud\\u001b[2J"}\n\n'
    run = Run(stream(HELLO, kicked))
    assert await run() == 1
    assert run.told[-1] == "the server has ended this stream: too loud\\u001b[2J"


@pytest.mark.parametrize("reason", ["drain", "limit", "expired"])
async def test_after_any_other_bye_it_comes_back_when_it_is_told_to(reason: str) -> None:
    bye = b'retry: 7000\nevent: bye\ndata: {"reason":"%b","retry":7000}\n\n' % reason.encode()
    run = Run(stream(HELLO, NEWS, bye), stream(DONE))
    assert await run() == 0
    assert (run.waits, run.ids) == ([10.5], [None, "k3v9-5"])  # jitter comes on top of what it says


async def test_a_dead_stream_is_noticed_by_the_heartbeat_that_was_announced() -> None:
    hello = HELLO.replace(b'"heartbeat":0', b'"heartbeat":5')
    run = Run(stream(hello, SILENCE), stream(DONE))
    task = asyncio.ensure_future(run())
    await until(lambda: run.told)
    await idle()
    run.clock.advance(0.011)
    assert await task == 0
    assert "the connection is dead" in run.told[1]


async def test_who_announces_no_heartbeat_may_be_silent() -> None:
    run = Run(stream(HELLO, SILENCE))
    task = asyncio.ensure_future(run())
    await until(lambda: run.told)
    run.clock.advance(86_400)
    await idle()
    assert run.told == ["connected (live)"]
    task.cancel()


async def test_what_is_asked_for_is_sent() -> None:
    run = Run(
        status(204),
        url="http://host/events?a=b",
        topics=["x/*", "y"],
        since="5m",
        headers=[(b"authorization", b"Bearer secret")],
        last_event_id="k3v9-1",
    )
    await run()
    (request,) = run.requests
    assert request.url.params.multi_items() == [("a", "b"), ("topic", "x/*"), ("topic", "y"), ("since", "5m")]
    assert request.headers["authorization"] == "Bearer secret"
    assert request.headers["accept"] == "text/event-stream"
    assert run.ids == ["k3v9-1"]


async def test_an_event_that_is_too_large_is_skipped_and_told() -> None:
    huge = b"data: " + b"x" * (17 * 1024 * 1024) + b"\n\n"
    run = Run(stream(HELLO, NEWS + huge, b"id: k3v9-6\ndata: 6\n\n", DONE))
    assert await run() == 0
    assert [message.data for message in run.shown] == ["5", "6"]
    assert run.told[1].startswith("an event is skipped")

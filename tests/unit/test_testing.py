"""The test kit, used as its users would: on FastAPI and Starlette apps, on Clarion's streams and on others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sse_starlette
from fastapi import FastAPI
from fastapi.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from clarion import Hub
from clarion.subscription import State
from clarion.testing import ManualClock, RecordingSink, StreamEnded, read_events, running


def app_of(hub: Hub, **options: Any) -> FastAPI:
    app = FastAPI(lifespan=hub.lifespan)

    @app.get("/events")
    async def events(user: str | None = None) -> Response:
        return hub.stream(topics=["news"], user=user, **options)

    return app


def streaming(*parts: bytes, hold: bool = False) -> Starlette:
    """An app with a stream that somebody else wrote."""

    async def body() -> AsyncIterator[bytes]:
        for part in parts:
            yield part
        if hold:
            await asyncio.Event().wait()

    async def endpoint(request: Request) -> Response:
        return StreamingResponse(body(), media_type="text/event-stream")

    return Starlette(routes=[Route("/events", endpoint)])


# Reading.


async def test_the_next_event_of_a_fastapi_app() -> None:
    hub = Hub()
    async with read_events(app_of(hub), "/events") as events:
        await hub.publish("news", {"n": 1}, event="note")
        event = await events.next(timeout=1)
        assert (event.type, event.topic, event.data, event.text) == ("note", "news", {"n": 1}, '{"n":1}')
        assert event.id.endswith("-1")


async def test_the_next_event_of_a_starlette_app() -> None:
    hub = Hub()

    async def endpoint(request: Request) -> Response:
        return hub.stream(topics=["news"])

    app = Starlette(routes=[Route("/events", endpoint)], lifespan=hub.lifespan)
    async with read_events(app, "/events") as events:
        await hub.publish("news", 1)
        assert (await events.next()).data == 1


async def test_status_headers_and_what_connected_said() -> None:
    hub = Hub()
    async with read_events(app_of(hub), "/events?user=ann") as events:
        assert events.status == 200
        assert events.headers["Cache-Control"] == "no-store"
        assert events.connected is not None
        assert events.connected["mode"] == "live"
        assert events.connected["clientId"] == hub.clients(user="ann")[0].id


async def test_params_headers_and_the_address_are_what_the_app_sees() -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(
            f"{request.query_params.multi_items()} {request.headers['x-a']} {request.client} "
            f"{request.headers['last-event-id']} {request.url.path}"
        )

    app = Starlette(routes=[Route("/a b", endpoint)])
    params = {"topic": ["x", "y"], "q": "&"}
    async with read_events(
        app, "/a%20b?z=1", params=params, headers={"X-A": "b"}, last_event_id="k3v9-1", client=("10.0.0.1", 7)
    ) as events:
        told = events.body.decode()
    assert "[('z', '1'), ('topic', 'x'), ('topic', 'y'), ('q', '&')] b " in told
    assert "host='10.0.0.1', port=7) k3v9-1 /a b" in told


async def test_a_stream_resumes() -> None:
    hub = Hub()
    app = app_of(hub)
    async with hub:  # somebody else has opened it: no lifespan
        first = await hub.publish("news", 1)
        await hub.publish("news", 2)
        async with read_events(app, "/events", last_event_id=first.id, lifespan=False) as events:
            assert events.connected is not None
            assert events.connected["mode"] == "resumed"
            assert (await events.next()).data == 2


async def test_what_the_stream_says_of_itself_is_passed_over_unless_asked_for() -> None:
    clock = ManualClock()
    hub = Hub(clock=clock, heartbeat_seconds=10)
    async with read_events(app_of(hub), "/events") as events:
        clock.advance(10)
        assert [(await events.next(skip=())).type for _ in range(2)] == ["connected", "heartbeat"]
        clock.advance(10)
        await hub.publish("news", 1)
        assert (await events.next()).type == "message"
    async with read_events(app_of(hub), "/events", skip=()) as events:
        assert (await events.next()).type == "connected"


async def test_what_came_instead_is_said() -> None:
    hub = Hub()
    async with read_events(app_of(hub), "/events") as events:
        await hub.publish("news", {"n": 1})
        await events.next()
        with pytest.raises(TimeoutError) as late:
            await events.next(timeout=0.01)
        told = str(late.value)
        assert told.startswith(
            "no event within 0.01 s. The stream is open and has given 2 in all, in order: connected "
        )
        assert told.endswith('message on news {"n":1}')


async def test_none_is_none() -> None:
    hub = Hub()
    async with read_events(app_of(hub), "/events") as events:
        await events.none(0.01)
        await hub.publish("news", 1)
        with pytest.raises(AssertionError, match="message on news 1"):
            await events.none(1)
        await hub.kick(user=None, client=hub.clients()[0].id)
        await events.end()
        with pytest.raises(StreamEnded):
            await events.none(1)


async def test_the_end_of_a_stream() -> None:
    hub = Hub()
    async with read_events(app_of(hub), "/events?user=ann") as events:
        await hub.publish("news", 1)
        await hub.kick(user="ann", reason="done")
        assert [event.type for event in await events.end()] == ["message", "bye"]
        assert events.ended
        with pytest.raises(StreamEnded, match="has ended and has given 3"):
            await events.next()


async def test_a_stream_that_does_not_end_is_said() -> None:
    async with read_events(app_of(Hub()), "/events") as events:
        with pytest.raises(TimeoutError, match=r"did not end within 0.01 s. The stream is open"):
            await events.end(timeout=0.01)


async def test_iterating_to_the_end() -> None:
    app = streaming(b"data: 1\n\ndata: 2\n\n", b"event: x\ndata: 3\n\n")
    async with read_events(app, "/events") as events:
        assert [(event.type, event.data) async for event in events] == [("message", 1), ("message", 2), ("x", 3)]


async def test_two_readers_of_one_app_share_its_life() -> None:
    hub = Hub()
    app = app_of(hub)
    async with read_events(app, "/events") as one:
        async with read_events(app, "/events") as two:
            assert hub.client_count == 2
            await hub.publish("news", 1)
            assert (await one.next()).data == (await two.next()).data == 1
        await hub.publish("news", 2)
        assert (await one.next()).data == 2
    assert hub.client_count == 0


async def test_leaving_hangs_up_and_waits_for_the_app() -> None:
    hub = Hub()
    gone: list[str] = []
    hub.on_disconnect(lambda client, reason: gone.append(reason))
    app = app_of(hub)
    async with running(app):
        async with read_events(app, "/events"):
            assert hub.client_count == 1
        assert hub.client_count == 0
    assert gone == ["disconnected"]


async def test_an_answer_that_is_no_stream() -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("you may not", 403)

    async with read_events(Starlette(routes=[Route("/events", endpoint)]), "/events") as events:
        assert (events.status, events.body, events.connected) == (403, b"you may not", None)
        with pytest.raises(StreamEnded, match="no event stream: status 403, b'you may not'"):
            await events.next()


async def test_what_the_app_raises_is_raised_once() -> None:
    async def at_once(request: Request) -> Response:
        raise LookupError("at once")

    async def body() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await asyncio.sleep(0.01)
        raise LookupError("later")

    async def later(request: Request) -> Response:
        return StreamingResponse(body(), media_type="text/event-stream")

    app = Starlette(routes=[Route("/at-once", at_once), Route("/later", later)])
    with pytest.raises(LookupError, match="at once"):
        async with read_events(app, "/at-once"):
            pass
    async with read_events(app, "/later") as events:
        assert (await events.next()).data == 1
        with pytest.raises(LookupError, match="later"):
            await events.next()
    with pytest.raises(LookupError, match="later"):
        async with read_events(app, "/later") as events:
            await asyncio.sleep(0.05)


async def test_what_the_test_raises_comes_first() -> None:
    with pytest.raises(ZeroDivisionError):
        async with read_events(app_of(Hub()), "/events"):
            raise ZeroDivisionError


async def test_an_app_that_does_not_notice_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.testing.reading.LEAVE_SECONDS", 0.01)

    async def deaf(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError, match="still ran"):
        async with read_events(deaf, "/", lifespan=False):
            pass


async def test_an_app_that_does_not_answer_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.testing.reading.OPEN_SECONDS", 0.01)

    async def mute(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await receive()

    with pytest.raises(TimeoutError, match="did not answer /x"):
        async with read_events(mute, "/x", lifespan=False):
            pass


async def test_an_app_that_never_stops_sending_cannot_hang_a_test() -> None:
    async def endless(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while True:
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})

    async with read_events(endless, "/", lifespan=False) as events:
        assert [(await events.next()).data for _ in range(20_000)] == [1] * 20_000


# Streams of other libraries.


async def test_a_stream_of_sse_starlette() -> None:
    async def body() -> AsyncIterator[dict[str, str]]:
        yield {"event": "note", "data": "hello", "id": "1"}
        await asyncio.Event().wait()

    async def endpoint(request: Request) -> Response:
        return sse_starlette.EventSourceResponse(body())

    async with read_events(Starlette(routes=[Route("/events", endpoint)]), "/events") as events:
        event = await events.next()
        assert (event.type, event.text, event.id, events.connected) == ("note", "hello", "1", None)
        with pytest.raises(ValueError, match="not JSON"):
            _ = event.data


async def test_a_stream_of_fastapi() -> None:
    app = FastAPI()

    @app.get("/events", response_class=EventSourceResponse)
    async def stream() -> AsyncIterator[dict[str, int]]:
        yield {"n": 1}
        await asyncio.Event().wait()

    async with read_events(app, "/events") as events:
        assert (await events.next()).data == {"n": 1}


async def test_a_stream_that_is_held_open_by_a_generator() -> None:
    async with read_events(streaming(b"data: 1\n\n", hold=True), "/events") as events:
        assert (await events.next()).data == 1
        await events.none(0.01)


# Lifespans.


async def test_a_lifespan_gives_its_state() -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, int]]:
        yield {"n": 7}

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(str(request.state.n))

    app = Starlette(routes=[Route("/", endpoint)], lifespan=lifespan)
    async with running(app) as state:
        assert state == {"n": 7}
        async with read_events(app, "/") as events:
            assert events.body == b"7"


@pytest.mark.parametrize("phase", ["startup", "shutdown"])
async def test_what_a_lifespan_raises_is_raised(phase: str) -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if phase == "startup":
            raise LookupError(phase)
        yield
        raise LookupError(phase)

    entered = False
    with pytest.raises(LookupError, match=phase):
        async with running(Starlette(lifespan=lifespan)):
            entered = True
    assert entered == (phase == "shutdown")


async def test_an_app_without_a_lifespan_is_none_the_worse() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await PlainTextResponse("hello")(scope, receive, send)

    async with read_events(app, "/") as events:
        assert events.body == b"hello"


async def test_an_app_lives_again_after_it_was_left() -> None:
    hub = Hub()
    app = app_of(hub)
    for _ in range(2):
        async with read_events(app, "/events") as events:
            await hub.publish("news", 1)
            assert (await events.next()).data == 1


# The clock.


def test_the_clock_stands_still_until_it_is_turned() -> None:
    clock = ManualClock(wall_ms=5_000)
    assert (clock.monotonic_ms(), clock.wall_ms()) == (0, 5_000)
    clock.advance(1.5)
    assert (clock.monotonic_ms(), clock.wall_ms()) == (1_500, 6_500)
    clock.jump_wall(-3)
    assert (clock.monotonic_ms(), clock.wall_ms()) == (1_500, 3_500)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)


def test_timers_are_called_in_order_each_at_its_moment() -> None:
    clock = ManualClock()
    called: list[tuple[str, int]] = []

    def note(name: str) -> None:
        called.append((name, clock.monotonic_ms()))

    def again() -> None:
        note("again")
        clock.call_later(100, lambda: note("made meanwhile"))

    clock.call_later(300, lambda: note("c"))
    clock.call_later(100, again)
    clock.call_later(300, lambda: note("d"))
    cancelled = clock.call_later(50, lambda: note("never"))
    cancelled.cancel()
    clock.call_later(1_000, lambda: note("later"))
    clock.advance(0.3)
    assert called == [("again", 100), ("made meanwhile", 200), ("c", 300), ("d", 300)]
    assert clock.waiting == 1
    clock.advance(0.7)
    assert called[-1] == ("later", 1_000)


# The recording sink.


async def settle() -> None:
    """Let everything happen that is under way; nothing here waits for anything outside."""
    for _ in range(100):
        await asyncio.sleep(0)


async def publish(hub: Hub, topic: str, *data: Any) -> None:
    await hub.publish_many([(topic, one) for one in data])
    await settle()


async def test_the_sink_records_what_each_reader_gets() -> None:
    async with Hub() as hub:
        sink = RecordingSink(hub)
        news, both = sink.join("a", "news"), sink.join("b", "news", "orders/*", user="ann")
        assert [client.id for client in hub.clients(topic="news")] == ["a", "b"]
        await publish(hub, "news", 1)
        await publish(hub, "orders/7", 2)
        await hub.send_to_user("ann", 3)
        await settle()
        assert [event.data for event in news.received()] == [1]
        assert [(event.topic, event.data) for event in both.received()] == [
            ("news", 1),
            ("orders/7", 2),
            ("@user/ann", 3),
        ]
        await hub.kick(user="ann")
        await settle()
        assert (both.received()[-1].type, both.state) == ("bye", State.CLOSED)
        assert hub.client_count == 1


@pytest.mark.parametrize("count", [3, 12])  # from the log, and from the journal since the log holds four
async def test_a_stalled_reader_falls_behind_and_reads_on_when_it_is_resumed(count: int) -> None:
    async with Hub() as hub:
        hub._open_engine().log._max_entries = 4
        sink = RecordingSink(hub)
        healthy, slow = sink.join("a", "news"), sink.join("b", "news")
        await publish(hub, "news", 0)
        sink.stall(slow)
        for number in range(1, count + 1):
            await publish(hub, "news", number)
        assert slow.state is State.BEHIND
        assert slow.blocked
        assert [event.data for event in slow.received()] == [0]
        sink.resume(slow)
        await settle()
        assert slow.state is State.LIVE
        assert [event.data for event in slow.received()] == list(range(count + 1))
        assert slow.received() == healthy.received()


@pytest.mark.parametrize("live", [False, True])
async def test_a_reader_may_be_cut_off_in_the_middle_of_a_block(live: bool) -> None:
    async with Hub() as hub:
        sink = RecordingSink(hub)
        if live:
            reader = sink.join("a", "news")
            await settle()
            sink.stall(reader, after=2)
            await publish(hub, "news", 1, 2, 3, 4)
        else:
            await publish(hub, "news", 1, 2, 3, 4)
            reader = sink.join("a", "news", after=0)
            sink.stall(reader, after=2)
            await settle()
        assert [event.data for event in reader.received()] == [1, 2]
        assert reader.cursor == 2
        sink.resume(reader)
        await settle()
        assert [event.data for event in reader.received()] == [1, 2, 3, 4]

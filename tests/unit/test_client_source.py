"""The asynchronous source over scripted answers: resuming, waiting, giving up, noticing, and what it gives out."""

import asyncio
import logging
from typing import Any

import pytest

from clarion.client import (
    AsyncSource,
    CallbackRaised,
    EventUnreadable,
    Gap,
    HeadersFailed,
    NotAStream,
    ReceivedEvent,
    Refusal,
    RequestImpossible,
    State,
    StreamKicked,
    StreamRefused,
    TransportFailed,
)
from clarion.errors import EventTooLarge
from tests.unit.client_script import (
    HANG,
    Reply,
    World,
    bye,
    connected,
    event,
    gap,
    heartbeat,
    idle,
    refuse,
    until,
)

DONE = bye("done", id="k3v9-99.done")
DOWN = TransportFailed("connection refused")


def numbers(events: list[ReceivedEvent]) -> list[Any]:
    return [event.data for event in events]


# Reading and coming back.


async def test_events_come_once_and_in_order_over_connections() -> None:
    world = World(
        Reply(connected(), event(5), event(6)),
        Reply(connected("k3v9-6", mode="resumed"), event(6), event(7, '{"a":[1]}', type="order"), DONE),
    )
    async with world.source as source:
        events = await world.rest()
    assert numbers(events) == [5, 6, {"a": [1]}]
    assert events[2] == ReceivedEvent("order", {"a": [1]}, "k3v9-7", "news", None, '{"a":[1]}')
    assert world.script.ids == [None, "k3v9-6"]
    assert world.waits == [1.5]
    assert source.status.state is State.CLOSED
    assert all(reply.closed for reply in world.script.given)


async def test_it_goes_through_its_states_and_says_why() -> None:
    world = World(Reply(connected()), DOWN, Reply(connected("k3v9-4", mode="resumed"), DONE))
    assert world.source.status.state is State.IDLE
    async with world.source:
        await world.rest()
    said = [
        (status.state.value, status.reason, status.connected and status.connected.mode) for status in world.statuses
    ]
    assert said == [
        ("connecting", "", None),
        ("open", "", None),
        ("open", "", "live"),
        ("waiting", "ended", None),
        ("connecting", "", None),
        ("waiting", "network", None),
        ("connecting", "", None),
        ("open", "", None),
        ("open", "", "resumed"),
        ("closed", "done", None),
    ]
    assert world.statuses[5].detail == "connection refused"


async def test_waits_grow_until_a_stream_is_stable() -> None:
    world = World(
        Reply(connected(retry=2000)), DOWN, DOWN, Reply(connected("k3v9-4", mode="resumed")), DOWN, HANG, chance=1.0
    )
    async with world.source:
        task = asyncio.ensure_future(world.source.run())
        await world.run(until(lambda: len(world.script.requests) == 6))
        task.cancel()
    assert world.waits == [2.0, 4.0, 8.0, 16.0, 30.0]


async def test_a_stable_stream_is_no_failure() -> None:
    hangs = Reply(connected(retry=2000, heartbeat=6000), HANG)  # found dead after 12 s
    world = World(DOWN, DOWN, DOWN, hangs, Reply(connected(), DONE), chance=1.0)
    async with world.source:
        task = asyncio.ensure_future(world.rest())
        await until(lambda: world.source.status.state == "open")
        await idle()
        world.clock.advance(12)
        await task
    assert world.waits == [3.0, 6.0, 12.0, 2.0]


async def test_retry_after_is_obeyed() -> None:
    world = World(
        refuse(503, b"busy", retry_after="40"),
        refuse(429, retry_after="Mon, 21 Sep 2026 14:15:00 GMT"),
        refuse(500, retry_after="nonsense"),
        Reply(connected(), DONE),
    )
    async with world.source:
        await world.rest()
    assert world.waits == [40.0, pytest.approx(60, abs=0.1), 1.5]  # it was 14:13:20 when it began
    refused = world.statuses[1].error
    assert isinstance(refused, StreamRefused)
    assert (refused.status_code, refused.body) == (503, b"busy")


@pytest.mark.parametrize("reason", ["drain", "limit", "expired", "of a newer hub"])
async def test_after_a_bye_it_comes_back_no_sooner_than_told(reason: str) -> None:
    world = World(
        DOWN,
        Reply(connected(), event(5), bye(reason, 7000), event(6)),
        Reply(connected("k3v9-5", mode="resumed"), DONE),
    )
    async with world.source:
        assert numbers(await world.rest()) == [5]
    assert world.waits == [1.5, 7.0]
    assert world.reasons[1] == reason


async def test_a_bye_is_no_failure_and_no_success() -> None:
    world = World(
        DOWN, DOWN, Reply(connected(), bye("limit", 1000)), DOWN, Reply(connected("k3v9-4", mode="resumed"), DONE),
        chance=1.0,
    )  # fmt: skip
    async with world.source:
        await world.rest()
    assert world.waits == [3.0, 6.0, 1.5, 4.0]  # `retry:` became one second, and there were two failures before


async def test_who_asks_for_a_connection_now_forgets_the_failures() -> None:
    world = World(DOWN, DOWN, DOWN, DOWN, Reply(connected(), DONE), chance=1.0)
    async with world.source as source:
        task = asyncio.ensure_future(world.rest())
        await until(lambda: len(world.waits) == 1)
        world.clock.advance(3)
        await until(lambda: len(world.waits) == 2)
        source.reconnect()
        await world.run(task)
    assert world.waits == [3.0, 6.0, 3.0, 6.0]


# The end.


async def test_complete_is_the_end_of_the_loop() -> None:
    for reply in (Reply(connected(), DONE), refuse(204)):
        world = World(reply)
        async with world.source:
            assert await world.rest() == []
            assert await world.rest() == []  # and stays so
            assert world.source.status.reason == "done"


async def test_kicked_is_raised() -> None:
    world = World(Reply(connected(), event(5), bye("kicked", detail="too loud")))
    async with world.source:
        assert (await world.next()).data == 5
        with pytest.raises(StreamKicked) as kicked:
            await world.next()
    assert kicked.value.detail == "too loud"
    assert world.source.status.reason == "kicked"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422, 201, 304, 302])
async def test_a_refusal_is_raised(status: int) -> None:
    world = World(refuse(status, b'{"detail":', b'"because"}'))
    async with world.source:
        with pytest.raises(StreamRefused, match=str(status)) as refused:
            await world.rest()
        with pytest.raises(StreamRefused):
            await world.rest()
    assert (refused.value.status_code, refused.value.body) == (status, b'{"detail":"because"}')
    assert "because" not in str(refused.value)
    assert len(world.script.requests) == 1


async def test_what_is_no_stream_is_raised() -> None:
    world = World(refuse(200, b"<p>hello", content_type="text/html"))
    async with world.source:
        with pytest.raises(NotAStream) as error:
            await world.rest()
    assert error.value.content_type == "text/html"


async def test_a_refusal_counts_however_long_its_body_takes() -> None:
    for body in ([HANG], [b"x" * 50_000] * 3, [b"x", DOWN]):
        world = World(refuse(404, *body))
        async with world.source:
            task = asyncio.ensure_future(world.rest())
            await idle()
            world.clock.advance(31)
            with pytest.raises(StreamRefused) as refused:
                await task
        assert len(refused.value.body) <= 65_536
        assert len(world.script.requests) == 1


async def test_a_fault_of_the_transport_is_raised() -> None:
    world = World(Reply(connected(), ZeroDivisionError("a bug")))
    async with world.source:
        with pytest.raises(ZeroDivisionError):
            await world.rest()


# Who asks.


async def test_headers_and_tokens_are_asked_for_before_each_attempt() -> None:
    asked: list[Any] = []

    async def headers(refusal: Refusal | None) -> dict[str, str]:
        asked.append(refusal)
        return {"X-Count": str(len(asked))}

    world = World(DOWN, Reply(connected(), DONE), headers=headers, token=lambda: f"t{len(asked)}")
    async with world.source:
        await world.rest()
    sent = [(request.header("x-count"), request.header("authorization")) for request in world.script.requests]
    assert sent == [(b"1", b"Bearer t1"), (b"2", b"Bearer t2")]
    assert asked == [None, None]


async def test_fixed_headers_are_sent() -> None:
    world = World(refuse(204), headers=iter([(b"X-One", b"1"), ("x-two", "\u00e9")]), token="secret")
    async with world.source:
        await world.rest()
    (request,) = world.script.requests
    assert request.header("x-one") == b"1"
    assert request.header("x-two") == "\u00e9".encode()
    assert request.header("authorization") == b"Bearer secret"
    assert request.header("accept") == b"text/event-stream"


async def test_refused_credentials_are_asked_for_once_more_at_once() -> None:
    asked: list[Refusal | None] = []

    def token(refusal: Refusal | None) -> str:
        asked.append(refusal)
        return "x"

    world = World(
        refuse(401), Reply(connected()),
        refuse(403), Reply(connected("k3v9-4", mode="resumed")),
        refuse(401), refuse(401),
        token=token,
    )  # fmt: skip
    async with world.source:
        with pytest.raises(StreamRefused):
            await world.rest()
    assert asked == [None, Refusal(401), None, Refusal(403), None, Refusal(401)]
    assert world.source.status.reason == "unauthorized"
    assert len(world.waits) == 2  # only after the streams that broke off


async def test_fixed_credentials_that_are_refused_are_not_sent_again() -> None:
    world = World(refuse(401), headers={"authorization": "Bearer x"})
    async with world.source:
        with pytest.raises(StreamRefused):
            await world.rest()
    assert len(world.script.requests) == 1


@pytest.mark.parametrize("given", [ZeroDivisionError(), {"x": "a\nb"}, {"x y": "1"}, 5, {"x": 5}])
async def test_headers_that_cannot_be_had_are_reported_and_asked_for_later(given: Any) -> None:
    answers = [given, {"x": "fine"}]

    def headers() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    world = World(Reply(connected(), DONE), headers=headers)
    async with world.source:
        task = asyncio.ensure_future(world.rest())
        await until(lambda: world.waits)
        world.clock.advance(2)
        await task
    assert [type(error) for error in world.errors] == [HeadersFailed]
    assert world.reasons[0] == "headers"
    assert world.script.requests[0].header("x") == b"fine"


async def test_what_cannot_be_asked_for_is_raised() -> None:
    world = World(RequestImpossible("no"))
    async with world.source:
        with pytest.raises(RequestImpossible):
            await world.rest()
    assert world.source.status.reason == "impossible"


# Noticing.


async def test_a_silent_stream_is_left() -> None:
    world = World(Reply(connected(heartbeat=15_000), event(5), HANG), Reply(connected("k3v9-5", mode="resumed"), DONE))
    async with world.source:
        assert (await world.next()).data == 5
        task = asyncio.ensure_future(world.rest())
        await idle()
        world.clock.advance(29.9)
        await idle()
        assert world.source.status.state == "open"
        world.clock.advance(0.2)
        await task
    assert world.reasons[0] == "silent"
    assert world.script.given[0].closed
    assert world.script.ids == [None, "k3v9-5"]


async def test_every_byte_counts_as_a_sign_of_life() -> None:
    world = World()
    parts: list[Any] = [connected(heartbeat=1_000)]
    for _ in range(10):
        parts += [lambda: world.clock.advance(1.9), b":"]
    world.script.replies = [Reply(*parts, HANG)]
    async with world.source:
        task = asyncio.ensure_future(world.source.run())
        await idle(100)
        assert world.source.status.state == "open"
        assert world.clock.monotonic_ms() == 19_000
        world.clock.advance(2)
        await idle()
        assert world.source.status.reason == "silent"
        task.cancel()


async def test_who_reads_slowly_is_not_taken_for_dead() -> None:
    """While the events in hand are worked on, nothing is read, so nothing can be missed."""
    world = World(Reply(connected(heartbeat=1_000), event(5) + event(6), event(7), HANG))
    async with world.source:
        assert (await world.next()).data == 5
        world.clock.advance(3_600)
        await idle()
        assert numbers(await world.read(2)) == [6, 7]
    assert world.waits == []


async def test_streams_that_announce_nothing_may_be_silent_unless_told_otherwise() -> None:
    world = World(Reply(b"data: 1\n\n", HANG))
    async with world.source:
        await world.next()
        world.clock.advance(86_400)
        await idle()
        assert world.source.status.state == "open"
    world = World(Reply(b"data: 1\n\n", HANG), silence_timeout_seconds=60)
    async with world.source:
        await world.next()
        task = asyncio.ensure_future(world.source.run())
        await idle()
        world.clock.advance(61)
        await idle()
        assert world.source.status.reason == "silent"
        task.cancel()


@pytest.mark.parametrize("begun", [b"", b"id: k3v9-4\n", b"data: x\n\nevent: conn", b": ping", b"data: x\r\n"])
async def test_a_frame_has_to_be_ended_also_where_silence_is_none(begun: bytes) -> None:
    world = World(Reply(*([begun] if begun else []), HANG), Reply(connected(), DONE))
    async with world.source:
        task = asyncio.ensure_future(world.rest())
        await idle()
        world.clock.advance(59.9)
        await idle()
        assert world.source.status.state == "open"
        world.clock.advance(0.2)
        await task
    assert world.reasons[0] == "silent"


@pytest.mark.parametrize("frames", [b": ping\n\n", b"data: x\r\n\r\n", b"data: x\r\r", b"\n\n"])
async def test_between_frames_a_stream_may_be_silent(frames: bytes) -> None:
    world = World(Reply(frames, HANG))
    async with world.source:
        task = asyncio.ensure_future(world.source.run())
        await idle()
        world.clock.advance(86_400)
        await idle()
        assert world.source.status.state == "open"
        task.cancel()


async def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    world = World(HANG, Reply(connected(), DONE))
    async with world.source:
        task = asyncio.ensure_future(world.rest())
        await idle()
        world.clock.advance(30)
        await world.run(task)
    assert world.reasons[0] == "timeout"


async def test_redirects_are_followed_from_the_start_each_time() -> None:
    world = World(
        refuse(302, location="/a?b=c"), Reply(connected()),
        refuse(302, location="//other.test/"), Reply(connected("k3v9-4", mode="resumed"), DONE),
        token="secret", topics=["news"],
    )  # fmt: skip
    async with world.source:
        await world.rest()
    asked = [
        (request.url, request.header("authorization"), request.header("last-event-id"))
        for request in world.script.requests
    ]
    assert asked == [
        ("http://hub.test/events?topic=news", b"Bearer secret", None),
        ("http://hub.test/a?b=c", b"Bearer secret", None),
        ("http://hub.test/events?topic=news", b"Bearer secret", b"k3v9-4"),
        ("http://other.test/", None, b"k3v9-4"),
    ]
    assert all(reply.closed for reply in world.script.given)


async def test_redirects_that_never_end_are_a_failure_of_the_network() -> None:
    world = World(*[refuse(307, location="/again")] * 21, refuse(307, location="mailto:me"), Reply(connected(), DONE))
    async with world.source:
        await world.rest()
    assert world.reasons == ["redirect", "redirect", "done"]


# What is asked for.


async def test_topics_and_since_are_sent_in_the_query() -> None:
    world = World(refuse(204), url="https://hub.test:8443/e?a=b#x", topics=["orders/*", "a b&c"], since="5m")
    async with world.source:
        await world.rest()
    assert world.script.requests[0].url == "https://hub.test:8443/e?a=b&topic=orders%2F%2A&topic=a+b%26c&since=5m"


@pytest.mark.parametrize(
    ("body", "sent", "kind"),
    [({"a": 1}, b'{"a":1}', b"application/json"), ("text", b"text", None), (b"\x00", b"\x00", None)],
)
async def test_a_body_is_posted_each_time(body: Any, sent: bytes, kind: bytes | None) -> None:
    world = World(DOWN, refuse(204), body=body)
    async with world.source:
        await world.rest()
    for request in world.script.requests:
        assert (request.method, request.body, request.header("content-type")) == ("POST", sent, kind)


async def test_a_user_in_the_url_is_sent_as_credentials() -> None:
    world = World(refuse(204), url="http://ann:p%40ss@hub.test/events")
    async with world.source:
        await world.rest()
    (request,) = world.script.requests
    assert request.url == "http://hub.test/events"
    assert request.header("authorization") == b"Basic YW5uOnBAc3M="


async def test_a_last_event_id_is_sent() -> None:
    world = World(refuse(204), last_event_id="k3v9-7")
    async with world.source:
        await world.rest()
    assert world.script.ids == ["k3v9-7"]


async def test_more_topics_and_fewer_by_a_new_connection() -> None:
    world = World(
        Reply(connected(), event(5), HANG),
        Reply(connected("k3v9-5~0", mode="resumed"), event(6), HANG),
        Reply(connected("k3v9-6~0", mode="resumed"), event(7), DONE),
        topics="news",
    )
    async with world.source as source:
        await world.next()
        source.subscribe("news")  # has it
        source.subscribe("sport")
        await world.next()
        source.unsubscribe("news", "never had")
        assert source.topics == ("sport",)
        assert numbers(await world.rest()) == [7]
    assert [request.url.partition("?")[2] for request in world.script.requests] == [
        "topic=news",
        "topic=news&topic=sport",
        "topic=sport",
    ]
    assert world.script.ids == [None, "k3v9-5~0", "k3v9-6~0"]
    assert world.waits == []


# What it gives out.


async def test_a_gap_is_told_to_callbacks_and_as_an_event() -> None:
    world = World(Reply(connected("k3v9-9", mode="gap"), gap("k3v9-9"), event(10), DONE))
    async with world.source:
        events = await world.rest()
    assert [(event.type, event.topic) for event in events] == [("gap", None), ("message", "news")]
    assert events[0].data["missed"] == 4
    assert world.gaps == [Gap("expired", "k3v9-1", "k3v9-9", 4)]


async def test_callbacks_get_the_events_of_their_type_before_the_loop() -> None:
    world = World(Reply(connected(), event(5, type="order"), event(6), event(7, type="order"), DONE))
    told: list[Any] = []

    @world.source.on("order")
    async def order(event: ReceivedEvent) -> None:
        await asyncio.sleep(0)
        told.append(event.data)

    world.source.on("order", lambda event: told.append(-event.data))
    async with world.source as source:
        given = [event.data async for event in source.events("message")]
    assert given == [6]
    assert told == [5, -5, 7, -7]
    assert world.source.last_event_id == "k3v9-99.done"


async def test_a_callback_can_be_taken_away() -> None:
    world = World(Reply(connected(), event(5), event(6), DONE))
    told: list[Any] = []

    def once(event: ReceivedEvent) -> None:
        told.append(event.data)
        world.source.off(once)

    world.source.on("message", once)
    async with world.source:
        await world.rest()
    assert told == [5]


async def test_what_goes_wrong_is_reported_and_the_stream_goes_on() -> None:
    huge = b"id: k3v9-6\ntopic: news\ndata: " + b"x" * 2_000 + b"\n\n"
    world = World(
        Reply(connected() + event(5, "not json") + huge + event(7) + b"id: \x01\ndata: 8\n\n" + event(9), DONE),
        max_event_bytes=1_000,
    )

    @world.source.on("message")
    def raise_at_seven(event: ReceivedEvent) -> None:
        if event.data == 7:
            raise ZeroDivisionError

    async with world.source:
        assert numbers(await world.rest()) == [7, 8, 9]
    unreadable, too_large, raised, unusable = world.errors
    assert isinstance(unreadable, EventUnreadable)
    assert (unreadable.id, unreadable.text) == ("k3v9-5", "not json")
    assert "not json" not in str(unreadable)
    assert isinstance(too_large, EventTooLarge)
    assert isinstance(raised, CallbackRaised)
    assert isinstance(raised.__cause__, ZeroDivisionError)
    assert "raise_at_seven" in str(raised)
    assert unusable.id == "\x01"


async def test_errors_that_nobody_asked_for_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    world = World(Reply(connected(), event(5, "secret text"), DONE))
    world.source.off(world.errors.append)

    @world.source.on_status
    def raise_always(status: Any) -> None:
        raise ZeroDivisionError

    with caplog.at_level(logging.WARNING, "clarion.client"):
        async with world.source:
            await world.rest()
    assert any("could not be decoded" in record.message for record in caplog.records)
    assert any("raise_always" in record.message for record in caplog.records)
    assert not any("secret text" in record.message for record in caplog.records)


async def test_a_callback_for_errors_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    world = World(Reply(connected(), event(5, "{"), event(6), DONE))

    @world.source.on_error
    def worse(error: Exception) -> None:
        raise ZeroDivisionError

    async with world.source:
        assert numbers(await world.rest()) == [6]
    assert any("worse" in record.message for record in caplog.records)


@pytest.mark.parametrize(
    ("decode", "expected"), [("json", ["{5}"]), ("text", ["5", "{5}"]), (lambda kind, text: (kind, text), [])]
)
async def test_data_is_decoded_as_told(decode: Any, expected: list[str]) -> None:
    world = World(Reply(connected(), event(5), event(6, "{5}"), DONE), decode=decode)
    async with world.source:
        events = await world.rest()
    if decode == "json":
        assert numbers(events) == [5]
        assert [error.text for error in world.errors] == expected
    elif decode == "text":
        assert numbers(events) == expected
    else:
        assert numbers(events) == [("message", "5"), ("message", "{5}")]


async def test_a_callback_may_close() -> None:
    world = World(Reply(connected() + event(5) + event(6), HANG))

    @world.source.on("message")
    async def close(received: ReceivedEvent) -> None:
        await world.source.aclose()

    async with world.source:
        assert numbers(await world.rest()) == [5]
    assert world.script.given[0].closed


# Pausing.


async def test_paused_it_lets_go_and_goes_on_where_it_was() -> None:
    world = World(Reply(connected(), event(5), HANG), Reply(connected("k3v9-5", mode="resumed"), event(6), DONE))
    async with world.source as source:
        await world.next()
        source.pause()
        await idle()
        assert source.status.state is State.PAUSED
        assert world.script.given[0].closed
        source.pause()
        world.clock.advance(3_600)
        await idle()
        assert len(world.script.requests) == 1
        source.resume()
        assert numbers(await world.rest()) == [6]
    assert world.script.ids == [None, "k3v9-5"]


async def test_paused_before_it_began() -> None:
    world = World(Reply(connected(), event(5), DONE))
    async with world.source as source:
        source.pause()
        await idle()
        assert source.status.state is State.PAUSED
        assert world.script.requests == []
        source.resume()
        assert numbers(await world.rest()) == [5]


async def test_reconnect_does_not_wait() -> None:
    world = World(DOWN, Reply(connected(), event(5), HANG), Reply(connected("k3v9-5", mode="resumed"), DONE))
    async with world.source as source:
        task = asyncio.ensure_future(world.source.__anext__())
        await until(lambda: world.waits)
        source.reconnect()
        assert (await task).data == 5
        source.reconnect()
        await world.rest()
    assert world.waits == [1.5]
    assert world.clock.monotonic_ms() == 0


async def test_nothing_is_left_of_an_attempt_that_was_left() -> None:
    """Its timers are gone, its answer is closed, and what it had in hand does not come twice."""
    world = World(Reply(connected(heartbeat=1000), event(5) + event(6), HANG), Reply(connected(), event(6), HANG))
    async with world.source as source:
        await world.next()
        source.reconnect()
        assert (await world.next()).data == 6
        await idle()
        assert [reply.closed for reply in world.script.given] == [True, False]
        assert world.clock.waiting == 1
    assert world.clock.waiting == 0


# Heartbeats.


async def test_a_quiet_stream_keeps_its_place_fresh() -> None:
    world = World(Reply(connected(), heartbeat("k3v9-80")), Reply(connected("k3v9-80", mode="resumed"), DONE))
    async with world.source:
        assert await world.rest() == []
    assert world.script.ids == [None, "k3v9-80"]


# Wrong use.


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"url": "ftp://host/"}, "http"),
        ({"url": "http:///events"}, "host"),
        ({"url": "http://host:99999/"}, "[Pp]ort"),
        ({"url": "http://ho st/"}, "spaces"),
        ({"topics": ["@all"]}, "hub's own"),
        ({"last_event_id": "a\nb"}, "last_event_id"),
        ({"decode": "xml"}, "decode"),
        ({"max_event_bytes": 0}, "max_event_bytes"),
        ({"min_delay_seconds": -1}, "min_delay_seconds"),
        ({"max_delay_seconds": float("nan")}, "max_delay_seconds"),
        ({"headers": {"x": "a\r\nb"}}, "header x has"),
        ({"method": "G ET"}, "method"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], match: str) -> None:
    url = options.pop("url", "http://host/events")
    with pytest.raises(ValueError, match=match) as refused:
        AsyncSource(url, **options)
    assert "a\r\nb" not in str(refused.value)


def test_an_option_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match="no option topic"):
        AsyncSource("http://host/", topic="x")  # type: ignore[call-arg]


async def test_it_has_to_be_open_and_one_may_ask() -> None:
    world = World(Reply(connected(), HANG))
    with pytest.raises(RuntimeError, match="not open"):
        await anext(world.source)
    async with world.source as source:
        with pytest.raises(RuntimeError, match="open already"):
            await source.open()
        task = asyncio.ensure_future(source.__anext__())
        await idle()
        with pytest.raises(RuntimeError, match="another task"):
            await anext(source)
        await source.aclose()
        with pytest.raises(StopAsyncIteration):
            await task

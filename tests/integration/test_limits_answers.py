"""Who asks for too much, or for what cannot be, gets a real HTTP answer: never a 500, never a hang."""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clarion import Hub, Limits
from clarion.testing.clock import ManualClock
from tests.integration.in_process import Exchange, answer, request, stream, until


class App:
    """Answers every request with a stream, as these options say."""

    def __init__(self, hub: Hub, **options: Any) -> None:
        self.hub = hub
        self.options: dict[str, Any] = {"topics": ["news"], **options}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.hub.stream(**self.options)(scope, receive, send)


def assert_refused(exchange: Exchange, status: int) -> None:
    assert exchange.status == status
    assert set(json.loads(exchange.body)) == {"detail"}
    assert exchange.headers["cache-control"] == "no-store"


async def test_too_many_readers_are_answered_503() -> None:
    async with Hub(limits=Limits(max_readers=2)) as hub:
        app = App(hub)
        async with stream(app) as one, stream(app) as two:
            await one.connected()
            await two.connected()
            refused = await answer(app)
            assert_refused(refused, 503)
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert hub.client_count == 2
        async with stream(app) as again:
            await again.connected()


@pytest.mark.parametrize(
    ("limits", "same", "other"),
    [
        (Limits(max_readers_per_user=1), {"user": "ann"}, {"user": "ben"}),
        (Limits(max_readers_per_address=1), {"address": "10.0.0.1"}, {"address": "10.0.0.2"}),
    ],
    ids=["user", "address"],
)
async def test_too_many_of_one_are_answered_429(limits: Limits, same: Any, other: Any) -> None:
    def of(who: Any) -> tuple[App, dict[str, Any]]:
        return App(hub, user=who.get("user")), {"address": who.get("address")}

    async with Hub(limits=limits) as hub:
        app, how = of(same)
        async with stream(app, **how) as one:
            await one.connected()
            refused = await answer(app, **how)
            assert_refused(refused, 429)
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            app, how = of(other)
            async with stream(app, **how) as two:
                await two.connected()
        app, how = of(same)
        async with stream(app, **how) as again:
            await again.connected()


async def test_the_limit_holds_for_readers_who_come_at_once() -> None:
    """They are all let in by the first look; the second one counts."""
    async with Hub(limits=Limits(max_readers=5)) as hub:
        await hub.publish("news", 1)
        exchanges = [request(App(hub, since="earliest")) for _ in range(20)]
        await until(lambda: all(one.status is not None for one in exchanges))
        assert sorted(one.status or 0 for one in exchanges) == [200] * 5 + [503] * 15
        for one in exchanges:
            await one.hang_up()
        assert hub.client_count == 0


async def test_retry_after_differs() -> None:
    async with Hub(limits=Limits(max_readers=0)) as hub:
        app = App(hub)
        assert len({(await answer(app)).headers["retry-after"] for _ in range(40)}) > 1


@pytest.mark.parametrize(
    "topics",
    [[f"t{n}" for n in range(9)], [""], ["a\nb"], ["a\0"], ["@user/ann"], ["@all"], ["x" * 256], [b"news"]],
)
async def test_topics_that_cannot_be_are_answered_422(topics: Any) -> None:
    async with Hub(limits=Limits(max_topics=8)) as hub:
        refused = await answer(App(hub, topics=topics))
        assert_refused(refused, 422)
        assert hub.client_count == 0


async def test_a_start_that_cannot_be_is_answered_422() -> None:
    async with Hub() as hub, stream(App(hub)) as other:
        await other.connected()
        for since in (b"yesterday", b"-5", b"5x", b"99999999999999999999", b"%00", b"last:", b"last:-1", b"\xff"):
            refused = await answer(App(hub), query=b"since=" + since)
            assert_refused(refused, 422)
        assert hub.client_count == 1  # the one who was there is not counted out
        await hub.publish("news", 1)
        message = await other.next()
        assert message is not None
        assert message.data == "1"


async def test_head_answers_without_a_stream() -> None:
    async with Hub() as hub:
        head = await answer(App(hub), method="HEAD")
        assert head.status == 200
        assert head.headers["content-type"].startswith("text/event-stream")
        assert head.body == b""
        assert hub.client_count == 0


async def test_a_hub_that_is_not_open_or_drains_is_answered_503() -> None:
    hub = Hub()
    assert_refused(await answer(App(hub)), 503)
    async with hub:
        await hub.drain(0)
        refused = await answer(App(hub))
        assert_refused(refused, 503)
        assert "retry-after" in refused.headers
    assert_refused(await answer(App(hub)), 503)


async def test_a_reader_who_comes_while_the_hub_begins_to_drain_is_not_forgotten() -> None:
    """It passes the first look, and then waits for the journal while the others are sent away."""
    async with Hub() as hub:
        await hub.publish("news", 1)
        read, go = hub.journal.seek, asyncio.Event()

        async def slow_seek(*args: Any, **options: Any) -> int:
            await go.wait()
            return await read(*args, **options)

        hub.journal.seek = slow_seek  # type: ignore[method-assign]
        late = request(App(hub, since="earliest"))
        await asyncio.sleep(0.01)
        await hub.drain(0)
        go.set()
        await late.end()
        assert_refused(late, 503)
        assert hub.client_count == 0


HOSTILE = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.from_regex(rb"[a-z0-9]{3,17}-[0-9]{0,22}(\.done)?", fullmatch=True),
    st.sampled_from([b"0", b"-1", b"1e9", b"\0", b"\r\n", b"'; drop table entries", b"\xff\xfe", b"aaaa-1\nid: x"]),
)
SPELLINGS = ("last_event_id", "lastEventId", "Last-Event-ID")


async def opened_with(hub: Hub, headers: Any, query: bytes) -> dict[str, Any] | int:
    exchange = request(App(hub), headers=headers, query=query)
    async with asyncio.timeout(5):
        await until(lambda: exchange.status is not None)
        if exchange.status != 200:
            await exchange.end()
            return exchange.status or 0
        said = await exchange.connected()
        await exchange.hang_up()
        return said


@given(presented=HOSTILE, where=st.sampled_from(["header", *SPELLINGS]))
@settings(max_examples=150)
def test_any_last_event_id_is_answered(presented: bytes, where: str) -> None:
    async def run() -> None:
        async with Hub() as hub:
            await hub.publish("news", 1)
            epoch = hub.journal.epoch
            if where == "header":
                said = await opened_with(hub, [(b"last-event-id", presented)], b"")
            else:
                said = await opened_with(hub, [], f"{where}={quote(presented)}".encode())
            assert hub.client_count == 0
            if presented.endswith(b".done") and said == 204:
                return
            assert isinstance(said, dict), said
            assert said["mode"] in ("live", "resumed", "gap")
            if presented and not presented.startswith(epoch.encode()):
                assert said["mode"] == "gap"

    asyncio.run(run())


@given(query=st.binary(max_size=300))
@settings(max_examples=100)
def test_any_query_is_answered(query: bytes) -> None:
    async def run() -> None:
        async with Hub() as hub:
            assert not isinstance(said := await opened_with(hub, [], query), int) or said in (204, 422)

    asyncio.run(run())


async def test_each_spelling_resumes_and_the_header_goes_before() -> None:
    async with Hub() as hub:
        ids = [(await hub.publish("news", n)).id for n in range(5)]
        for spelling in SPELLINGS:
            said = await opened_with(hub, [], f"{spelling}={ids[2]}".encode())
            assert isinstance(said, dict)
            assert (said["mode"], said["from"]) == ("resumed", ids[2])
            said = await opened_with(hub, [(b"last-event-id", ids[3].encode())], f"{spelling}={ids[1]}".encode())
            assert isinstance(said, dict)
            assert said["from"] == ids[3]


async def test_done_is_answered_204_and_only_then() -> None:
    async with Hub() as hub:
        receipt = await hub.publish("news", 1)
        done = await answer(App(hub), headers=[(b"last-event-id", f"{receipt.id}.done".encode())])
        assert (done.status, done.body) == (204, b"")
        assert isinstance(await opened_with(hub, [(b"last-event-id", b"none.done")], b""), dict)


async def test_an_end_that_is_over_already_and_one_in_the_future() -> None:
    async with Hub() as hub:
        for seconds in (-3600.0, 0.0, 0.2):
            began = time.monotonic()
            exchange = request(App(hub, expires_at=time.time() + seconds))
            assert (await exchange.bye())["reason"] == "expired"
            await exchange.end()
            assert max(0, seconds) - 0.05 <= time.monotonic() - began < 5
        exchange = request(App(hub, max_age_seconds=0.1, expires_at=time.time() + 1e6))
        assert (await exchange.bye())["reason"] == "limit"
        exchange = request(App(hub, max_age_seconds=1e6, expires_at=time.time() + 0.1))
        assert (await exchange.bye())["reason"] == "expired"
        await exchange.end()


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_a_reader_gets_nobody_elses_events(seed: int) -> None:
    """Whatever patterns it has, and whosever id it presents."""
    chance = random.Random(seed)
    users = ["ann", "ben", "cyd"]

    async def run() -> None:
        async with Hub() as hub:
            ids: list[str] = []
            for n in range(30):
                kind = chance.randrange(3)
                if kind == 0:
                    ids.append((await hub.send_to_user(chance.choice(users), f"{n}")).id)
                elif kind == 1:
                    ids.append((await hub.publish(f"feed/{chance.choice(users)}", f"feed {n}")).id)
                else:
                    ids.append((await hub.broadcast(f"all {n}")).id)
            user = chance.choice([*users, None])
            topics = chance.choice([["**"], ["*/*"], ["**", "feed/*"], ["*"], ["feed/ann"], []])
            presented = chance.choice(ids)
            app = App(hub, topics=topics, user=user)
            async with stream(app, headers=[(b"last-event-id", presented.encode())]) as mine:
                await mine.connected()
                await hub.broadcast("end", event="end")
                for message in (await mine.until("end"))[:-1]:
                    topic = message.topic or ""
                    if topic.startswith("@user/"):
                        assert topic == f"@user/{user}"
                    assert not topic.startswith(("@client/", "@hub/"))
                    if topic == "feed/ben":
                        assert topics not in ([], ["feed/ann"], ["*"])

    asyncio.run(run())


async def test_who_was_quiet_for_long_has_time_to_take_the_next_event() -> None:
    """And is let go only when it has not taken it for as long as readers have."""
    clock = ManualClock()
    async with Hub(clock=clock) as hub:
        app, writing = App(hub, heartbeat_seconds=0), asyncio.Event()

        async def slow_app(scope: Any, receive: Any, send: Any) -> None:
            async def slow_send(message: Any) -> None:
                if b"data: 1\n" in message.get("body", b""):
                    writing.set()
                    await asyncio.Event().wait()  # nobody reads
                await send(message)

            await app(scope, receive, slow_send)

        exchange = request(slow_app)
        await exchange.connected()
        clock.advance(590)
        await hub.publish("news", 1)
        await writing.wait()
        clock.advance(15)
        assert hub.client_count == 1
        clock.advance(120)
        await exchange.end()
        assert hub.client_count == 0
        assert not exchange.complete

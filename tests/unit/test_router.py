"""The ready-made router: who may read and publish what, what is refused and how, and what OpenAPI says of it."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException
from starlette.middleware.base import BaseHTTPMiddleware

from clarion import Hub, InvalidTopic, JournalError
from clarion.testing import read_events, running


def current_user(x_user: Annotated[str | None, Header()] = None) -> str | None:
    if x_user == "banned":
        raise HTTPException(401)
    return x_user


def yes(user: str | None, topic: str) -> bool:
    return True


def app_of(hub: Hub, **options: Any) -> FastAPI:
    app = FastAPI(lifespan=hub.lifespan)
    app.include_router(hub.router(**options), prefix="/push")
    return app


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def post(app: FastAPI, path: str, body: Any, **options: Any) -> httpx.Response:
    async with running(app), client_of(app) as client:
        return await client.post(path, json=body, **options)


# Streams.


async def test_a_stream_has_the_fixed_topics_and_its_user() -> None:
    hub = Hub()
    app = app_of(hub, current_user=current_user, topics=["news", "orders/*"])
    async with read_events(app, "/push/events", headers={"x-user": "ann"}) as events:
        assert (events.status, [client.user for client in hub.clients()]) == (200, ["ann"])
        await hub.publish("orders/7", 1)
        await hub.publish("secret", 2)
        await hub.send_to_user("ann", 3)
        assert [(await events.next()).data for _ in range(2)] == [1, 3]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_topics_may_be_a_function_of_the_user(asynchronous: bool) -> None:
    def plain(user: str | None) -> list[str]:
        return [f"of/{user}"]

    async def coroutine(user: str | None) -> list[str]:
        return plain(user)

    hub = Hub()
    app = app_of(hub, current_user=current_user, topics=coroutine if asynchronous else plain)
    async with read_events(app, "/push/events", headers={"x-user": "ann"}):
        assert hub.clients()[0].topics == ("of/ann",)


async def test_a_client_may_choose_no_topic_unless_the_app_says_so() -> None:
    app = app_of(Hub(), topics="news")
    async with read_events(app, "/push/events?topic=secret") as events:
        assert events.status == 403
        assert events.connected is None


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_client_chooses_what_it_may(asynchronous: bool) -> None:
    def plain(user: str | None, topic: str) -> bool:
        return topic.startswith(f"mine/{user}/")

    async def coroutine(user: str | None, topic: str) -> bool:
        return plain(user, topic)

    hub = Hub()
    app = app_of(hub, current_user=current_user, topics="news", can_subscribe=coroutine if asynchronous else plain)
    ann = {"x-user": "ann"}
    params = {"topic": ["mine/ann/a", "mine/ann/*"]}
    async with read_events(app, "/push/events", params=params, headers=ann):
        assert set(hub.clients()[0].topics) == {"news", "mine/ann/a", "mine/ann/*"}
    async with read_events(app, "/push/events", params={"topic": ["mine/ann/a", "mine/bob/a"]}, headers=ann) as events:
        assert events.status == 403


@pytest.mark.parametrize("topic", ["@all", "@user/bob", "", "a\nb", "x" * 300])
async def test_a_topic_that_cannot_be_is_422_and_the_app_is_not_asked(topic: str) -> None:
    asked: list[str] = []

    def note(user: str | None, topic: str) -> bool:
        asked.append(topic)
        return True

    async with read_events(app_of(Hub(), can_subscribe=note), "/push/events", params={"topic": topic}) as events:
        assert events.status == 422
    assert asked == []


async def test_too_many_chosen_topics_are_422_and_the_app_is_not_asked() -> None:
    asked: list[str] = []

    def note(user: str | None, topic: str) -> bool:
        asked.append(topic)
        return True

    topics = [f"t/{number}" for number in range(257)]
    async with read_events(app_of(Hub(), can_subscribe=note), "/push/events", params={"topic": topics}) as events:
        assert events.status == 422
    assert asked == []


async def test_who_must_not_come_in_does_not() -> None:
    app = app_of(Hub(), current_user=current_user)
    async with read_events(app, "/push/events", headers={"x-user": "banned"}) as events:
        assert events.status == 401


async def test_a_user_that_is_not_text_is_the_developers_error() -> None:
    app = app_of(Hub(), current_user=lambda: 7)
    with pytest.raises(TypeError, match=r"str\(user.id\)"):
        async with read_events(app, "/push/events"):
            pass


async def test_a_stream_resumes_and_a_start_is_taken_from_the_query() -> None:
    hub = Hub()
    app = app_of(hub, topics="news")
    async with running(app):
        first = await hub.publish("news", 1)
        await hub.publish("news", 2)
        async with read_events(app, "/push/events", last_event_id=first.id) as events:
            assert (await events.next()).data == 2
        async with read_events(app, "/push/events?since=earliest") as events:
            assert (await events.next()).data == 1
        async with read_events(app, "/push/events?since=nonsense") as events:
            assert events.status == 422


async def test_the_apps_start_holds_where_the_query_has_none() -> None:
    hub = Hub()
    app = app_of(hub, topics="news", since="earliest")
    async with running(app):
        await hub.publish("news", 1)
        async with read_events(app, "/push/events") as events:
            assert (await events.next()).data == 1


async def test_a_stream_ends_when_its_permission_does() -> None:
    app = app_of(Hub(), expires_at=lambda: 1.0)
    async with read_events(app, "/push/events") as events:
        (bye,) = await events.end()
        assert (bye.type, bye.data["reason"]) == ("bye", "expired")


async def test_head_answers_without_a_stream() -> None:
    hub = Hub()
    app = app_of(hub)
    async with running(app), client_of(app) as client:
        answer = await client.head("/push/events")
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert (answer.status_code, answer.content, hub.client_count) == (200, b"", 0)


async def test_dependencies_end_before_the_stream_begins() -> None:
    open_sessions: list[str] = []

    async def session() -> AsyncIterator[str]:
        open_sessions.append("session")
        yield "session"
        open_sessions.pop()

    def user(session: Annotated[str, Depends(session)]) -> str:
        assert open_sessions == [session]
        return "ann"

    hub = Hub()
    app = app_of(hub, current_user=user)
    async with read_events(app, "/push/events") as events:
        assert hub.client_count == 1
        assert open_sessions == []
        await hub.broadcast(1)
        assert (await events.next()).data == 1


async def test_it_streams_through_middleware_that_wraps_requests() -> None:
    hub = Hub()
    app = app_of(hub, topics="news")

    async def pass_on(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)
    async with read_events(app, "/push/events") as events:
        assert events.connected is not None
        await hub.publish("news", 1)
        assert (await events.next()).data == 1


# Publishing.


@pytest.mark.parametrize("path", ["/push/notify/ann", "/push/broadcast", "/push/publish"])
async def test_nobody_may_publish_unless_the_app_says_so(path: str) -> None:
    answer = await post(app_of(Hub()), path, {"topic": "news", "data": 1} if path.endswith("publish") else {"data": 1})
    assert answer.status_code == 403


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_the_app_is_asked_with_the_user_and_the_topic(asynchronous: bool) -> None:
    asked: list[tuple[str | None, str]] = []

    def plain(user: str | None, topic: str) -> bool:
        asked.append((user, topic))
        return topic != "locked"

    async def coroutine(user: str | None, topic: str) -> bool:
        return plain(user, topic)

    app = app_of(Hub(), current_user=current_user, can_publish=coroutine if asynchronous else plain)
    ann = {"x-user": "ann"}
    statuses = [
        (await post(app, "/push/notify/bob", {"data": 1}, headers=ann)).status_code,
        (await post(app, "/push/notify/a/b%7Cc", {"data": 1}, headers=ann)).status_code,
        (await post(app, "/push/broadcast", {"data": 1})).status_code,
        (await post(app, "/push/publish", {"topic": "news", "data": 1}, headers=ann)).status_code,
        (await post(app, "/push/publish", {"topic": "locked", "data": 1}, headers=ann)).status_code,
    ]
    assert statuses == [200, 200, 200, 200, 403]
    assert asked == [("ann", "@user/bob"), ("ann", "@user/a/b|c"), (None, "@all"), ("ann", "news"), ("ann", "locked")]


async def test_what_is_published_arrives_and_is_counted() -> None:
    hub = Hub()
    app = app_of(hub, current_user=current_user, topics="news", can_publish=yes)
    async with read_events(app, "/push/events", headers={"x-user": "ann"}) as events, client_of(app) as client:
        body = {"topic": "news", "data": {"n": 1}, "event": "note", "key": "k1"}
        answers = [(await client.post("/push/publish", json=body)).json() for _ in range(2)]
        event = await events.next()
        assert (event.type, event.topic, event.data) == ("note", "news", {"n": 1})
        assert answers == [
            {"id": event.id, "sent": 1, "duplicate": False},
            {"id": event.id, "sent": 0, "duplicate": True},
        ]
        await client.post("/push/notify/ann", json={"text": "for\nann"})
        assert (await events.next()).text == "for\nann"
        await client.post("/push/notify/bob", json={"data": "for bob"})
        await client.post("/push/broadcast", json={"data": None})
        assert (await events.next()).data is None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/push/publish", {"data": 1}),
        ("/push/publish", {"topic": "news"}),
        ("/push/publish", {"topic": "news", "data": 1, "text": "both"}),
        ("/push/publish", {"topic": "news", "data": 1, "tll": 3}),
        ("/push/publish", {"topic": "news", "data": 1, "ttl": 0}),
        ("/push/publish", {"topic": "news", "data": 1, "event": "connected"}),
        ("/push/publish", {"topic": "news", "data": 1, "event": "a\nb"}),
        ("/push/publish", {"topic": "news", "data": 1, "key": ""}),
        ("/push/publish", {"topic": "@all", "data": 1}),
        ("/push/publish", {"topic": "@hub/kick", "data": {"user": "ann", "client": None, "reason": "done"}}),
        ("/push/publish", {"topic": "orders/*", "data": 1}),
        ("/push/notify/a%01b", {"data": 1}),
        ("/push/notify/", {"data": 1}),
    ],
)
async def test_what_cannot_be_published_is_422(path: str, body: dict[str, Any]) -> None:
    assert (await post(app_of(Hub(), can_publish=yes), path, body)).status_code == 422


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_what_another_site_can_make_a_browser_send_is_not_published(kind: str | None) -> None:
    app = app_of(Hub(), can_publish=yes)
    async with running(app), client_of(app) as client:
        headers = {} if kind is None else {"content-type": kind}
        answer = await client.post("/push/broadcast", content=json.dumps({"data": 1}), headers=headers)
        assert answer.status_code == 415


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_bound_is_413_before_it_is_read_whole(chunked: bool) -> None:
    app = app_of(Hub(), can_publish=yes, max_body_bytes=1000)
    given = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(1000):
            given += 1
            yield b" " * 100

    async with running(app), client_of(app) as client:
        headers = {"content-type": "application/json"} | ({} if chunked else {"content-length": "100000"})
        answer = await client.post("/push/broadcast", content=body(), headers=headers)
    assert answer.status_code == 413
    assert given == (11 if chunked else 0)


async def test_an_event_over_the_hubs_limit_is_413() -> None:
    from clarion import Limits

    app = app_of(Hub(limits=Limits(max_event_bytes=100)), can_publish=yes)
    assert (await post(app, "/push/broadcast", {"text": "x" * 100})).status_code == 413


async def test_a_journal_that_fails_is_503_and_says_nothing_of_why(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub()

    async def fail(drafts: Any) -> Any:
        raise JournalError("/secret/place is broken")

    monkeypatch.setattr(hub.journal, "append", fail)
    answer = await post(app_of(hub, can_publish=yes), "/push/broadcast", {"data": 1})
    assert answer.status_code == 503
    assert 5 <= int(answer.headers["retry-after"]) <= 10
    assert "secret" not in answer.text


async def test_a_hub_that_is_not_open_is_503() -> None:
    app = app_of(Hub(), can_publish=yes)
    async with client_of(app) as client:  # and no lifespan
        assert (await client.post("/push/broadcast", json={"data": 1})).status_code == 503
        assert (await client.get("/push/events")).status_code == 503


# Making the router.


def test_what_cannot_be_is_said_when_the_router_is_made() -> None:
    with pytest.raises(InvalidTopic):
        Hub().router(topics=["@all"])
    with pytest.raises(ValueError, match="since must be"):
        Hub().router(since="yesterday")


def test_without_fastapi_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "clarion.fastapi", raising=False)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(ImportError, match=r'pip install "clarion\[fastapi\]"'):
        Hub().router()


def test_openapi_describes_the_stream() -> None:
    hub = Hub()
    app = FastAPI()
    outer = APIRouter()
    outer.include_router(hub.router())
    app.include_router(outer)
    told = app.openapi()
    stream = told["paths"]["/events"]
    assert list(stream) == ["get"]
    content = stream["get"]["responses"]["200"]["content"]
    assert list(content) == ["text/event-stream"]
    assert set(content["text/event-stream"]["itemSchema"]["properties"]) == {"id", "event", "topic", "data", "retry"}
    parameters = {(one["in"], one["name"]) for one in stream["get"]["parameters"]}
    assert parameters == {
        ("query", "topic"),
        ("query", "since"),
        ("query", "last_event_id"),
        ("header", "Last-Event-ID"),
    }
    assert {"200", "204", "403", "429", "503"} <= set(stream["get"]["responses"])
    assert {"200", "403", "413", "422", "503"} <= set(told["paths"]["/notify/{user_id}"]["post"]["responses"])
    answer = told["paths"]["/publish"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": "#/components/schemas/Published"}

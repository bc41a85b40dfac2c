"""The ready-made router: `app.include_router(hub.router(...))`. The one file of the core that names FastAPI."""

# Annotations are not postponed here: FastAPI reads them, and those of inner functions name what is local.

import inspect
import logging
import random
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, TypedDict

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message

from clarion.bodies import Publication, Published, Refusal, Said
from clarion.errors import EventTooLarge, HubClosed, InvalidEvent, InvalidTopic, JournalError
from clarion.event import MAX_EVENT_BYTES
from clarion.limits import RETRY_AFTER_SECONDS, Limits, interval_ms
from clarion.progress.routes import cancel_routes
from clarion.publishing import Options
from clarion.receipt import Receipt
from clarion.retention import parse_since
from clarion.script import ClientScript
from clarion.stream import StreamResponse
from clarion.topics import ALL, USER_PREFIX, check_id, check_pattern, check_topic

if TYPE_CHECKING:
    from clarion.hub import Hub, StartChoice

__all__ = ["APIRouter", "RouterOptions", "router"]

MAX_BODY_BYTES: Final = MAX_EVENT_BYTES  # a larger body could only hold an event by escaping what need not be
MAX_CHOSEN_TOPICS: Final = Limits().max_topics  # of one request: `can_subscribe` is asked about each of them

User = str | None
Dependency = Callable[..., Any]
Question = Callable[[User, str], Any]
Respond = Callable[[Request], Coroutine[Any, Any, Response]]

logger = logging.getLogger("clarion.hub")

# OpenAPI 3.1 can say that the body is text; `itemSchema` is 3.2's way to describe each event of it.
EVENT_STREAM: Final[dict[str, Any]] = {
    "description": "Server-sent events (WHATWG HTML, section 9.2), until one of the two hangs up.",
    "content": {
        "text/event-stream": {
            "schema": {"type": "string"},
            "itemSchema": {
                "type": "object",
                "properties": {
                    "id": {"type": "string", "description": "The event's position; send it back to resume."},
                    "event": {"type": "string", "description": "The event type; `message` if there is none."},
                    "topic": {"type": "string", "description": "Where it was published."},
                    "data": {"type": "string", "description": "JSON, unless the publisher gave raw text."},
                    "retry": {"type": "integer", "minimum": 0, "description": "Milliseconds until a reconnect."},
                },
            },
        }
    },
}


class RouterOptions(TypedDict, total=False):
    """What `Hub.router` takes; see `router`."""

    current_user: Dependency | None
    topics: str | Iterable[str] | Callable[[User], Any]
    can_subscribe: Question | None
    can_publish: Question | None
    since: "StartChoice"
    expires_at: Dependency | None
    max_body_bytes: int
    can_cancel: Question | None
    max_rate_per_second: float | None


def router(
    hub: "Hub",
    *,
    current_user: Dependency | None = None,
    topics: str | Iterable[str] | Callable[[User], Any] = (),
    can_subscribe: Question | None = None,
    can_publish: Question | None = None,
    since: "StartChoice" = None,
    expires_at: Dependency | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    can_cancel: Question | None = None,
    max_rate_per_second: float | None = None,
) -> APIRouter:
    """`GET /events`, `POST /notify/{user_id}`, `POST /broadcast`, `POST /publish` and `POST /tasks/{task_id}/cancel`,
    described in OpenAPI, and the client for pages at `/clarion.js`.

    current_user: a FastAPI dependency that gives the user's id, or None for a stranger; let it raise `HTTPException`
    for who must not come in. topics: what each stream has, or a function from the user's id to that.
    can_subscribe(user, topic): whether the client may add a topic with the query parameter `topic`. It is asked about
    patterns as they stand (`orders/**`), so let it say yes to what it knows and no to the rest. Nobody may by default.
    can_publish(user, topic): whether the user may publish to a topic; `@user/ID` for notify, `@all` for broadcast.
    Nobody may by default. since: where a stream without a Last-Event-ID starts. expires_at: a FastAPI dependency that
    says when a stream's permission ends. max_body_bytes: of a request, before it is parsed; more is answered 413.
    can_cancel(user, task_id): whether the user may stop a task; without it, users may stop those that were begun for
    them (`clarion.progress.routes`). max_rate_per_second: how often streams are told a value at most.

    The functions may be coroutine functions; plain ones run in a thread, as FastAPI's dependencies do. Dependencies
    end before the stream begins, so a stream holds no database session.

    Raises `InvalidTopic` or `ValueError` for fixed topics or a start that cannot be.
    """
    parse_since(since, 0)
    interval_ms(max_rate_per_second)
    if not callable(topics):
        topics = [check_pattern(name) for name in ([topics] if isinstance(topics, str) else topics)]
    reader = Depends(current_user or _nobody)
    routes = APIRouter()
    streams = APIRouter(route_class=_StreamRoute)
    _add_stream(streams, hub, reader, topics, can_subscribe, since, Depends(expires_at or _never), max_rate_per_second)
    publishing = APIRouter(
        route_class=_bounded_route(max_body_bytes),
        responses={status: {"model": Refusal} for status in (403, 413, 415, 503)},
    )
    _add_publishing(publishing, hub, reader, can_publish)
    routes.include_router(streams)
    routes.include_router(publishing)
    routes.routes.append(Route("/clarion.js", ClientScript(), name="clarion.js"))
    routes.include_router(cancel_routes(hub, current_user=current_user, can_cancel=can_cancel))
    return routes


def _add_stream(
    routes: APIRouter,
    hub: "Hub",
    reader: Any,
    topics: list[str] | Callable[[User], Any],
    can_subscribe: Question | None,
    since_default: "StartChoice",
    end: Any,
    max_rate_per_second: float | None,
) -> None:
    async def events(
        user: User = reader,
        ends: Any = end,
        topic: Annotated[list[str], Query(description="Another topic or pattern; may be repeated.")] = [],  # noqa: B006
        since: Annotated[
            str | None,
            Query(
                description="Where to start without a last event id: `live`, `earliest`, a time back such as `5m`, "
                "or `last:n` for the last n events."
            ),
        ] = None,
        last_event_id: Annotated[
            str | None, Query(description="The header, for clients that cannot set it. The header wins.")
        ] = None,
        resume: Annotated[
            str | None,
            Header(alias="Last-Event-ID", description="Resume after this position; `EventSource` sends it by itself."),
        ] = None,
    ) -> Response:
        """Stream events: those of the topics, to the user, to this connection, and to everyone."""
        # The stream itself reads `since` and the last event id; they are named here to be described.
        _check_user(user)
        fixed = await _ask(topics, user) if callable(topics) else topics
        names = [fixed] if isinstance(fixed, str) else list(fixed)
        with _told_in_http():
            for name in await _allowed(topic, user, can_subscribe):
                names.append(name)
            return hub.stream(
                topics=names,
                user=user,
                since=since_default,
                expires_at=ends,
                max_rate_per_second=max_rate_per_second,
            )

    routes.get(
        "/events",
        status_code=200,  # FastAPI looks for a default in the response class, which has none
        response_class=StreamResponse,
        responses={
            200: EVENT_STREAM,
            204: {"description": "The stream is complete: do not come back."},
            **{status: {"model": Refusal} for status in (403, 429, 503)},
        },
    )(events)
    routes.head("/events", response_class=StreamResponse, include_in_schema=False)(events)


def _add_publishing(routes: APIRouter, hub: "Hub", publisher: Any, can_publish: Question | None) -> None:
    async def check(user: User, topic: str) -> None:
        _check_user(user)
        if can_publish is None or not await _ask(can_publish, user, topic):
            raise HTTPException(403, "you may not publish here")

    async def may_notify(user_id: Annotated[str, Path()], user: User = publisher) -> str:
        with _told_in_http():
            check_id("user", user_id)
        await check(user, USER_PREFIX + user_id)
        return user_id

    async def may_broadcast(user: User = publisher) -> None:
        await check(user, ALL)

    @routes.post("/notify/{user_id:path}")
    async def notify(said: Said, user_id: str = Depends(may_notify)) -> Published:
        """Publish to all streams of one user, also those that come back later."""
        with _told_in_http():
            return _published(await hub.send_to_user(user_id, said.data, **_options(said)))

    @routes.post("/broadcast", dependencies=[Depends(may_broadcast)])
    async def broadcast(said: Said) -> Published:
        """Publish to every reader, whatever its topics."""
        with _told_in_http():
            return _published(await hub.broadcast(said.data, **_options(said)))

    @routes.post("/publish")
    async def publish(said: Publication, user: User = publisher) -> Published:
        """Publish to a topic."""
        with _told_in_http():
            check_topic(said.topic)
        await check(user, said.topic)
        with _told_in_http():
            return _published(await hub.publish(said.topic, said.data, **_options(said)))


def _nobody() -> None:
    return None


def _never() -> None:
    return None


async def _ask(question: Callable[..., Any], *about: Any) -> Any:
    """Call a function of the app: a plain one in a thread, since it may well ask a database."""
    if inspect.iscoroutinefunction(question):
        return await question(*about)
    answer = await run_in_threadpool(question, *about)
    return await answer if inspect.isawaitable(answer) else answer


async def _allowed(chosen: list[str], user: User, can_subscribe: Question | None) -> list[str]:
    """The topics that a client chose, all of them; or the answer that it may not have one of them."""
    if len(chosen) > MAX_CHOSEN_TOPICS:
        raise HTTPException(422, f"{len(chosen)} topics are asked for, at most {MAX_CHOSEN_TOPICS} may be")
    for name in chosen:
        check_pattern(name)
        if can_subscribe is None or not await _ask(can_subscribe, user, name):
            raise HTTPException(403, "you may not subscribe to a topic that you ask for")
    return chosen


def _check_user(user: object) -> None:
    if user is not None and not isinstance(user, str):
        raise TypeError(
            f"current_user must give the user's id as text, or None, not a {type(user).__name__}: "
            "wrap it in a dependency that returns str(user.id)"
        )


def _options(said: Said) -> Options:
    return {
        "event": said.event,
        "text": said.text,
        "key": said.key,
        "ttl": said.ttl,
        "ephemeral": said.ephemeral,
    }


def _published(receipt: Receipt) -> Published:
    return Published(id=receipt.id, sent=receipt.clients, duplicate=receipt.duplicate)


@contextmanager
def _told_in_http() -> Iterator[None]:
    """Clarion's errors as answers. Their texts are for the log, never for a stranger."""
    try:
        yield
    except InvalidTopic:
        raise HTTPException(422, "there cannot be such a topic or user") from None
    except InvalidEvent:
        raise HTTPException(422, "there cannot be such an event: see its type, its key and its data") from None
    except EventTooLarge:
        raise HTTPException(413, "the event is too large") from None
    except (JournalError, HubClosed) as error:
        logger.error("nothing was published: %s", error)
        seconds = RETRY_AFTER_SECONDS + random.randint(0, RETRY_AFTER_SECONDS)
        raise HTTPException(503, "not available now", {"retry-after": str(seconds)}) from None


class _StreamRoute(APIRoute):
    """Ends the dependencies of a request before its stream begins.

    FastAPI keeps them until the response is over, unless they say `scope="function"`; a stream is over in hours.
    """

    def _let_go_first(self) -> Respond:
        respond = APIRoute.get_route_handler(self)

        async def let_go(request: Request) -> Response:
            async with AsyncExitStack() as dependencies:
                request.scope["fastapi_inner_astack"] = dependencies
                return await respond(request)
            raise RuntimeError("a dependency of the stream's route has swallowed an exception")

        return let_go

    get_route_handler = _let_go_first


def _bounded_route(max_body_bytes: int) -> type[APIRoute]:
    """A kind of route that takes JSON, and reads no more of it than so much, whatever the request's headers say."""

    class BoundedRoute(APIRoute):
        def _bound(self) -> Respond:
            respond = APIRoute.get_route_handler(self)

            async def bounded(request: Request) -> Response:
                size = 0

                async def receive() -> Message:
                    nonlocal size
                    message = await request.receive()
                    size += len(message.get("body", b""))
                    if size > max_body_bytes:
                        raise HTTPException(413, f"at most {max_body_bytes} bytes may be sent")
                    return message

                # Browsers let any site send the other types with the user's cookies, and none at all, but not this one.
                kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                if kind != "application/json":
                    raise HTTPException(415, "the body must be application/json")
                announced = request.headers.get("content-length", "")
                if announced.isascii() and announced.isdigit() and int(announced[:20]) > max_body_bytes:
                    raise HTTPException(413, f"at most {max_body_bytes} bytes may be sent")
                return await respond(Request(request.scope, receive))

            return bounded

        get_route_handler = _bound

    return BoundedRoute

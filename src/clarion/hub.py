"""The hub: all of Clarion in one process. Publish, stream, subscribe, kick, drain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack

from clarion.clock import Clock, SystemClock
from clarion.engine import KICK, Engine, Settings
from clarion.errors import InvalidTopic
from clarion.generation.calls import GenerationCalls
from clarion.generation.feed import Feeds
from clarion.generation.running import Generations
from clarion.hub_calls import HubCalls
from clarion.journals import open_journal
from clarion.journals.base import Journal
from clarion.lifecycle import ShutdownSignals
from clarion.limits import Limits, check_seconds, interval_ms, unix_seconds
from clarion.local import LocalStream
from clarion.observer import Observer, guarded
from clarion.orders import Orders
from clarion.presence import Callbacks, Client
from clarion.progress import Progress, TaskOptions, Tasks
from clarion.publishing import Drafts
from clarion.retention import DURABLE_RETENTION, LIVE, MEMORY_RETENTION, Retention, RetentionRules, parse_since
from clarion.stream import Request, StreamResponse, refuse
from clarion.sync import SyncHub
from clarion.topics import TopicSet, check_id, check_pattern
from clarion.work.supervisor import Supervisor
from clarion.workers import check_workers

if TYPE_CHECKING:
    from starlette.responses import Response

    from clarion.fastapi import APIRouter, RouterOptions

HEARTBEAT_SECONDS: Final = 15.0  # less than the 30 to 60 s after which proxies give up on a silent connection
DRAIN_SECONDS: Final = 0.5  # over which streams are ended when the process is told to end

Topics = str | Iterable[str]
StartChoice = str | int | timedelta | datetime | None
Callback = TypeVar("Callback", bound=Callable[..., Any])

logger = logging.getLogger("clarion.hub")


class Hub(HubCalls, GenerationCalls):
    """Push for one app.

    journal: "memory://", "sqlite:///events.db", or a `clarion.journals.base.Journal`.
    retention, topic_retention: how much the journal keeps, for all and by topic pattern (`clarion.retention`).
    limits: how many readers, and how much each may ask for (`clarion.limits`).
    heartbeat_seconds: said to streams that were silent for so long; 0 for never.
    drain_seconds: over which the streams are ended when the process is told to end.
    observer: gets figures (`clarion.observer`). clock: for tests.

    A hub belongs to one event loop while it is open; calls from other threads go through `hub.sync`. It may be
    opened again after it was closed. Calls that need it open raise `HubClosed`.
    """

    def __init__(
        self,
        journal: str | Journal = "memory://",
        *,
        retention: Retention | None = None,
        topic_retention: Mapping[str, Retention] | None = None,
        limits: Limits = Limits(),  # noqa: B008 - immutable
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        drain_seconds: float = DRAIN_SECONDS,
        observer: Observer | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self.journal = open_journal(journal, now_ms=self._clock.wall_ms) if isinstance(journal, str) else journal
        if retention is None:
            retention = DURABLE_RETENTION if self.journal.shared else MEMORY_RETENTION
        self._rules = RetentionRules(retention, topic_retention)
        self._limits = limits
        self._heartbeat_seconds = check_seconds("heartbeat_seconds", heartbeat_seconds)
        self._drain_seconds = check_seconds("drain_seconds", drain_seconds)
        self._observer = guarded(observer or Observer())
        self._drafts = Drafts(limits.max_event_bytes)
        self._callbacks = Callbacks()
        self._orders = Orders()
        self._engine: Engine | None = None
        self._signals: ShutdownSignals | None = None
        self._closing = False
        self.sync = SyncHub(self)
        self.supervisor = Supervisor(self, self._clock)
        url = journal if isinstance(journal, str) and self.journal.shared else None
        self._tasks = Tasks(self, self._clock, url)
        self.task = self._tasks.task  # `@hub.task(title="Report")` makes a task of a function
        self._generations = Generations(self, self._clock, limits.max_event_bytes)
        self._feeds = Feeds(self._follow_value, lambda topic, user: self.get(topic, user=user), self._clock)

    # Opening and closing.

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None]:
        """The hub's life as an app's: `FastAPI(lifespan=hub.lifespan)`. In one of your own: `async with hub:`."""
        async with self:
            yield

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Open the journal and begin. Raises `JournalError` if the journal cannot be opened."""
        if self._engine is not None:
            raise RuntimeError("the hub is open already")
        check_workers(self.journal.shared)
        await self.journal.open(self._rules)
        settings = Settings(self._limits, self._drain_seconds, self._clock, self._observer)
        engine = Engine(self.journal, settings, self._callbacks, self._orders)
        try:
            await engine.start()
        except BaseException:
            await self.journal.close()
            raise
        self._engine = engine
        try:
            await self.supervisor.start()
        except BaseException:
            await self.close()
            raise
        self._signals = ShutdownSignals(engine.begin_drain)
        self._signals.install()

    async def close(self) -> None:
        """Say bye to every reader, finish what was begun, and close the journal. Twice is once.

        Publishing works until the readers are gone, so an `on_disconnect` may tell others.
        """
        engine = self._engine
        if engine is None or self._closing:
            return
        self._closing = True
        if self._signals is not None:
            self._signals.uninstall()
        try:
            await self.supervisor.close()  # first: what is under way tells its end
            await self._tasks.close()
            await self._generations.close(self._feeds)
            await engine.close()
        finally:
            self._engine = None
            self._closing = False
            await self.journal.close()

    async def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Send every reader away, evenly over so many seconds, and refuse new ones. Publishing goes on."""
        await self._open_engine().drain(seconds)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that the hub belongs to."""
        return self._open_engine().loop

    async def settle(self) -> None:
        """Wait until everything published so far was offered to every live reader. For tests and benchmarks."""
        engine = self._open_engine()
        newest = (await self.journal.bounds()).newest
        await engine.delivery.settle(newest)

    # Work that tells how far it is (`clarion.progress`), and text that is generated (`clarion.generation`).

    def progress(self, task_id: str | None = None, **options: Unpack[TaskOptions]) -> Progress:
        """A task that tells its progress: `async with hub.progress("import:42") as p:`, or `with` in a thread.

        task_id: its topic; made up if None. options: `clarion.progress.TaskOptions`. Raises what `Progress` raises.
        """
        return self._tasks.progress(task_id, **options)

    async def cancel(self, task_id: str, *, user: str | None = None) -> None:
        """Ask a task or a generation to stop, in whatever process it runs; its value says that it did.

        user: only if it was begun for this user. Raises `UnknownWork` (404), `NotCancellable` (409), `JournalError`.
        """
        await self.supervisor.cancel(task_id, user=user)

    # Streams and subscriptions.

    def stream(
        self,
        *,
        topics: Topics = (),
        user: str | None = None,
        since: StartChoice = None,
        expires_at: datetime | float | None = None,
        heartbeat_seconds: float | None = None,
        max_age_seconds: float | None = None,
        max_rate_per_second: float | None = None,
        meta: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """A response that streams events. Return it from a path function, a route, or call it as an ASGI app.

        topics: topics and patterns this reader may have: decide that before. Invalid ones are answered with 422.
        user: whose stream it is; it gets what is sent to that user, to everyone, and to itself.
        since: where a reader without a Last-Event-ID starts; a `since` in the query goes before it.
        expires_at: when its right to the stream ends (a datetime or Unix time); it is told `bye` "expired" then.
        heartbeat_seconds: instead of the hub's. max_age_seconds: the stream is ended after so long, and resumed.
        max_rate_per_second: it is told each value no more often than this, folded, the last state always; plain events
        come at once.
        meta: kept for `clients` and the callbacks. headers: more response headers.

        A naive `expires_at` is taken as local time. A client may ask for another `since`, and so for all that is kept
        of these topics. The response's `background` runs when the request is over; on the socket sink that is at once.

        Raises `InvalidTopic` for a user id, `ValueError` for times that cannot be.
        """
        if user is not None:
            user = check_id("user", user)
        parse_since(since, 0)
        heartbeat = self._heartbeat_seconds
        if heartbeat_seconds is not None:
            heartbeat = check_seconds("heartbeat_seconds", heartbeat_seconds)
        if max_age_seconds is not None:
            check_seconds("max_age_seconds", max_age_seconds)
        try:
            request = Request(
                self._topic_set(topics),
                user,
                since,
                None if expires_at is None else round(unix_seconds(expires_at) * 1000),
                heartbeat,
                max_age_seconds,
                interval_ms(max_rate_per_second),
                meta,
            )
        except InvalidTopic as error:
            logger.info("a stream is refused: %s", error)
            self._observer.refused("topics")
            return refuse(422, f"a topic that was asked for cannot be: it {error.why}")
        return StreamResponse(self._engine, request, headers)

    def router(self, **options: Unpack[RouterOptions]) -> APIRouter:
        """A FastAPI router with `GET /events`, `POST /notify/{user_id}`, `POST /broadcast` and `POST /publish`.

        The options and what they mean: `clarion.fastapi.router`. Raises `ImportError` where FastAPI is missing.
        """
        try:
            from clarion.fastapi import router
        except ModuleNotFoundError as error:
            if error.name not in ("fastapi", "pydantic"):
                raise
            raise ImportError('hub.router() needs FastAPI: pip install "clarion[fastapi]"') from error
        return router(self, **options)

    def subscribe(self, topics: Topics, since: StartChoice = None) -> LocalStream:
        """An asynchronous iterator of the events of some topics, for code inside this process.

        `async with hub.subscribe("orders/*") as events: async for event in events: ...`
        """
        engine = self._open_engine()
        return LocalStream(engine, self._topic_set(topics), parse_since(since, self._clock.wall_ms()))

    def _follow_value(self, topic: str, user: str | None) -> LocalStream:
        topics = TopicSet((topic,) if user is None else ())
        return LocalStream(self._open_engine(), topics, LIVE, user)

    def _topic_set(self, topics: Topics) -> TopicSet:
        names = [topics] if isinstance(topics, str) else list(topics)
        if len(names) > self._limits.max_topics:
            raise InvalidTopic(names[0], f"is one of {len(names)}, at most {self._limits.max_topics} may be asked for")
        return TopicSet(check_pattern(name) for name in names)

    # Who is there.

    @property
    def client_count(self) -> int:
        """How many clients are connected to this process."""
        return 0 if self._engine is None else self._engine.audiences.streams

    def clients(self, *, user: str | None = None, topic: str | None = None) -> list[Client]:
        """The clients connected to this process: all, those of a user, those who get events of a topic."""
        engine = self._open_engine()
        readers = engine.find(user)
        return [engine.client(reader) for reader in readers if topic is None or reader.wants(topic)]

    def user_clients(self, user_id: str) -> list[Client]:
        """The clients of a user that are connected to this process."""
        return self.clients(user=user_id)

    def on_connect(self, callback: Callback) -> Callback:
        """Have `callback(client)` called when a client comes, before it gets anything. May be a coroutine function."""
        self._callbacks.connect.append(callback)
        return callback

    def on_disconnect(self, callback: Callback) -> Callback:
        """Have `callback(client, reason)`, or `callback(client)`, called once when a client is gone; may be async."""
        self._callbacks.add_disconnect(callback)
        return callback

    async def kick(self, *, user: str | None = None, client: str | None = None, reason: str = "kicked") -> None:
        """End the streams of a user, or of one client, in every process that shares the journal.

        reason: "kicked", or "done" (they get all that was published before, and a reconnect is answered 204), or
        another reason of `bye`; any other text is told as the detail of "kicked".
        """
        if user is None and client is None:
            raise ValueError("kick whom? give user= or client=")
        await self.order(KICK, {"user": user, "client": client, "reason": reason})

"""Generations under way in this process: begun, supervised, and ended with a terminal state, always."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar, Unpack

from clarion.clock import Clock
from clarion.errors import ClarionError, ValueTooLarge
from clarion.generation.errors import GenerationRunning
from clarion.generation.feed import Feeds
from clarion.generation.options import GenerationOptions, Produce, Started
from clarion.generation.producers.text import text_producer
from clarion.generation.state import EVENT_TYPE, GenerationState
from clarion.generation.target import HubTarget, Step
from clarion.generation.writer import GenerationWriter
from clarion.topics import check_id, check_topic
from clarion.work.addresses import Address
from clarion.work.endings import VALUE_SECONDS
from clarion.work.failures import Cancelled, Failure, UnknownWork, report
from clarion.work.leases import ASKED, LEASE, LEASE_SECONDS, SHUTDOWN, Lease, check_lease_seconds
from clarion.work.ports import HubPort
from clarion.work.status import CANCELLED, COMPLETED, ENDED, FAILED, LOST
from clarion.work.viewers import NoViewers, no_viewers_seconds

KIND: Final = "generation"  # of the lease
MESSAGE_PREFIX: Final = "msg_"
FRAME_BYTES: Final = 1024  # of the bound of an event: its topic and the lines around the value, at most
MAX_KEY_CHARS: Final = 200  # of an idempotency key; what names a value may come from elsewhere
REPLACE_MS: Final = 10_000  # for a generation that is to make room to tell its end
REPLACE_POLL_SECONDS: Final = 0.05
LAST_WORDS_SECONDS: Final = 1.0  # for viewers to be told that a text is lost, when the hub closes
TOO_LARGE_CODE: Final = "too_large"
TOO_LARGE_TEXT: Final = "The text has become too long."

Result = TypeVar("Result")

logger = logging.getLogger("clarion.generation")


class _Run:
    """One generation: its writer, its lease, the task that writes. A `clarion.work.supervisor.Stoppable`."""

    def __init__(self, lease: Lease, out: GenerationWriter) -> None:
        self.lease = lease
        self.out = out
        self.reason: str | None = None  # why it is to stop
        self.task: asyncio.Task[Any] | None = None
        self.interrupted = False  # whether the task was cancelled for it
        self.over = False  # what it has to say is said

    def cancel(self, reason: str) -> None:
        if self.reason is None and not self.over:
            self.reason = reason
            self.out.cancel(lambda: Cancelled(self.lease.id, reason))
            if self.task is not None:
                self.interrupted = self.task.cancel()


class Generations:
    """The generations of one hub. Belongs to its event loop while it is open."""

    def __init__(self, hub: HubPort, clock: Clock, max_event_bytes: int) -> None:
        self._hub = hub
        self._clock = clock
        self._max_value_bytes = max_event_bytes - FRAME_BYTES
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended_by_shutdown: set[tuple[str, str | None]] = set()

    async def generate(
        self, topic: str, produce: Produce | AsyncIterable[str], **options: Unpack[GenerationOptions]
    ) -> Started:
        """See `Hub.generate`."""
        if isinstance(produce, AsyncIterable):
            produce = text_producer(produce)
        if not callable(produce):
            raise TypeError(f"produce must be a coroutine function or an async iterable, not {type(produce).__name__}")
        run, started = await self._begin(topic, **options)
        self._keep(self._detached(run, produce))
        return started

    @asynccontextmanager
    async def generation(self, topic: str, **options: Unpack[GenerationOptions]) -> AsyncGenerator[GenerationWriter]:
        """See `Hub.generation`."""
        run, _ = await self._begin(topic, **options)
        task = run.task = asyncio.current_task()
        error: BaseException | None = None
        try:
            if run.reason is None:  # nobody was faster
                yield run.out
        except BaseException as raised:
            error = raised
        run.over = True
        asked = run.reason is not None
        if run.interrupted and task is not None:
            task.uncancel()
        failure = await self._end(run, error, asked)
        if asked and (error is None or isinstance(error, asyncio.CancelledError)):
            raise Cancelled(run.lease.id, run.reason or ASKED)
        if error is not None:
            raise error
        if failure is not None:
            raise failure

    async def close(self, feeds: Feeds) -> None:
        """Let the viewers of what the closing hub has ended hear of it, and let go of what still tries to tell its end.

        Call it when the supervisor is closed, which has stopped the generations, and before the engine is.
        """
        ended, self._ended_by_shutdown = self._ended_by_shutdown, set()
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await feeds.drained(ended)
        except TimeoutError:
            pass  # they are slow, and will hear of it when they come back
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Beginning.

    async def _begin(
        self,
        topic: str,
        *,
        user: str | None = None,
        model: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        replace: bool = False,
        ttl: float | None = VALUE_SECONDS,
        lease_seconds: float = LEASE_SECONDS,
        cancellable: bool = True,
        on_no_viewers: NoViewers = "continue",
    ) -> tuple[_Run, Started]:
        topic = check_topic(topic)
        user = None if user is None else check_id("user", user)
        message_id = MESSAGE_PREFIX + secrets.token_hex(12)
        lease = Lease(
            topic,
            KIND,
            message_id,
            (Address(topic, user),),
            EVENT_TYPE,
            check_lease_seconds(lease_seconds),
            user,
            cancellable,
            no_viewers_seconds(on_no_viewers),
        )
        state = GenerationState(message_id, self._clock.wall_ms(), model=model, metadata=metadata)
        target = HubTarget(self._hub, topic, user, ttl)
        run = _Run(lease, GenerationWriter(topic, state, target, self._clock, self._max_value_bytes))
        await self._make_room(lease, replace)
        if self._hub.supervisor.working(topic):
            raise GenerationRunning(topic)
        self._hub.supervisor.announce(lease, run)
        starting = self._keep(self._start(run, target))
        try:
            position = await asyncio.shield(starting)
        except asyncio.CancelledError as error:
            self._keep(self._abandon(run, starting, error))
            raise
        run.out.begin()
        return run, {"id": topic, "position": position, "messageId": message_id}

    async def _make_room(self, lease: Lease, replace: bool) -> None:
        """Refuse, or cancel, what is under way on the topic; wait for what has told its end to let go of it."""
        deadline_ms = self._clock.monotonic_ms() + REPLACE_MS
        asked = False
        while (present := await self._under_way(lease.id)) is not None:
            if present.kind != KIND or self._clock.monotonic_ms() > deadline_ms:
                raise GenerationRunning(lease.id)
            has_ended = not (await self._present(present))[1]
            if not replace and not has_ended:
                raise GenerationRunning(lease.id)
            if not asked and not has_ended:
                asked = True
                try:
                    await self._hub.supervisor.cancel(lease.id)
                except UnknownWork:
                    return
            await asyncio.sleep(REPLACE_POLL_SECONDS)

    async def _under_way(self, topic: str) -> Lease | None:
        supervisor = self._hub.supervisor
        try:
            lease = await supervisor.find(topic)
        except UnknownWork:
            return None
        if supervisor.working(topic) or topic in await self._hub.control_values(LEASE):
            return lease
        return None  # it has just ended, which this hub has not heard yet

    async def _start(self, run: _Run, target: HubTarget) -> str:
        """Take the lease and tell the start, or raise and leave no trace. Returns its position.

        The idempotency key is the same for all who would replace the same value, so one of them wins.
        """
        lease = run.lease
        try:
            before = await self._present(lease)
            await self._hub.supervisor.hold(lease, run)
            while True:
                begin = Step("set", run.out.value, f"begin after {before[0]}"[:MAX_KEY_CHARS])
                (receipt,) = await target.tell(begin)
                if not receipt.duplicate:
                    return receipt.id
                now = await self._present(lease)
                if now == before:  # who began with this key has been deleted since
                    (receipt,) = await target.tell(begin._replace(key=None))
                    return receipt.id
                if now[1]:
                    raise GenerationRunning(lease.id)
                before = now
        except BaseException:
            await self._hub.supervisor.release(lease)
            raise

    async def _present(self, lease: Lease) -> tuple[str, bool]:
        """What names the value that is there, and whether it is a generation under way."""
        value = await self._hub.get(lease.id, user=lease.owner)
        if not isinstance(value, dict):
            return "nothing", False
        message_id = value.get("messageId")
        return message_id if isinstance(message_id, str) else "something", value.get("status") not in ENDED

    async def _abandon(self, run: _Run, starting: asyncio.Task[str], error: BaseException) -> None:
        """Who began it was cancelled meanwhile: if it has begun all the same, it ends."""
        try:
            await starting
        except ClarionError:
            return
        run.over = True
        await self._tell_end(run, error, asked=False)

    # Running and ending.

    async def _detached(self, run: _Run, produce: Produce) -> None:
        """Run the producer in a task of its own, so that whatever befalls it, its end is told from here."""

        async def producing() -> None:
            await produce(run.out)

        task = run.task = asyncio.get_running_loop().create_task(producing(), name=f"clarion producer {run.lease.id}")
        if run.reason is not None:
            task.cancel()
        try:
            await asyncio.wait([task])
        finally:
            run.over = True
            task.cancel()
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        await self._tell_end(run, error, run.reason is not None)

    async def _end(self, run: _Run, error: BaseException | None, asked: bool) -> Exception | None:
        """Have the end told, also if the caller is cancelled meanwhile."""
        ending = self._keep(self._tell_end(run, error, asked))
        try:
            return await asyncio.shield(ending)
        except asyncio.CancelledError:
            if not asked or ending.done():
                raise
        return await asyncio.shield(ending)  # that was the request to stop, which the task had not been given yet

    async def _tell_end(self, run: _Run, error: BaseException | None, asked: bool) -> Exception | None:
        """Tell how it ended, and give the lease back. Returns why what was written could not be told, if so."""
        lease = run.lease
        failure = await run.out.close()
        told: Failure | None = None
        if asked:
            status = LOST if run.reason == SHUTDOWN else CANCELLED
            if status == LOST:
                self._ended_by_shutdown.add((lease.id, lease.owner))
        elif isinstance(error, asyncio.CancelledError | Cancelled | GeneratorExit):
            status = CANCELLED
        elif (wrong := error or failure) is not None:
            status = FAILED
            told = report(lease.id, wrong)
            if isinstance(wrong, ValueTooLarge):
                told = {"code": TOO_LARGE_CODE, "message": TOO_LARGE_TEXT, "ref": told["ref"]}
        else:
            status = COMPLETED
        try:
            await run.out.end(status, lease.end_key, error=told)
        except ClarionError as error:
            logger.error("the end of %s (%s) could not be told: %s", lease.id, status, error)
        finally:
            await self._hub.supervisor.release(lease)
        return failure

    def _keep(self, call: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = asyncio.get_running_loop().create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

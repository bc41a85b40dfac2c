"""The one task of a source: connect, read into the buffer, notice that the stream is dead, wait, come back."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from clarion.client.asking import Answered, Asking, read_beginning
from clarion.client.errors import (
    HeadersFailed,
    NotAStream,
    RedirectFailed,
    RequestImpossible,
    SourceError,
    StreamKicked,
    StreamRefused,
    TransportFailed,
    phrase_of,
)
from clarion.client.options import Settings
from clarion.client.policy import Action, Failures, retry_after_ms
from clarion.client.received import Item, Status
from clarion.client.states import Signal, State, after

if TYPE_CHECKING:
    from collections.abc import Callable

    from clarion.client.buffer import Buffer
    from clarion.client.reader import Reader
    from clarion.client.transport import Response, Transport
    from clarion.clock import Clock, Timer


class Next(StrEnum):
    """What follows an attempt."""

    CONNECT = "connect"
    WAIT = "wait"
    PAUSE = "pause"
    CLOSE = "close"


class End(NamedTuple):
    """How an attempt ended. reason, detail, error: of the `Status` that follows.

    at_least_ms: what the server asks to wait. on_purpose: it was no failure. values_anew: ask for all values next.
    """

    next: Next
    reason: str = ""
    detail: str = ""
    error: SourceError | None = None
    at_least_ms: int = 0
    on_purpose: bool = False
    values_anew: bool = False


class Feed:
    """Runs in one event loop; all calls are made there. What it reads and what becomes of it goes into the buffer.

    There is one attempt at a time, in a task of its own: whatever ends it early (a timer, its owner) cancels that task
    and says why, and nothing that it would still do can matter.
    """

    def __init__(self, settings: Settings, reader: Reader, buffer: Buffer, transport: Transport, clock: Clock) -> None:
        self.status = Status(State.IDLE)
        self._settings = settings
        self._reader = reader
        self._buffer = buffer
        self._clock = clock
        self._failures = Failures(settings.backoff.stable_ms)
        self._asking = Asking(settings, transport)
        self._attempt: asyncio.Task[End] | None = None
        self._interrupted: End | None = None
        self._woken = asyncio.Event()  # a wait is over
        self._heard_ms = 0  # when the last byte came
        self._listening = False  # not while the buffer is being emptied
        self._timer: Timer | None = None  # of this attempt: for the answer, then for silence
        self._due_ms = 0

    async def run(self) -> None:
        """Go on until there is nothing to come back for. Then the last status says why, and the buffer is closed."""
        try:
            end = End(Next.CONNECT)
            while end.next is not Next.CLOSE:
                if end.values_anew:
                    self._reader.forget_values()
                if end.next is Next.CONNECT:
                    self._move(Signal.CONNECT)
                    end = await self._try_once()
                elif end.next is Next.PAUSE:
                    self._move(Signal.PAUSE)
                    end = await self._wait(None)
                else:
                    delay_ms = self._delay_ms(end)
                    self._move(Signal.LOST, end, delay_ms / 1000)
                    end = await self._wait(delay_ms)
            self._move(Signal.CLOSE, end)
        except asyncio.CancelledError:
            self._move(Signal.CLOSE, End(Next.CLOSE, "closed"))
            raise
        except BaseException:  # of a transport, or of the source: raised where events are asked for
            self._move(Signal.CLOSE, End(Next.CLOSE, "fault", "the source or its transport is at fault"))
            raise
        finally:
            self._buffer.close()

    def reconnect(self, *, values_anew: bool = False) -> None:
        """Connect at once, whatever it is doing; with a new request, and without the failures so far."""
        self._failures.forget()
        self._interrupt(End(Next.CONNECT, values_anew=values_anew))

    def pause(self) -> None:
        """Let go of the connection until `reconnect`."""
        if self.status.state is not State.PAUSED:
            self._interrupt(End(Next.PAUSE))

    def refetch_values(self) -> None:
        """A value was lost: ask for all of them, no sooner than after any failure."""
        if self._attempt is None:
            self._reader.forget_values()
        else:
            self._interrupt(End(Next.WAIT, "values", "a value was lost", values_anew=True))

    def _move(self, signal: Signal, end: End | None = None, delay_seconds: float | None = None) -> None:
        state = after(self.status.state, signal)
        if end is None:
            self.status = Status(state)
        else:
            self.status = Status(state, end.reason, end.detail, delay_seconds, error=end.error)
        self._buffer.put_status(Item(self._reader.last_event_id, status=self.status))

    def _interrupt(self, end: End) -> None:
        self._interrupted = end
        if self._attempt is not None:
            self._attempt.cancel()
        self._woken.set()

    def _interruption(self) -> End | None:
        end, self._interrupted = self._interrupted, None
        return end

    def _delay_ms(self, end: End) -> int:
        now_ms = self._clock.monotonic_ms()
        failures = 0
        if end.on_purpose:
            self._failures.ended(now_ms)
        else:
            failures = self._failures.lost(now_ms)
        return self._settings.backoff.delay_ms(
            retry_ms=self._reader.retry_ms,
            failures=failures,
            at_least_ms=end.at_least_ms,
            random=self._settings.random(),
        )

    async def _wait(self, delay_ms: int | None) -> End:
        """Until the time is over, or the owner says what to do."""
        if (end := self._interruption()) is not None:
            return end
        self._woken.clear()
        timer = None if delay_ms is None else self._clock.call_later(delay_ms, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            if timer is not None:
                timer.cancel()
        return self._interruption() or End(Next.CONNECT)

    async def _try_once(self) -> End:
        if (end := self._interruption()) is not None:
            return end
        attempt = self._attempt = asyncio.ensure_future(self._ask_and_read())
        self._start_timer(self._settings.connect_timeout_ms, self._no_answer)
        try:
            await asyncio.wait((attempt,))
        finally:
            self._stop_timer()
            self._attempt = None
            if not attempt.done():  # this task is being cancelled
                attempt.cancel()
                await asyncio.wait((attempt,))
        interruption = self._interruption()
        if attempt.cancelled():
            if interruption is None:
                raise asyncio.CancelledError("the source's attempt was cancelled by somebody else")
            return interruption
        error = attempt.exception()
        if error is None and (end := attempt.result()).next is Next.CLOSE:
            return end
        if interruption is not None:
            return interruption
        if isinstance(error, TransportFailed):
            return End(Next.WAIT, "redirect" if isinstance(error, RedirectFailed) else "network", str(error))
        if isinstance(error, RequestImpossible):
            return End(Next.CLOSE, "impossible", str(error), error)
        if isinstance(error, HeadersFailed):
            self._buffer.put((Item(self._reader.last_event_id, error=error),))
            return End(Next.WAIT, "headers", str(error))
        return attempt.result()

    async def _ask_and_read(self) -> End:
        self._reader.begin()
        async with self._asking.ask(self._reader.last_event_id) as answered:
            if answered.action is Action.OPEN:
                return await self._read(answered.response)
            return await self._judge(answered)

    async def _judge(self, answered: Answered) -> End:
        """What to do after an answer that is no stream."""
        answer, action, response = answered
        status = answer.status
        detail = f"the server answered {status} {phrase_of(status)}".rstrip()
        if action is Action.DONE:
            return End(Next.CLOSE, "done", "the stream is complete (204)")
        if action is Action.ASK_AGAIN:
            return End(Next.CONNECT)
        if status == 200:
            return End(Next.CLOSE, "not_a_stream", detail, NotAStream(answer.content_type))
        error = StreamRefused(status)
        if action is Action.WAIT:
            at_least_ms = retry_after_ms(answer.retry_after, self._clock.wall_ms())
            end = End(Next.WAIT, "status", detail, error, at_least_ms)
        else:
            end = End(Next.CLOSE, "unauthorized" if status in (401, 403) else "refused", detail, error)
        self._start_timer(self._settings.connect_timeout_ms, partial(self._interrupt, end))
        await read_beginning(response, error)
        return end

    async def _read(self, response: Response) -> End:
        self._failures.opened(self._clock.monotonic_ms())
        self._stop_timer()
        self._move(Signal.OPENED)
        self._listen()
        async with aclosing(response.chunks()) as chunks:
            async for data in chunks:
                items = self._reader.feed(data)
                for item in items:
                    if item.connected is not None:
                        self.status = Status(State.OPEN, connected=item.connected)
                self._buffer.put(items)
                if self._reader.bye is not None:
                    return self._said_bye()
                self._listening = False
                await self._buffer.drained()
                self._listen()
        return End(Next.WAIT, "ended", "the stream broke off")

    def _said_bye(self) -> End:
        assert self._reader.bye is not None
        reason, at_least_ms, detail = self._reader.bye
        if reason == "done":
            return End(Next.CLOSE, "done", "the stream is complete")
        if reason == "kicked":
            return End(Next.CLOSE, "kicked", detail, StreamKicked(detail))
        return End(Next.WAIT, reason, "the server says bye", at_least_ms=at_least_ms, on_purpose=True)

    def _listen(self) -> None:
        """A byte has come, or reading goes on after a while: from now on the stream may be silent for so long."""
        self._listening = True
        self._heard_ms = self._clock.monotonic_ms()
        limit_ms = self._silence_ms()
        # A timer that is due before looks again by itself: most bytes leave it as it is.
        if limit_ms is not None and (self._timer is None or self._heard_ms + limit_ms < self._due_ms):
            self._start_timer(limit_ms, self._check_silence)

    def _silence_ms(self) -> int | None:
        """What the stream said, or the one before it; else what the owner said."""
        limit_ms = self._settings.silence_ms if self._reader.silence_ms is None else self._reader.silence_ms
        return self._settings.frame_ms if limit_ms is None and not self._reader.at_rest else limit_ms

    def _check_silence(self) -> None:
        """One timer for many bytes: when it is due it looks how long ago the last one came."""
        self._timer = None
        limit_ms = self._silence_ms()
        if limit_ms is None:
            return
        silent_ms = self._clock.monotonic_ms() - self._heard_ms if self._listening else 0
        if silent_ms >= limit_ms:
            self._interrupt(End(Next.WAIT, "silent", f"not a byte for {limit_ms / 1000:g} s, the connection is dead"))
        else:
            self._start_timer(limit_ms - silent_ms, self._check_silence)

    def _no_answer(self) -> None:
        seconds = self._settings.connect_timeout_ms / 1000
        self._interrupt(End(Next.WAIT, "timeout", f"no answer within {seconds:g} s"))

    def _start_timer(self, delay_ms: int, callback: Callable[[], None]) -> None:
        self._stop_timer()
        self._due_ms = self._clock.monotonic_ms() + delay_ms
        self._timer = self._clock.call_later(delay_ms, callback)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

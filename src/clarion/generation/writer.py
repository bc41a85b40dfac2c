"""The writer: what a generation is written with. Pieces gather, and one loop tells the journal, never the caller."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from clarion import json
from clarion.clock import Clock
from clarion.errors import ClarionError, JournalError
from clarion.generation.coalescing import Coalescing
from clarion.generation.state import FINISH_REASONS, GenerationState, check_part
from clarion.generation.target import Growth, Step, Target

MAX_PENDING_BYTES: Final = 256 * 1024  # held while the journal does not answer: minutes of any model's text
PATIENCE_MS: Final = 15_000  # for which a failing journal is tried before writing fails
RETRY_MS: Final = (250, 2_000)  # after a failure, and at most, doubled each time

logger = logging.getLogger("clarion.generation")


class GenerationWriter:
    """A generation under way, for who writes it. Belongs to the hub's event loop; several tasks may write.

    topic: where its value is. message_id: its own id, the same in every format. finish_reason: why the model stopped
    (`stop`, `length`, `content-filter`, `tool-calls` or `other`), told at the end; None if that is not known.
    usage: counts of tokens, told at the end: `inputTokens`, `outputTokens`, `totalTokens`.

    Writing waits for the journal only when MAX_PENDING_BYTES have gathered. It raises `Cancelled` once somebody asked
    to stop, a `JournalError` when the journal has failed for PATIENCE_MS, `ValueTooLarge` when the value has no room
    left, and `RuntimeError` when the generation has ended. Making one raises `InvalidEvent` for metadata that JSON
    cannot say, and `ValueTooLarge`.
    """

    def __init__(self, topic: str, state: GenerationState, target: Target, clock: Clock, max_value_bytes: int) -> None:
        self.topic = topic
        self.message_id: str = state.value["messageId"]
        self.finish_reason: str | None = None
        self.usage: dict[str, int] | None = None
        self._state = state
        self._target = target
        self._clock = clock
        self._growth = Growth(topic, max_value_bytes)
        self._growth.check(state.value, state.value)
        self._coalescing = Coalescing()
        self._ring = asyncio.Event()  # the loop has something to do
        self._room = asyncio.Event()  # something that waiting writers wait for has happened
        self._telling: asyncio.Task[None] | None = None
        self._closed = False
        self._failure: Exception | None = None
        self._left: dict[str, Any] | None = None  # taken, and told with the end
        self._unsure = False  # whether the journal has what it was told last
        self._cancelled: Callable[[], ClarionError] | None = None
        self._calls = 0

    # For who writes.

    @property
    def text(self) -> str:
        """The text so far."""
        return self._state.text("text")

    @property
    def value(self) -> dict[str, Any]:
        """The whole value as far as it was told. Do not change it."""
        return self._state.value

    async def write(self, text: str) -> None:
        """Write more of the text. Raises `InvalidEvent` for text that is not valid Unicode; see the class."""
        await self.add(lambda: self._state.write("text", text))

    def part(self, name: str) -> Part:
        """A named part beside the text: `reasoning`, `refusal`, or one of your own. Raises `ValueError` for a name."""
        return Part(self, check_part(name))

    async def tool_call(self, name: str, *, id: str | None = None, input: Any = None) -> ToolCallWriter:  # noqa: A002
        """The model calls a tool. id: the vendor's, or one is made. input: all of it, if it is known already.

        Raises `ValueError` for an id that is in use.
        """
        if id is None:
            self._calls += 1
            id = f"call_{self._calls}"  # noqa: A001
        call = ToolCallWriter(self, id)
        given = None if input is None else json.encode(input).decode()
        await self.add(lambda: self._state.begin_tool_call(id, name))
        if given is not None:
            await call.write(given)
            await call.end()
        return call

    # For the parts and the run.

    @property
    def state(self) -> GenerationState:
        """What is written, and what of it is still to be told."""
        return self._state

    async def add(self, write: Callable[[], int]) -> None:
        """Have `write` add to the state, and tell it in its time."""
        self.check()
        if self._coalescing.pending_bytes >= MAX_PENDING_BYTES:
            await self._until_room()
        size = write()
        if not size:
            return
        waiting = self._coalescing.pending_bytes
        self._coalescing.add(size)
        due = self._coalescing.wait_ms(self._clock.monotonic_ms()) == 0
        if due or not waiting:
            self._ring.set()
        if due:
            await asyncio.sleep(0)  # who never waits for its model must let the loop have its turn

    def begin(self) -> None:
        """The start was told: begin to tell the rest."""
        self._telling = asyncio.get_running_loop().create_task(self._tell(), name=f"clarion generation {self.topic}")

    def cancel(self, error: Callable[[], ClarionError]) -> None:
        """From now on writing raises what `error` makes."""
        self._cancelled = error
        self._room.set()

    async def close(self) -> Exception | None:
        """Take no more; returns why what was written could not be told, if so. Twice is once."""
        self._closed = True
        self._ring.set()
        self._room.set()
        if self._telling is not None:
            await asyncio.gather(self._telling, return_exceptions=True)
            if not self._telling.cancelled() and isinstance(error := self._telling.exception(), Exception):
                self._failure = error
        if self._failure is None or isinstance(self._failure, JournalError):  # which may be back for the end
            self._left = self._taken() or self._left
        return self._failure

    async def end(self, status: str, key: str, **facts: Any) -> None:
        """Tell, after `close`, what is left and how it ended, in one run; again and again until the journal has it.

        key: the idempotency key of the end. facts: members beside `status`; those that are None are not said.
        Raises a `ClarionError` that is no `JournalError`: the hub is closed.
        """
        reason = self.finish_reason if self.finish_reason in FINISH_REASONS else None
        patch = self._state.end(status, self._clock.wall_ms(), finishReason=reason, usage=self.usage, **facts)
        steps = [Step("append", self._left)] if self._left else []
        steps.append(Step("merge", patch, key))
        delay_ms = RETRY_MS[0]
        while True:
            if self._unsure:
                steps = [Step("set", self._state.value, key)]
            try:
                receipts = await self._target.tell(*steps)
            except JournalError as error:
                logger.warning("the end of the text on %s waits for the journal: %s", self.topic, error)
                self._unsure = True
                await self._sleep(delay_ms)
                delay_ms = min(2 * delay_ms, RETRY_MS[1])
            except ClarionError:
                if self._unsure:
                    raise
                self._unsure = True  # somebody else has changed the value; the end is told all the same
            else:
                if receipts[-1].duplicate:  # a hub said that it is lost, or an earlier attempt has arrived after all
                    await self._target.tell(Step("set", self._state.value))
                return

    def check(self) -> None:
        """Raise why nothing more can be written, if so."""
        if self._closed:
            raise RuntimeError(f"the generation on {self.topic!r} has ended; nothing can be written to it")
        if self._cancelled is not None:
            raise self._cancelled()
        if self._failure is not None:
            raise self._failure

    async def _until_room(self) -> None:
        while self._coalescing.pending_bytes >= MAX_PENDING_BYTES:
            self._room.clear()
            await self._room.wait()
            self.check()

    # The loop.

    async def _tell(self) -> None:
        while not self._closed and self._failure is None:
            wait_ms = self._coalescing.wait_ms(self._clock.monotonic_ms())
            if wait_ms == 0:
                await self._flush()
            else:
                await self._rung(wait_ms)

    async def _rung(self, wait_ms: int | None) -> None:
        """Wait until the bell is rung, for so long at most."""
        self._ring.clear()
        timer = None if wait_ms is None else self._clock.call_later(wait_ms, self._ring.set)
        try:
            await self._ring.wait()
        finally:
            if timer is not None:
                timer.cancel()

    async def _flush(self) -> None:
        self._coalescing.take(self._clock.monotonic_ms())
        before = self._state.value
        delta = self._taken()
        if delta is None:
            return
        try:
            await self._target.tell(Step("append", delta))
        except JournalError as error:
            await self._recover(error)
        except ClarionError as error:
            self._state.value = before
            self._fail(error)
        else:
            self._room.set()

    def _taken(self) -> dict[str, Any] | None:
        """What is next to be appended; None if there is nothing, or no room for it."""
        before = self._state.value
        delta = self._state.take()
        if delta is not None:
            try:
                self._growth.check(delta, self._state.value)
            except ClarionError as error:
                self._state.value = before
                self._fail(error)
                return None
        return delta

    async def _recover(self, error: ClarionError) -> None:
        """The journal failed. The next change is a `set` of the whole: right whether or not it has the last one."""
        self._unsure = True
        began_ms = self._clock.monotonic_ms()
        delay_ms = RETRY_MS[0]
        logger.warning("the text on %s waits for the journal: %s", self.topic, error)
        while not self._closed:
            if self._clock.monotonic_ms() - began_ms >= PATIENCE_MS:
                return self._fail(error)
            await self._pause(delay_ms)
            delay_ms = min(2 * delay_ms, RETRY_MS[1])
            try:
                await self._target.tell(Step("set", self._state.value))
            except JournalError as again:
                error = again
            except ClarionError as again:
                return self._fail(again)
            else:
                self._unsure = False
                self._room.set()
                logger.warning("the text on %s goes on", self.topic)
                return None
        return None

    async def _pause(self, delay_ms: int) -> None:
        """Wait for so long, or until it is to end."""
        until_ms = self._clock.monotonic_ms() + delay_ms
        while not self._closed and (left_ms := until_ms - self._clock.monotonic_ms()) > 0:
            await self._rung(left_ms)

    def _fail(self, error: ClarionError) -> None:
        self._failure = error
        self._room.set()

    async def _sleep(self, delay_ms: int) -> None:
        over = asyncio.Event()
        timer = self._clock.call_later(delay_ms, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()


class Part:
    """One named part of a generation."""

    def __init__(self, out: GenerationWriter, name: str) -> None:
        self._out = out
        self.name = name

    async def write(self, text: str) -> None:
        """Write more of it; see `GenerationWriter.write`."""
        await self._out.add(lambda: self._out.state.write(self.name, text))


class ToolCallWriter:
    """One call of a tool, as a model writes it."""

    def __init__(self, out: GenerationWriter, call_id: str) -> None:
        self._out = out
        self.id = call_id

    async def write(self, text: str) -> None:
        """More of the input, JSON text in pieces. Raises `ValueError` once it is complete."""
        await self._out.add(lambda: self._out.state.write_input(self.id, text))

    async def end(self) -> None:
        """The input is complete. Twice is once."""
        await self._out.add(lambda: self._out.state.end_input(self.id))

    async def output(self, output: Any) -> None:
        """What the tool gave: anything JSON can say. Completes the input. Raises `ValueError` the second time."""
        await self._out.add(lambda: self._out.state.answer(self.id, "output", output))

    async def error(self, text: str) -> None:
        """The tool failed; `text` is shown to people. Completes the input. Raises `ValueError` after an output."""
        await self._out.add(lambda: self._out.state.answer(self.id, "errorText", text))

"""The writer: when the journal is told what, and what happens when it does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from clarion.errors import JournalUnavailable, ValueMismatch, ValueTooLarge
from clarion.generation.coalescing import INTERVAL_MS
from clarion.generation.state import GenerationState
from clarion.generation.target import Step
from clarion.generation.writer import MAX_PENDING_BYTES, PATIENCE_MS, GenerationWriter
from clarion.position import Position
from clarion.receipt import Receipt
from clarion.testing import ManualClock
from clarion.values import MISSING, Change, applied
from clarion.work.failures import Cancelled
from clarion.work.status import COMPLETED, FAILED

CHANGES = {"set": Change.SET, "append": Change.APPEND, "merge": Change.MERGE}


class Told:
    """A journal with one value: it takes changes, fails, or is slow, as a test says."""

    def __init__(self) -> None:
        self.value: Any = MISSING
        self.steps: list[Step] = []
        self.failure: Exception | None = None
        self.applies_and_fails = False
        self.open = asyncio.Event()
        self.open.set()
        self.tries = 0
        self.keys: set[str] = set()

    async def tell(self, *steps: Step) -> list[Receipt]:
        self.tries += 1
        await self.open.wait()
        if self.failure is not None and not self.applies_and_fails:
            raise self.failure
        receipts = []
        for step in steps:
            duplicate = step.key in self.keys
            if not duplicate:
                self.value = applied(self.value, CHANGES[step.change], step.data)
                self.steps.append(step)
            if step.key is not None:
                self.keys.add(step.key)
            receipts.append(Receipt("k-1", Position("k", 1), 0, duplicate))
        if self.failure is not None:
            raise self.failure
        return receipts


async def turn(times: int = 30) -> None:
    """Let the loop turn: long enough for whatever needs no time to pass."""
    for _ in range(times):
        await asyncio.sleep(0)


class Desk:
    """A writer at its journal, with a clock that is turned by hand."""

    def __init__(self, max_value_bytes: int = 1_000_000) -> None:
        self.clock = ManualClock()
        self.told = Told()
        state = GenerationState("msg_1", self.clock.wall_ms())
        self.told.value = state.value
        self.out = GenerationWriter("chat/1", state, self.told, self.clock, max_value_bytes)
        self.out.begin()

    async def pass_ms(self, milliseconds: int) -> None:
        await turn()
        self.clock.advance(milliseconds / 1000)
        await turn()

    @property
    def texts(self) -> list[str]:
        return [step.data["text"] for step in self.told.steps if step.change == "append"]


async def finished(call: Any) -> Any:
    async with asyncio.timeout(5):
        return await call


async def ended(desk: Desk, status: str = COMPLETED, **facts: Any) -> None:
    assert await finished(desk.out.close()) is None
    await finished(desk.out.end(status, "end", **facts))


async def test_the_first_token_is_told_at_once_and_the_next_ones_together() -> None:
    desk = Desk()
    await desk.out.write("Once")
    await turn()
    assert desk.texts == ["Once"]
    for token in (" upon", " a", " time"):
        await desk.out.write(token)
    await desk.pass_ms(INTERVAL_MS - 1)
    assert desk.texts == ["Once"]
    await desk.pass_ms(1)
    assert desk.texts == ["Once", " upon a time"]
    await ended(desk)


async def test_two_thousand_tokens_at_a_hundred_a_second_cost_at_most_0_4_appends_each() -> None:
    desk = Desk()
    for _ in range(2_000):
        await desk.out.write("word")
        await desk.pass_ms(10)
    await ended(desk)
    assert 500 < len(desk.told.steps) <= 800
    assert desk.told.value["text"] == "word" * 2_000


async def test_much_text_is_told_before_its_time() -> None:
    desk = Desk()
    await desk.out.write("a")
    await turn()
    await desk.out.write("b" * 4_095)
    await turn()
    assert len(desk.texts) == 1
    await desk.out.write("c")
    await turn()
    assert desk.texts[1] == "b" * 4_095 + "c"
    await ended(desk)


async def test_writing_does_not_wait_for_the_journal() -> None:
    desk = Desk()
    desk.told.open.clear()
    async with asyncio.timeout(5):
        for _ in range(1_000):
            await desk.out.write("token ")
    await turn()
    assert desk.told.tries == 1
    desk.told.open.set()
    await ended(desk)
    assert desk.told.value["text"] == "token " * 1_000
    assert len(desk.told.steps) <= 3


async def test_who_never_waits_lets_the_loop_have_its_turn() -> None:
    desk = Desk()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    for _ in range(100):
        await desk.out.write("x" * 5_000)
    assert turns >= 100
    counting.cancel()
    await ended(desk)


async def test_what_is_left_and_the_end_are_told_in_one_run() -> None:
    desk = Desk()
    await desk.out.write("a")
    await turn()
    await desk.out.write("b")
    desk.out.finish_reason = "length"
    desk.out.usage = {"outputTokens": 2}
    tries = desk.told.tries
    await ended(desk)
    assert desk.told.tries == tries + 1
    ends = {"status": "completed", "finishReason": "length", "usage": {"outputTokens": 2}}
    assert desk.told.steps[-1] == Step("merge", {**ends, "endedAt": desk.clock.wall_ms()}, "end")
    assert desk.told.value == desk.out.value
    assert desk.out.text == "ab"


async def test_a_reason_that_is_none_is_not_told() -> None:
    desk = Desk()
    desk.out.finish_reason = "because"
    await ended(desk)
    assert "finishReason" not in desk.told.value


async def test_after_the_end_nothing_is_written() -> None:
    desk = Desk()
    call = await desk.out.tool_call("tool")
    await ended(desk)
    for write in (desk.out.write("a"), desk.out.part("reasoning").write("a"), call.write("a"), call.output(1)):
        with pytest.raises(RuntimeError, match="has ended"):
            await write


async def test_parts_and_tool_calls() -> None:
    desk = Desk()
    await desk.out.part("reasoning").write("Hm")
    call = await desk.out.tool_call("weather")
    await call.write('{"city":')
    await call.write('"Oslo"}')
    await call.output({"celsius": 3})
    other = await desk.out.tool_call("clock", id="mine", input={"zone": "CET"})
    await other.error("It stands still.")
    await ended(desk)
    assert desk.told.value["reasoning"] == "Hm"
    assert desk.told.value["toolCalls"] == {
        "call_1": {"name": "weather", "input": '{"city":"Oslo"}', "done": True, "output": {"celsius": 3}},
        "mine": {"name": "clock", "input": '{"zone":"CET"}', "done": True, "errorText": "It stands still."},
    }
    with pytest.raises(ValueError, match="messageId"):
        desk.out.part("messageId")


async def test_while_the_journal_is_down_writing_goes_on_up_to_a_bound_and_waits_then() -> None:
    desk = Desk()
    desk.told.failure = JournalUnavailable("gone")
    await desk.out.write("x")
    await desk.pass_ms(0)
    written = 0
    async with asyncio.timeout(5):
        while written < MAX_PENDING_BYTES:
            await desk.out.write("x" * 1_024)
            written += 1_024
    waiting = asyncio.create_task(desk.out.write("last"))
    await desk.pass_ms(5_000)
    assert not waiting.done()
    desk.told.failure = None
    await desk.pass_ms(2_000)
    await finished(waiting)
    await ended(desk)
    assert desk.told.value["text"] == "x" * (MAX_PENDING_BYTES + 1) + "last"


async def test_after_a_failure_the_whole_is_set_whether_or_not_the_journal_had_it() -> None:
    for has_it in (False, True):
        desk = Desk()
        desk.told.applies_and_fails = has_it
        await desk.out.write("One")
        await turn()
        desk.told.failure = JournalUnavailable("gone")
        await desk.out.write(" two")
        await desk.pass_ms(INTERVAL_MS)
        await desk.out.write(" three")
        desk.told.failure = None
        await desk.pass_ms(2_000)
        await desk.pass_ms(INTERVAL_MS)
        assert desk.told.value["text"] == "One two three"
        await ended(desk)
        assert [step.change for step in desk.told.steps if step.change != "merge"][-2:] == ["set", "append"]


async def test_a_journal_that_stays_away_makes_writing_fail() -> None:
    desk = Desk()
    desk.told.failure = JournalUnavailable("gone")
    await desk.out.write("x")
    await turn()
    await desk.out.write("y" * MAX_PENDING_BYTES)
    waiting = asyncio.create_task(desk.out.write("z"))
    for _ in range(PATIENCE_MS // 500 + 4):
        await desk.pass_ms(500)
    with pytest.raises(JournalUnavailable):
        await finished(waiting)
    with pytest.raises(JournalUnavailable):
        await desk.out.write("z")
    assert isinstance(await finished(desk.out.close()), JournalUnavailable)
    desk.told.failure = None  # it is back in time for the end
    await finished(desk.out.end(FAILED, "end"))
    assert desk.told.value["text"] == "x" + "y" * MAX_PENDING_BYTES


async def test_the_end_is_told_again_and_again_until_the_journal_has_it() -> None:
    for has_it in (False, True):
        desk = Desk()
        desk.told.applies_and_fails = has_it
        await desk.out.write("One")
        await turn()
        await desk.out.write(" two")
        desk.told.failure = JournalUnavailable("gone")
        assert await finished(desk.out.close()) is None
        ending = asyncio.create_task(desk.out.end(COMPLETED, "end"))
        for _ in range(60):
            await desk.pass_ms(1_000)
        assert not ending.done()
        desk.told.failure = None
        await desk.pass_ms(2_000)
        await finished(ending)
        assert (desk.told.value["status"], desk.told.value["text"]) == ("completed", "One two")


async def test_who_was_thought_lost_and_was_not_has_the_last_word() -> None:
    desk = Desk()
    await desk.out.write("One")
    await turn()
    desk.told.value = {**desk.told.value, "status": "lost"}
    desk.told.keys.add("end")
    await desk.out.write(" two")
    await ended(desk)
    assert desk.told.value == desk.out.value
    assert desk.told.value["status"] == "completed"


async def test_a_value_that_grows_too_large_fails_and_has_room_for_its_end() -> None:
    desk = Desk(max_value_bytes=20_000)

    async def write_too_much() -> None:
        for _ in range(30):
            await desk.out.write("x" * 1_000)
            await turn()

    with pytest.raises(ValueTooLarge):
        await write_too_much()
    failure = await finished(desk.out.close())
    assert isinstance(failure, ValueTooLarge)
    await finished(desk.out.end(FAILED, "end", error={"code": "too_large", "message": "m", "ref": "r"}))
    assert desk.told.value["status"] == "failed"
    assert desk.told.value == desk.out.value
    assert 10_000 <= len(desk.told.value["text"]) <= 20_000


async def test_a_last_piece_that_is_too_much_is_noticed_at_the_end() -> None:
    desk = Desk(max_value_bytes=20_000)
    await desk.out.write("x")
    await turn()
    await desk.out.write("y" * 4_000)
    for _ in range(5):
        desk.out.state.write("text", "y" * 4_000)
    assert isinstance(await finished(desk.out.close()), ValueTooLarge)


async def test_small_pieces_may_fill_the_value_although_each_is_told_with_braces_around_it() -> None:
    desk = Desk(max_value_bytes=20_000)
    for _ in range(1_400):
        await desk.out.write("tokens ")
        await desk.pass_ms(40)
    await ended(desk)
    assert len(desk.told.value["text"]) == 9_800


async def test_a_value_that_somebody_else_has_made_his_own_fails_the_writer() -> None:
    desk = Desk()
    desk.told.value = 3
    await desk.out.write("a")
    await turn()
    with pytest.raises(ValueMismatch):
        await desk.out.write("b")
    assert isinstance(await finished(desk.out.close()), ValueMismatch)


async def test_once_somebody_asked_to_stop_writing_says_so() -> None:
    desk = Desk()
    desk.told.failure = JournalUnavailable("gone")
    await desk.out.write("x")
    await turn()
    await desk.out.write("y" * MAX_PENDING_BYTES)
    waiting = asyncio.create_task(desk.out.write("z"))
    await turn()
    stop: Callable[[], Cancelled] = lambda: Cancelled("chat/1")  # noqa: E731
    desk.out.cancel(stop)
    with pytest.raises(Cancelled):
        await finished(waiting)
    with pytest.raises(Cancelled):
        await desk.out.write("z")
    desk.told.failure = None
    await ended(desk)
    assert desk.told.value["text"] == "x" + "y" * MAX_PENDING_BYTES

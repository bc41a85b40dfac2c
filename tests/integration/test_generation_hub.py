"""Generations of a real hub: detached, supervised, and with a terminal state whatever happens."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clarion import Hub, Limits
from clarion.errors import InvalidEvent, InvalidTopic, JournalUnavailable, ValueTooLarge
from clarion.generation import GenerationRunning, GenerationWriter
from clarion.work.failures import Cancelled, NotCancellable, PublicError, UnknownWork
from tests.integration.in_process import request, stream

SECONDS = 10
TOPIC = "chat/1"


@pytest.fixture(params=["memory", "sqlite"])
async def hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Hub]:
    journal = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'events.db'}"
    async with Hub(journal) as one:
        yield one


async def ended(hub: Hub, topic: str = TOPIC, *, user: str | None = None) -> dict[str, Any]:
    """The value once it has its terminal state and its lease is given back."""
    async with asyncio.timeout(SECONDS):
        while True:
            value: Any = await hub.get(topic, user=user)
            if value["status"] != "running" and not hub.supervisor.working(topic):
                return value
            await asyncio.sleep(0.01)


async def begun(hub: Hub, topic: str = TOPIC, **options: Any) -> asyncio.Event:
    """Begin a generation that has said something and goes on until what is returned is set."""
    goes_on, said = asyncio.Event(), asyncio.Event()

    async def produce(out: GenerationWriter) -> None:
        await out.write("Once ")
        said.set()
        await goes_on.wait()
        await out.write("upon a time")

    await hub.generate(topic, produce, **options)
    async with asyncio.timeout(SECONDS):
        await said.wait()
    return goes_on


async def test_it_is_answered_at_once_and_goes_on_by_itself(hub: Hub) -> None:
    goes_on = asyncio.Event()

    async def produce(out: GenerationWriter) -> None:
        await out.write("Hello")
        await goes_on.wait()
        await out.write(" world")

    started = await hub.generate(TOPIC, produce, model="small", metadata={"asked": "hi"})
    value: Any = await hub.get(TOPIC)
    assert started == {"id": TOPIC, "position": started["position"], "messageId": value["messageId"]}
    json.dumps(started)  # fit to be a route's answer
    assert (value["status"], value["model"], value["metadata"]) == ("running", "small", {"asked": "hi"})
    goes_on.set()
    value = await ended(hub)
    assert (value["status"], value["text"]) == ("completed", "Hello world")
    assert value["endedAt"] >= value["startedAt"]


async def test_readers_are_told_a_set_then_appends_then_the_end(hub: Hub) -> None:
    seen = []
    goes_on = await begun(hub)
    async with hub.subscribe("chat/*") as events, asyncio.timeout(SECONDS):
        async for event in events:
            seen.append((event.type, event.change))
            goes_on.set()
            if event.change == "merge":
                break
    assert seen[0] == ("generation", "set")
    assert set(seen[1:-1]) == {("generation.append", "append")}
    assert seen[-1] == ("generation.merge", "merge")


async def test_a_viewer_leaves_and_comes_back_to_the_whole_in_one_frame_and_then_the_rest(hub: Hub) -> None:
    more = asyncio.Event()

    async def produce(out: GenerationWriter) -> None:
        for _ in range(2_000):
            await out.write(" word")
        await more.wait()
        await out.write(" more")

    viewing = request(hub.stream(topics=[TOPIC]))
    await viewing.connected()
    await hub.generate(TOPIC, produce)
    await viewing.until("generation")
    await viewing.hang_up()
    async with asyncio.timeout(SECONDS):
        while len((await hub.get(TOPIC))["text"]) < 10_000:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    for path in ("reload", "another device"):
        async with stream(hub.stream(topics=[TOPIC]), path=path) as again:
            await again.connected()
            whole = await again.next()
            assert whole is not None
            assert (whole.type, json.loads(whole.data)["text"]) == ("generation", " word" * 2_000)
            assert len(again.body) <= 1.2 * 10_000
    async with stream(hub.stream(topics=[TOPIC])) as last:
        await last.until("generation")
        more.set()
        rest = await last.until("generation.merge")
    assert "".join(json.loads(one.data).get("text", "") for one in rest) == " more"


async def test_an_iterable_of_text_is_a_producer(hub: Hub) -> None:
    async def words() -> AsyncIterator[str]:
        for word in ("one ", "two"):
            yield word

    await hub.generate(TOPIC, words())
    assert (await ended(hub))["text"] == "one two"


async def test_a_failure_is_told_safely_and_logged(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    async def produce(out: GenerationWriter) -> None:
        await out.write("Half")
        raise OSError("password=secret")

    await hub.generate(TOPIC, produce)
    value = await ended(hub)
    assert (value["status"], value["text"]) == ("failed", "Half")
    assert "secret" not in json.dumps(value)
    assert set(value["error"]) == {"code", "message", "ref"}
    assert any(value["error"]["ref"] in record.getMessage() and record.exc_info for record in caplog.records)


async def test_a_failure_that_is_meant_for_people_is_told_in_its_words(hub: Hub) -> None:
    async def produce(out: GenerationWriter) -> None:
        raise PublicError("No credit is left.", code="quota")

    await hub.generate(TOPIC, produce)
    error = (await ended(hub))["error"]
    assert (error["code"], error["message"]) == ("quota", "No credit is left.")


async def test_stopping_is_a_request_of_its_own(hub: Hub) -> None:
    await begun(hub)
    await hub.cancel(TOPIC)
    value = await ended(hub)
    assert (value["status"], value["text"]) == ("cancelled", "Once ")


async def test_a_producer_that_swallows_its_cancellation_is_stopped_by_its_next_write(hub: Hub) -> None:
    raised: list[BaseException] = []
    said = asyncio.Event()

    async def produce(out: GenerationWriter) -> None:
        await out.write("a")
        said.set()
        try:
            await asyncio.sleep(SECONDS)
        except asyncio.CancelledError:
            pass
        try:
            await out.write("b")
        except Cancelled as error:
            raised.append(error)
            raise

    await hub.generate(TOPIC, produce)
    await said.wait()
    await hub.cancel(TOPIC)
    assert (await ended(hub))["status"] == "cancelled"
    assert len(raised) == 1


async def test_some_cannot_be_stopped(hub: Hub) -> None:
    goes_on = await begun(hub, cancellable=False)
    with pytest.raises(NotCancellable):
        await hub.cancel(TOPIC)
    goes_on.set()
    assert (await ended(hub))["status"] == "completed"


async def test_only_its_user_may_stop_it(hub: Hub) -> None:
    await begun(hub, user="ann")
    with pytest.raises(UnknownWork):
        await hub.cancel(TOPIC, user="bob")
    with pytest.raises(UnknownWork):
        await hub.cancel("chat/2")
    await hub.cancel(TOPIC, user="ann")
    assert (await ended(hub, user="ann"))["status"] == "cancelled"
    assert await hub.get(TOPIC) is None


async def test_a_second_one_on_the_same_topic_is_refused(hub: Hub) -> None:
    goes_on = await begun(hub)
    for begin in (hub.generate(TOPIC, lambda out: out.write("other")), begun(hub)):
        with pytest.raises(GenerationRunning, match=TOPIC) as caught:
            await begin
        assert caught.value.status == 409
    with pytest.raises(GenerationRunning):
        async with hub.generation(TOPIC):
            raise AssertionError
    goes_on.set()
    assert (await ended(hub))["text"] == "Once upon a time"
    await hub.generate(TOPIC, lambda out: out.write("other"))
    assert (await ended(hub))["text"] == "other"


async def test_many_that_begin_at_once_are_one_and_it_can_be_stopped(hub: Hub) -> None:
    async def produce(out: GenerationWriter) -> None:
        await out.write("x")
        await asyncio.sleep(SECONDS)

    answers = await asyncio.gather(*[hub.generate(TOPIC, produce) for _ in range(5)], return_exceptions=True)
    assert sum(isinstance(one, dict) for one in answers) == 1
    assert sum(isinstance(one, GenerationRunning) for one in answers) == 4
    assert set(await hub.control_values("lease")) == {TOPIC}
    await hub.cancel(TOPIC)
    assert (await ended(hub))["status"] == "cancelled"


async def test_a_second_one_may_take_the_place_of_the_first(hub: Hub) -> None:
    statuses = []
    async with hub.subscribe(TOPIC) as events, asyncio.timeout(SECONDS):
        await begun(hub)
        async for event in events:
            if (status := event.data.get("status")) is None:
                continue
            statuses.append(status)
            if statuses == ["running"]:
                replacing = asyncio.create_task(begun(hub, replace=True))
            elif len(statuses) == 3:
                (await replacing).set()
            elif len(statuses) == 4:
                break
    assert statuses == ["running", "cancelled", "running", "completed"]


async def test_one_that_was_deleted_may_be_begun_again(hub: Hub) -> None:
    for _ in range(3):
        await hub.generate(TOPIC, lambda out: out.write("x"))
        await ended(hub)
        await hub.delete(TOPIC)


async def test_when_the_hub_closes_what_is_under_way_is_lost(tmp_path: Path) -> None:
    journal = f"sqlite:///{tmp_path / 'events.db'}"
    async with Hub(journal) as hub:
        await begun(hub)
    async with Hub(journal) as hub:
        value: Any = await hub.get(TOPIC)
        assert (value["status"], value["text"]) == ("lost", "Once ")
        assert await hub.control_values("lease") == {}


async def test_a_bad_call_changes_nothing(hub: Hub) -> None:
    async def produce(out: GenerationWriter) -> None:
        raise AssertionError

    for topic in ("", "a/*", "@user/ann", "a\n", 3):
        with pytest.raises(InvalidTopic):
            await hub.generate(topic, produce)  # type: ignore[arg-type]
    with pytest.raises(InvalidTopic):
        await hub.generate(TOPIC, produce, user="")
    for options in ({"lease_seconds": 0}, {"on_no_viewers": "shrug"}):
        with pytest.raises(ValueError, match=r"lease|on_no_viewers"):
            await hub.generate(TOPIC, produce, **options)  # type: ignore[arg-type]
    with pytest.raises(InvalidEvent):
        await hub.generate(TOPIC, produce, metadata={"a": object()})
    with pytest.raises(ValueTooLarge):
        await hub.generate(TOPIC, produce, metadata={"a": "x" * 2_000_000})
    for bad in ("text", 3, None, ["text"]):
        with pytest.raises(TypeError, match="produce"):
            await hub.generate(TOPIC, bad)  # type: ignore[arg-type]
    assert await hub.get(TOPIC) is None
    assert await hub.control_values("lease") == {}


async def test_text_that_is_no_text_fails_the_generation_and_says_so_in_the_log(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    async def produce(out: Any) -> None:
        await out.write("so far")
        await out.write(3)

    await hub.generate(TOPIC, produce)
    value = await ended(hub)
    assert (value["status"], value["text"]) == ("failed", "so far")
    assert "must be text, not int" in caplog.text


async def test_a_text_that_grows_too_large_ends_as_failed_with_what_fits(tmp_path: Path) -> None:
    async with Hub(limits=Limits(max_event_bytes=50_000)) as hub:

        async def produce(out: GenerationWriter) -> None:
            while True:
                await out.write("é" * 500)

        await hub.generate(TOPIC, produce)
        value = await ended(hub)
        assert (value["status"], value["error"]["code"]) == ("failed", "too_large")
        assert 25_000 < len(value["text"].encode()) < 50_000


# `async with hub.generation(...)`.


async def test_a_block_of_your_own_ends_as_it_ends(hub: Hub) -> None:
    async with hub.generation(TOPIC) as out:
        await out.write("fine")
    value: Any = await hub.get(TOPIC)
    assert (value["status"], value["text"], out.text) == ("completed", "fine", "fine")
    with pytest.raises(ZeroDivisionError):
        async with hub.generation(TOPIC) as out:
            await out.write(str(1 // 0))
    value = await hub.get(TOPIC)
    assert value["status"] == "failed"
    assert not hub.supervisor.working(TOPIC)


async def test_a_block_that_is_asked_to_stop_raises_that(hub: Hub) -> None:
    async def work() -> str:
        try:
            async with hub.generation(TOPIC) as out:
                await out.write("Once")
                await asyncio.sleep(SECONDS)
        except Cancelled:
            task = asyncio.current_task()
            assert task is not None
            assert not task.cancelling()  # the task itself goes on
            await asyncio.sleep(0)
            return "went on"
        return "was not stopped"

    task = asyncio.create_task(work())
    async with asyncio.timeout(SECONDS):
        while not hub.supervisor.working(TOPIC) or await hub.get(TOPIC) is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await hub.cancel(TOPIC)
    assert await task == "went on"
    value: Any = await hub.get(TOPIC)
    assert value["status"] == "cancelled"


async def test_a_block_whose_task_is_cancelled_by_its_owner_passes_it_on(hub: Hub) -> None:
    said = asyncio.Event()

    async def work() -> None:
        async with hub.generation(TOPIC) as out:
            await out.write("Once")
            said.set()
            await asyncio.sleep(SECONDS)

    task = asyncio.create_task(work())
    await said.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await ended(hub))["status"] == "cancelled"


async def test_a_request_to_stop_that_comes_when_the_block_is_done_is_heard(hub: Hub) -> None:
    with pytest.raises(Cancelled):  # noqa: PT012
        async with hub.generation(TOPIC) as out:
            await out.write("Once")
            await hub.cancel(TOPIC)
    value: Any = await hub.get(TOPIC)
    assert (value["status"], value["text"]) == ("cancelled", "Once")
    await asyncio.sleep(0)  # nothing of the request is left in this task


async def test_who_begins_and_is_cancelled_meanwhile_leaves_nothing_running(hub: Hub) -> None:
    for turns in range(12):
        task = asyncio.create_task(hub.generate(TOPIC, lambda out: out.write("x")))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(SECONDS):
            while hub.supervisor.working(TOPIC) or hub._generations._tasks:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        value: Any = await hub.get(TOPIC)
        assert value is None or value["status"] in ("cancelled", "completed")
        assert await hub.control_values("lease") == {}


async def test_a_journal_that_takes_no_start_begins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Hub() as hub:
        calls: list[str] = []

        async def refuse(*_: Any) -> Any:
            raise JournalUnavailable("gone")

        monkeypatch.setattr(hub, "change_many", refuse)
        with pytest.raises(JournalUnavailable):
            await hub.generate(TOPIC, lambda out: calls.append("produced"))  # type: ignore[arg-type,return-value]
        assert not hub.supervisor.working(TOPIC)
        assert calls == []


async def test_a_journal_that_fails_for_a_while_loses_no_text(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    real = hub.change_many
    calls = 0

    async def flaky(changes: Any) -> Any:
        nonlocal calls
        calls += 1
        receipts = await real(changes) if calls in (1, 2, 5) or calls > 6 else None
        if receipts is None or calls == 5:  # the fifth has arrived, and its answer is lost
            raise JournalUnavailable("on purpose")
        return receipts

    monkeypatch.setattr(hub, "change_many", flaky)
    async with hub.generation(TOPIC) as out:
        for number in range(40):
            await out.write(f"{number} ")
            await asyncio.sleep(0.04)
    value: Any = await hub.get(TOPIC)
    assert value["text"] == "".join(f"{number} " for number in range(40))
    assert value["status"] == "completed"


# Several processes, as several hubs of one file.


async def test_it_is_stopped_replaced_and_refused_from_another_process(tmp_path: Path) -> None:
    journal = f"sqlite:///{tmp_path / 'events.db'}"
    async with Hub(journal) as here, Hub(journal) as there:
        await begun(here)
        with pytest.raises(GenerationRunning):
            await there.generate(TOPIC, lambda out: out.write("other"))
        goes_on = await begun(there, replace=True)
        assert not here.supervisor.working(TOPIC)
        await here.cancel(TOPIC)
        assert (await ended(there))["status"] == "cancelled"
        goes_on.set()


async def test_of_two_processes_that_begin_at_once_one_does(tmp_path: Path) -> None:
    journal = f"sqlite:///{tmp_path / 'events.db'}"
    async with Hub(journal) as here, Hub(journal) as there:
        for number in range(5):
            topic = f"chat/{number}"
            goes_on = asyncio.Event()

            async def produce(out: GenerationWriter, goes_on: asyncio.Event = goes_on) -> None:
                await out.write("x")
                await goes_on.wait()

            begins = [hub.generate(topic, produce) for hub in (here, there, here, there)]
            answers = await asyncio.gather(*begins, return_exceptions=True)
            assert sum(isinstance(one, dict) for one in answers) == 1, answers
            assert sum(isinstance(one, GenerationRunning) for one in answers) == 3
            goes_on.set()
            value = await ended(here, topic)
            assert (value["status"], value["text"]) == ("completed", "x")


async def test_nobody_looks_and_it_is_cancelled_if_that_was_wished() -> None:
    async with Hub() as hub:
        await begun(hub, on_no_viewers=0.5)
        assert (await ended(hub))["status"] == "cancelled"

"""The cursor: moved only after an event was dealt with, whatever is cancelled, raised, closed or cannot be stored."""

import asyncio
import os
import stat
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from clarion.client import CursorNotSaved, CursorUnreadable, FileCursor, MemoryCursor, ReceivedEvent, TransportFailed
from tests.unit.client_script import HANG, Reply, World, bye, change, connected, event, heartbeat, idle, until

DONE = bye("done", id="k3v9-99.done")
PLAIN = connected("k3v9-4", values=None)  # of a hub without values: its positions are stored as they are


class Saves:
    """A store that notes what is saved, and may be out of order."""

    def __init__(self, start: str = "", *, blocking: bool = False) -> None:
        self.blocking = blocking
        self.saved: list[str] = []
        self.broken: Exception | None = None
        self._start = start

    def load(self) -> str:
        if self.broken is not None:
            raise self.broken
        return self._start

    def save(self, last_event_id: str) -> None:
        if self.broken is not None:
            raise self.broken
        self.saved.append(last_event_id)


class SlowSaves(Saves):
    """A store that blocks, and takes until it is released for one of the ids."""

    def __init__(self, slow_id: str) -> None:
        super().__init__(blocking=True)
        self.release = threading.Event()
        self.under_way = 0
        self.most_at_once = 0
        self._slow_id = slow_id

    def save(self, last_event_id: str) -> None:
        if last_event_id == self._slow_id:
            self.under_way += 1
            self.most_at_once = max(self.most_at_once, self.under_way)
            self.release.wait(10)
            self.under_way -= 1
        super().save(last_event_id)


# When it moves.


async def test_an_event_is_committed_when_the_next_is_asked_for() -> None:
    store = Saves()
    world = World(Reply(PLAIN + event(5) + event(6), HANG), cursor=store)
    async with world.source as source:
        await world.next()
        assert store.saved == ["k3v9-4"]
        await world.next()
        assert store.saved == ["k3v9-4", "k3v9-5"]
        task = asyncio.ensure_future(source.__anext__())
        await idle()
        assert store.saved == ["k3v9-4", "k3v9-5", "k3v9-6"]
        task.cancel()


async def test_a_clean_exit_commits_what_was_given_last() -> None:
    store = Saves()
    world = World(Reply(PLAIN + event(5) + event(6), HANG), cursor=store)
    async with world.source as source:
        async for _ in source:
            break
    assert store.saved == ["k3v9-4", "k3v9-5"]


async def test_an_event_that_could_not_be_dealt_with_comes_again() -> None:
    store = MemoryCursor()
    world = World(Reply(PLAIN + event(5) + event(6), HANG), cursor=store)

    async def work() -> None:
        async with world.source as source:
            async for received in source:
                if received.data == 6:
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    assert store.load() == "k3v9-5"
    world = World(Reply(connected("k3v9-5", mode="resumed", values=None), event(6), DONE), cursor=store)
    async with world.source:
        assert [received.data for received in await world.rest()] == [6]
    assert world.script.ids == ["k3v9-5"]
    assert store.load() == "k3v9-99.done"  # the next run is answered 204


async def test_closing_alone_commits_nothing_and_commit_does() -> None:
    store = Saves()
    world = World(Reply(PLAIN + event(5) + event(6), HANG), cursor=store)
    await world.source.open()
    await world.next()
    await world.source.aclose()
    assert store.saved == ["k3v9-4"]
    await world.source.commit()
    assert store.saved == ["k3v9-4", "k3v9-5"]
    await world.source.aclose()


async def test_it_moves_with_what_the_stream_says_of_itself() -> None:
    store = Saves()
    world = World(Reply(PLAIN, heartbeat("k3v9-80"), HANG), cursor=store)
    async with world.source:
        task = asyncio.ensure_future(world.source.run())
        await idle()
        assert store.saved == ["k3v9-4", "k3v9-80"]
        task.cancel()


async def test_events_that_are_passed_over_are_dealt_with() -> None:
    store = Saves()
    world = World(Reply(PLAIN, event(5, "no json"), HANG), cursor=store)
    async with world.source:
        task = asyncio.ensure_future(world.source.run())
        await idle()
        assert store.saved == ["k3v9-4", "k3v9-5"]
        task.cancel()


async def test_it_is_stored_as_rarely_as_told_and_at_the_end() -> None:
    store = Saves()
    frames = [event(number) for number in range(5, 30)]
    world = World(Reply(PLAIN, *frames, HANG), cursor=store, commit_interval_seconds=10)
    async with world.source:
        for _ in range(8):
            await world.next()
        assert store.saved == ["k3v9-4"]
        world.clock.advance(10)
        await world.next()
        await world.next()
        assert store.saved == ["k3v9-4", "k3v9-12"]
    assert store.saved == ["k3v9-4", "k3v9-12", "k3v9-14"]


async def test_what_is_stored_wins_over_what_is_given() -> None:
    world = World(Reply(PLAIN, DONE), cursor=MemoryCursor("k3v9-3"), last_event_id="k3v9-1")
    async with world.source:
        await world.rest()
    assert world.script.ids == ["k3v9-3"]
    world = World(Reply(PLAIN, DONE), cursor=MemoryCursor(), last_event_id="k3v9-1")
    async with world.source:
        await world.rest()
    assert world.script.ids == ["k3v9-1"]


async def test_of_a_hub_with_values_it_says_that_none_are_kept_with_it() -> None:
    store = MemoryCursor()
    world = World(Reply(connected(), change("k3v9-7", "set", "1"), HANG), cursor=store)
    async with world.source:
        await world.next()
    assert store.load() == "k3v9-7~0"
    frames = [change("k3v9-7", "set", "1"), event(8), DONE]
    world = World(Reply(connected("k3v9-7~0", mode="resumed", values="changed"), *frames), cursor=store)
    async with world.source as source:
        events = await world.rest()
        assert source.value("task") == 1
    assert world.script.ids == ["k3v9-7~0"]
    assert [received.data for received in events] == [1, 8]


# Cancelled.


async def test_waiting_for_an_event_can_be_cancelled_and_nothing_is_lost() -> None:
    arrived = asyncio.Event()

    class Later(Reply):
        async def chunks(self) -> AsyncGenerator[bytes, None]:
            yield PLAIN + event(5)
            await arrived.wait()
            yield event(6) + event(7)
            await asyncio.Event().wait()

    store = Saves()
    world = World(Later(), cursor=store)
    async with world.source as source:
        assert (await anext(source)).data == 5
        for _ in range(3):
            task = asyncio.ensure_future(source.__anext__())
            await idle()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        arrived.set()
        assert [(await anext(source)).data for _ in range(2)] == [6, 7]
    assert len(world.script.requests) == 1  # the connection was kept
    assert store.saved == ["k3v9-4", "k3v9-5", "k3v9-6", "k3v9-7"]


@pytest.mark.parametrize("turns", range(12))
async def test_cancelled_at_any_moment(turns: int) -> None:
    world = World(Reply(PLAIN + b"".join(map(event, range(5, 25))), DONE), cursor=Saves(blocking=turns % 2 == 1))
    got: list[Any] = []
    async with world.source as source:
        while True:
            task = asyncio.ensure_future(source.__anext__())
            await idle(turns)
            task.cancel()
            try:
                got.append((await task).data)
            except asyncio.CancelledError:
                turns += 1
            except StopAsyncIteration:
                break
    assert got == list(range(5, 25))


async def test_a_callback_that_is_cancelled_is_called_again_and_only_that_one() -> None:
    world = World(Reply(PLAIN, event(5), HANG))
    calls: list[str] = []
    blocked = asyncio.Event()

    @world.source.on("message")
    def first(received: ReceivedEvent) -> None:
        calls.append("first")

    @world.source.on("message")
    async def second(received: ReceivedEvent) -> None:
        calls.append("second")
        await blocked.wait()

    async with world.source as source:
        task = asyncio.ensure_future(source.__anext__())
        await until(lambda: len(calls) == 2)
        task.cancel()
        await idle()
        blocked.set()
        assert (await anext(source)).data == 5
    assert calls == ["first", "second", "second"]


async def test_a_save_that_is_cancelled_ends_before_the_next_begins() -> None:
    store = SlowSaves("k3v9-5")
    world = World(Reply(PLAIN + event(5) + event(6) + event(7), HANG), cursor=store)
    async with world.source as source:
        await anext(source)
        task = asyncio.ensure_future(source.__anext__())
        await until(lambda: store.under_way)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        task = asyncio.ensure_future(source.__anext__())
        await idle()
        store.release.set()
        assert [(await task).data, (await anext(source)).data] == [6, 7]
    assert store.most_at_once == 1
    assert store.saved[-1] == "k3v9-7"


async def test_closing_waits_for_a_save_under_way() -> None:
    store = SlowSaves("k3v9-5")
    world = World(Reply(PLAIN, event(5), HANG), cursor=store)
    await world.source.open()
    await anext(world.source)
    task = asyncio.ensure_future(world.source.__anext__())
    await until(lambda: store.under_way)
    task.cancel()
    closing = asyncio.ensure_future(world.source.aclose())
    await idle()
    assert not closing.done()
    store.release.set()
    await closing
    assert store.saved[-1] == "k3v9-5"


# Opened again.


async def test_opened_again_it_goes_on_after_what_was_dealt_with() -> None:
    world = World(
        Reply(PLAIN + event(5) + event(6) + event(7), HANG),
        Reply(connected("k3v9-5", mode="resumed", values=None) + event(6) + event(7), DONE),
    )
    await world.source.open()
    await world.next()
    await world.next()
    await world.source.aclose()
    async with world.source:
        assert [received.data for received in await world.rest()] == [6, 7]  # 6 was given out, but not dealt with
    assert world.script.ids == [None, "k3v9-5"]


async def test_opened_again_values_are_told_anew() -> None:
    world = World(
        Reply(connected() + change("k3v9-5", "set", '"a"') + change("k3v9-6", "append", '"b"'), HANG),
        Reply(connected("k3v9-6~0", mode="resumed", values="changed"), change("k3v9-6", "set", '"ab"'), DONE),
    )
    async with world.source as source:
        await world.read(2)
        assert source.value("task") == "ab"
    async with world.source as source:
        await world.rest()
        assert source.value("task") == "ab"
    assert world.script.ids == [None, "k3v9-6~0"]


# Values.


async def test_values_are_those_of_the_event_in_hand() -> None:
    frames = [
        change("k3v9-5", "set", '{"n":1}'),
        change("k3v9-6", "merge", '{"m":2}'),
        event(7, '"plain"', topic="task"),
        change("k3v9-8", "delete", "null"),
    ]
    world = World(Reply(connected() + b"".join(frames), DONE))
    seen: list[Any] = []

    @world.source.on("value.merge")
    def merged(received: ReceivedEvent) -> None:
        seen.append(("callback", world.source.value("task")))

    async with world.source as source:
        async for received in source:
            seen.append((received.change, source.value("task")))  # noqa: PERF401 - the value at that moment
        assert source.value("task", "gone") == "gone"
    assert seen == [
        ("set", {"n": 1}),
        ("callback", {"n": 1, "m": 2}),
        ("merge", {"n": 1, "m": 2}),
        (None, {"n": 1, "m": 2}),
        ("delete", None),
    ]


async def test_a_value_that_is_lost_is_asked_for_anew_and_no_event_is_lost() -> None:
    world = World(
        Reply(connected(), change("k3v9-5", "set", '"a"') + change("k3v9-6", "append", "1") + event(7), HANG),
        Reply(connected("k3v9-7~0", mode="resumed", values="changed"), change("k3v9-7", "set", '"a1"'), event(8), DONE),
    )
    async with world.source as source:
        events = await world.rest()
        assert source.value("task") == "a1"
    assert [received.data for received in events] == ["a", 1, 7, "a1", 8]
    assert world.script.ids == [None, "k3v9-7~0"]
    assert world.reasons == ["values", "done"]
    assert [type(error).__name__ for error in world.errors] == ["ValueLost"]


async def test_a_value_of_which_a_change_was_too_large_is_not_held_until_it_is_set_anew() -> None:
    world = World(
        Reply(
            connected("k3v9-9~0"),
            change("k3v9-9", "set", '{"n":1}'),
            change("k3v9-10", "merge", '{"n":2,"text":"' + "x" * 2_000 + '"}'),
            change("k3v9-11", "merge", '{"text":null}'),
            change("k3v9-12", "set", '{"n":3}'),
            DONE,
        ),
        max_event_bytes=1_000,
    )
    seen: list[Any] = []
    async with world.source as source:
        async for received in source:
            seen.append((received.id, source.value("task", None)))  # noqa: PERF401 - the value at that moment
    assert seen == [("k3v9-9", {"n": 1}), ("k3v9-11", None), ("k3v9-12", {"n": 3})]
    assert [type(error).__name__ for error in world.errors] == ["MessageTooLarge", "ValueLost"]


async def test_values_can_be_left_out() -> None:
    world = World(Reply(connected(), change("k3v9-5", "append", "1"), DONE), values=False)
    async with world.source as source:
        assert len(await world.rest()) == 1
        with pytest.raises(RuntimeError, match="holds no values"):
            source.value("task")
    assert world.errors == []


# Stores.


async def test_a_cursor_that_cannot_be_loaded_is_an_error() -> None:
    store = Saves()
    store.broken = OSError("gone")
    world = World(cursor=store)
    with pytest.raises(OSError, match="gone"):
        await world.source.open()


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_cursor_that_cannot_be_stored_is_reported_and_tried_again(blocking: bool) -> None:
    store = Saves(blocking=blocking)
    world = World(Reply(PLAIN + event(5) + event(6), event(7), HANG), cursor=store)
    async with world.source as source:
        await anext(source)
        store.broken = OSError("disk full")
        await anext(source)
        store.broken = None
        await anext(source)
    assert store.saved == ["k3v9-4", "k3v9-6", "k3v9-7"]
    (error,) = world.errors
    assert isinstance(error, CursorNotSaved)
    assert isinstance(error.__cause__, OSError)


def test_a_file_keeps_a_cursor(tmp_path: Path) -> None:
    path = tmp_path / "cursor"
    store = FileCursor(path)
    assert store.load() == ""
    for text in ("k3v9-4~0", "\u00e9", "", "x" * 1024):
        store.save(text)
        assert FileCursor(str(path)).load() == text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["cursor"]


@pytest.mark.parametrize("content", [b"two\nlines\n", b"\xff\n", b"x" * 2000, b"nul\x00", b" spaces \n"])
def test_a_file_that_holds_something_else_is_not_taken_for_a_cursor(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cursor"
    path.write_bytes(content)
    with pytest.raises(CursorUnreadable, match="holds no cursor"):
        FileCursor(path).load()


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CursorUnreadable, match="cannot be read"):
        FileCursor(tmp_path).load()


def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails on the way, what was there before is still there; and it is on the disk before it counts."""
    path = tmp_path / "cursor"
    store = FileCursor(path)
    store.save("k3v9-1")
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_replace(self: Path, target: Path) -> Path:
        assert self.read_text() == "k3v9-2\n"
        steps.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    store.save("k3v9-2")
    assert steps == ["file", "replace", "folder"]

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        store.save("k3v9-3")
    assert FileCursor(path).load() == "k3v9-2"


async def test_a_source_uses_a_file_without_blocking_the_loop(tmp_path: Path) -> None:
    path = tmp_path / "cursor"
    world = World(Reply(PLAIN, event(5), event(6), HANG), cursor=FileCursor(path))
    async with world.source as source:
        await anext(source)
        await anext(source)
        assert path.read_text() == "k3v9-5\n"
    assert path.read_text() == "k3v9-6\n"


async def test_a_transport_failure_in_the_middle_loses_nothing() -> None:
    world = World(
        Reply(PLAIN + event(5) + event(6) + event(7)[:-5], TransportFailed("cut")),
        Reply(connected("k3v9-6", mode="resumed", values=None), event(7), DONE),
    )
    async with world.source:
        assert [received.data for received in await world.rest()] == [5, 6, 7]
    assert world.script.ids == [None, "k3v9-6"]

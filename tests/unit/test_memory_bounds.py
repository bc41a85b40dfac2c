"""What the memory journal and the log hold on to: what is kept, and little more, in entries and in bytes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import pytest

from clarion.event import Draft, Entry, draft
from clarion.journals import memory, memory_follow
from clarion.journals.memory import SWEEP_ENTRIES, TRIM_STEP_ENTRIES, MemoryJournal
from clarion.log import Log
from clarion.retention import Retention, RetentionRules
from tests.integration.in_process import until
from tests.unit.core import NOW_MS, entry

TOPICS = 300
BYTES = 10_000  # one event


def alive(topic: str) -> list[Entry]:
    """The entries of these topics that somebody still holds."""
    gc.collect()
    return [one for one in gc.get_objects() if type(one) is Entry and one.topic.startswith(topic)]


def some(topic: str, *, ephemeral: bool = False, size: int = BYTES) -> Draft:
    return draft(topic, text="x" * size, created_ms=NOW_MS, ephemeral=ephemeral)


async def opened(**rules: Retention) -> MemoryJournal:
    journal = MemoryJournal(now_ms=lambda: NOW_MS)
    await journal.open(RetentionRules(Retention(max_count=100_000), {f"{name}/*": r for name, r in rules.items()}))
    return journal


async def test_what_a_topic_s_rule_takes_away_is_let_go_of() -> None:
    journal = await opened(presence=Retention(max_count=1))
    for _ in range(20):
        for number in range(TOPICS):
            await journal.append([some(f"presence/{number}", size=1)])
    assert TOPICS <= len(alive("presence/")) <= 2 * TOPICS + SWEEP_ENTRIES + TRIM_STEP_ENTRIES
    assert sum([len(kept.run._items) for kept in journal._topics.values()]) <= 2 * TOPICS, "nor are places for them"
    await journal.close()


def test_what_leaves_the_log_is_let_go_of_at_once() -> None:
    log = Log(max_entries=10)
    for offset in range(1, 500):
        log.extend([entry(offset, "logged")])
    assert len(alive("logged")) == 10


async def test_ephemeral_entries_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SWEEP_BYTES", 5 * BYTES)
    journal = await opened()
    await journal.append([some("kept")])
    for _ in range(30):
        await journal.append([some("cursor", ephemeral=True)])
        held = sum([len(one.frame) for one in alive("cursor")])
        assert held <= 5 * BYTES + 3 * 2 * BYTES
    assert len(alive("kept")) == 1
    await journal.close()


async def publishing(journal: MemoryJournal, count: int) -> asyncio.Task[None]:
    """Somebody who publishes without ever waiting for anything else, as far as it gets."""

    async def publish() -> None:
        for _ in range(count):
            await journal.append([some("busy")])

    task = asyncio.create_task(publish())
    for _ in range(10):
        await asyncio.sleep(0)
    return task


async def test_publishers_wait_for_a_follower_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_follow, "FULL_BYTES", 5 * BYTES)
    journal = await opened()
    batches = journal.follow(0)
    first = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0)
    task = await publishing(journal, 50)
    assert not task.done()
    assert len(alive("busy")) <= 12, "the batch that it took, and as much again"
    got = [one.offset for one in await first]
    while len(got) < 50:
        got += [one.offset for one in await anext(batches)]
    assert got == list(range(1, 51))
    await until(task.done)
    await batches.aclose()
    await journal.close()


@pytest.mark.parametrize("end", ["follower", "journal"])
async def test_publishers_do_not_wait_for_a_follower_that_is_gone(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_follow, "FULL_BYTES", 5 * BYTES)
    journal = await opened()
    batches = journal.follow(0)
    first = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0)
    await journal.append([some("busy")])
    await first
    task = await publishing(journal, 8)
    assert not task.done()
    close: dict[str, Callable[[], object]] = {"follower": batches.aclose, "journal": journal.close}
    await close[end]()  # type: ignore[misc]
    await until(task.done)
    await asyncio.gather(task, return_exceptions=True)
    await batches.aclose()
    await journal.close()

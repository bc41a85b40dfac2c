"""What the contract suite's tests of values work with: drafts of changes, and what a journal gives of values."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from clarion import json
from clarion.changes import change_draft, said
from clarion.event import Draft, Entry
from clarion.journals.base import Changed, Journal, Values
from clarion.testing.journal_bench import Bench, following
from clarion.topics import TopicSet
from clarion.values import MISSING, Change, applied

MUCH_BYTES: Final = 10**9

States = dict[tuple[str, str], Any]


def change(bench: Bench, topic: str, kind: Change, data: Any = None, **options: Any) -> Draft:
    """The draft of a change, of the present. options: of `clarion.changes.change_draft`."""
    return change_draft(topic, kind, data, created_ms=bench.now_ms, **options)


async def values_of(
    bench: Bench, journal: Journal, *topics: str, after: int = 0, exact: bool = False, max_bytes: int = MUCH_BYTES
) -> Values:
    """What the journal gives now of these topics; of all if none is named."""
    asked = TopicSet(topics) if topics else None
    return await journal.values(asked, after=after, exact=exact, max_bytes=max_bytes, now_ms=bench.now_ms)


async def shown(bench: Bench, journal: Journal, *topics: str) -> dict[str, Any]:
    """The values that live, by subject."""
    given = await values_of(bench, journal, *topics)
    assert all(one.change is Change.SET for one in given.changed)
    return {one.subject: json.decode(one.data) for one in given.changed}


async def followed_from_now(journal: Journal, count: int) -> asyncio.Task[list[Entry]]:
    """The next entries of a new journal, as they come: what a later change replaced need not be kept."""
    task = asyncio.create_task(following(journal, 0, count))
    await asyncio.sleep(0)
    return task


def states(entries: list[Entry]) -> list[States]:
    """What the values were after each offset, by what the entries say. The first is before any."""
    found: list[States] = [{}]
    for entry in entries:
        state = dict(found[-1])
        if entry.change:
            told = said(entry.frame)
            key = (entry.topic, told.subject)
            state[key] = applied(state.get(key, MISSING), told.change, json.decode(told.data))
            if state[key] is MISSING:
                del state[key]
        found.append(state)
    return found


def carried_out(state: States, changed: list[Changed]) -> States:
    """What a reader makes of what it is told."""
    state = dict(state)
    for one in changed:
        key = (one.topic, one.subject)
        state[key] = applied(state.get(key, MISSING), one.change, json.decode(one.data))
        if state[key] is MISSING:
            del state[key]
    return state

"""Folding: several changes of a value told as one, and the values that a reader is told, as frames. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from clarion import json
from clarion.changes import Said, change_body, said
from clarion.errors import ValueMismatch
from clarion.event import Entry
from clarion.journals.base import Changed, Values
from clarion.position import text_of
from clarion.values import Change, Folding
from clarion.wire import marked_frame


class Changes(NamedTuple):
    """The changes of one value, in order."""

    entries: list[Entry]
    said: list[Said]


def by_value(entries: Iterable[Entry]) -> dict[tuple[str, str], Changes]:
    """Changes by the value that they are of: its topic, and the subject that it is told under."""
    found: dict[tuple[str, str], Changes] = {}
    for entry in entries:
        told = said(entry.frame)
        changes = found.setdefault((entry.topic, told.subject), Changes([], []))
        changes.entries.append(entry)
        changes.said.append(told)
    return found


def fold(entries: Sequence[Entry], through: int) -> Values | None:
    """What became of values by these changes, each told once. through: the offset up to which these are all.

    None if one of them can only be told by the value itself: changes that are not one, or that are larger than it.
    """
    changed: list[Changed] = []
    for (topic, subject), changes in by_value(entries).items():
        last = changes.entries[-1]
        one = _folded(changes, last.value_bytes)
        if one is None:
            return None
        changed.append(Changed(topic, subject, changes.said[-1].name, last.offset, *one))
    changed.sort(key=lambda one: one.offset)
    return Values(changed, through, True, 0)


def _folded(changes: Changes, value_bytes: int) -> tuple[Change, bytes] | None:
    first = max(
        index for index, one in enumerate(changes.said) if not index or one.change in (Change.SET, Change.DELETE)
    )
    left = changes.said[first:]  # what a set or a delete replaces need not be looked at
    if len(left) == 1:
        return left[0].change, left[0].data
    folding = Folding()
    try:
        for one in left:
            if not folding.add(one.change, json.decode(one.data)):
                return None
    except ValueMismatch:  # no journal takes such changes one after the other; the value itself is right in any case
        return None
    assert folding.folded is not None
    change, delta = folding.folded
    data = json.encode(delta)
    return (change, data) if change is Change.SET or len(data) <= value_bytes else None


def joined(epoch: str, entries: Sequence[Entry], after: int, through: int) -> tuple[list[Entry], list[int]] | None:
    """Entries of a batch with each value told once, behind the other events, and how far values are told with each.

    None if no value is changed twice in it, or if what is told of one would have to be the value itself.
    """
    changes = [entry for entry in entries if entry.change]
    if not is_foldable(changes):
        return None
    values = fold(changes, through)
    if values is None:
        return None
    events = events_only(epoch, entries, after)
    told, telling = frames(epoch, through, after, values)  # all of them: the batch is bounded already
    return events + told, [after] * len(events) + telling


def is_foldable(changes: Sequence[Entry]) -> bool:
    """Whether one of these changes is of the same value as another."""
    return len(changes) > 1 and len(by_value(changes)) < len(changes)


def events_only(epoch: str, entries: Iterable[Entry], told: int) -> list[Entry]:
    """The entries that change no value, with ids that say up to where values were told."""
    return [_marked(epoch, entry, told) for entry in entries if not entry.change]


def _marked(epoch: str, entry: Entry, told: int) -> Entry:
    frame = marked_frame(epoch, entry.frame, entry.offset, told)
    return Entry(entry.offset, entry.topic, frame, entry.created_ms, entry.expires_ms, entry.ephemeral)


def frames(
    epoch: str, cursor: int, told: int, values: Values, max_bytes: int | None = None
) -> tuple[list[Entry], list[int]]:
    """The next frames of values, as entries at a reader's cursor; how far it is told before, after each, and at last.

    told: how far it was told before. Stops once `max_bytes` are reached, and gives at least one if there is one;
    gives all for None.
    """
    entries: list[Entry] = []
    telling = [told]
    size = 0
    left = values.changed[bisect_right(values.changed, told, key=lambda one: one.offset) :]
    for index, one in enumerate(left, 1):
        is_last = index == len(left) and values.complete
        told = values.through if is_last else one.offset
        head = f"id: {text_of(epoch, cursor, told)}\n".encode()
        frame = head + change_body(one.change, one.name, one.subject, one.data)
        entries.append(Entry(cursor, one.topic, frame, 0, change=one.change))
        telling.append(told)
        size += len(frame)
        if max_bytes is not None and size >= max_bytes:
            break
    return entries, [*telling, told]

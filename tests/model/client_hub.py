"""A model of a hub, as its clients see it, and as simple as spec/stream.md lets it be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from clarion.values import MISSING, Change, applied

TOPICS: Final = ("a", "b", "c")
HEARTBEAT_MS: Final = 15_000
CHANGES: Final = {"set": Change.SET, "append": Change.APPEND, "merge": Change.MERGE, "delete": Change.DELETE}
_ID: Final = re.compile(r"([a-z0-9]{4,16})-(\d+)(?:~(\d+))?")


def frame(id: str, data: Any, **fields: str) -> bytes:  # noqa: A002 - the field's word
    """A frame with these lines, in this order."""
    lines = [f"id: {id}", *(f"{name}: {value}" for name, value in fields.items())]
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return "\n".join([*lines, f"data: {text}\n\n"]).encode()


@dataclass
class Entry:
    """change: empty for a plain event. value: of its topic afterwards."""

    topic: str
    change: str
    data: Any
    value: Any


@dataclass
class ModelHub:
    """The entry n has the offset n + 1. trimmed: plain events up to here are not kept any more.

    had: everything that each topic ever was, in any epoch. plain: all plain events that ever were, as (epoch, offset).
    """

    epoch: str = "aaaa"
    entries: list[Entry] = field(default_factory=list)
    trimmed: int = 0
    had: dict[str, list[Any]] = field(default_factory=lambda: {topic: [MISSING] for topic in TOPICS})
    plain: set[tuple[str, int]] = field(default_factory=set)

    @property
    def head(self) -> int:
        return len(self.entries)

    def publish(self, topic: str, change: str, data: Any) -> None:
        value = self.value(topic)
        if change:
            value = applied(value, CHANGES[change], data)
            self.had[topic].append(value)
        self.entries.append(Entry(topic, change, data, value))
        if not change:
            self.plain.add((self.epoch, self.head))

    def trim(self, offset: int) -> None:
        self.trimmed = max(self.trimmed, min(offset, self.head))

    def restart(self, epoch: str) -> None:
        """The journal was lost."""
        self.epoch, self.entries, self.trimmed = epoch, [], 0
        for states in self.had.values():
            states.append(MISSING)

    def value(self, topic: str) -> Any:
        """What it is now."""
        return next((entry.value for entry in reversed(self.entries) if entry.topic == topic), MISSING)

    def changed(self, after: int, through: int) -> list[tuple[int, Entry]]:
        """The last change of each topic up to `through`, with its offset, where that is later than `after`."""
        last = {entry.topic: (n, entry) for n, entry in enumerate(self.entries[:through], 1) if entry.change}
        return sorted((pair for pair in last.values() if pair[0] > after), key=lambda pair: pair[0])

    def id_of(self, offset: int, told: int) -> str:
        return f"{self.epoch}-{offset}" if told >= offset else f"{self.epoch}-{offset}~{told}"

    def asked(self, last_event_id: str) -> tuple[str, int, int]:
        """The mode, the offset and what was told of values, for one who comes with an id."""
        match = _ID.fullmatch(last_event_id)
        if match is None:
            assert not last_event_id, "a client sends no id of its own making"
            return "live", self.head, 0
        offset = int(match[2])
        if match[1] != self.epoch or offset > self.head or offset < self.trimmed:
            return "gap", self.trimmed, 0
        return "resumed", offset, int(match[3] or offset)


class Stream:
    """What one connection is told. sent: the offset up to which that is. frames: of its events, the newest last."""

    def __init__(self, hub: ModelHub, last_event_id: str) -> None:
        self.hub = hub
        self.epoch = hub.epoch
        self.frames: list[bytes] = []
        self._asked = last_event_id
        self.mode, self.sent, self._told = hub.asked(last_event_id)

    def begin(self) -> Iterator[bytes]:
        """The frames that a stream begins with; each is said after the one before it."""
        hub, values = self.hub, "changed" if self._told else "all"
        waiting = self._waiting()
        here = hub.id_of(self.sent, self._told)
        said = {"clientId": "c1", "mode": self.mode, "from": here, "to": here, "heartbeat": HEARTBEAT_MS}
        yield b"retry: 1000\n" + frame(here, {**said, "values": values}, event="connected")
        if self.mode == "gap":
            reason = "expired" if self._asked.startswith(hub.epoch + "-") else "epoch"
            yield self._gap(reason, self._asked)
        yield from self._values(waiting)

    def fall_behind(self) -> Iterator[bytes]:
        """What waits is not kept any more: a gap, and what became of the values."""
        requested = self.hub.id_of(self.sent, self.sent)
        self._told, self.sent = self.sent, self.hub.trimmed
        self.frames.clear()
        waiting = self._waiting()
        yield self._gap("expired", requested)
        yield from self._values(waiting)

    def _waiting(self) -> list[tuple[int, Entry]]:
        waiting = self.hub.changed(self._told, self.sent)
        if not waiting:
            self._told = self.sent
        return waiting

    def _gap(self, reason: str, requested: str) -> bytes:
        here = self.hub.id_of(self.sent, self._told)
        return frame(here, {"reason": reason, "requested": requested, "oldest": here, "missed": None}, event="gap")

    def _values(self, waiting: list[tuple[int, Entry]]) -> Iterator[bytes]:
        for index, (offset, entry) in enumerate(waiting, 1):
            told_to = self.sent if index == len(waiting) else offset
            change = "delete" if entry.value is MISSING else "set"
            data = None if entry.value is MISSING else entry.value
            yield self._frame(self.sent, told_to, entry.topic, change, data)

    def one(self) -> bytes:
        """The next entry, as it was published."""
        self.sent += 1
        entry = self.hub.entries[self.sent - 1]
        return self._keep(self._frame(self.sent, self.sent, entry.topic, entry.change, entry.data))

    def folded(self) -> Iterator[bytes]:
        """All entries that wait; of a topic's changes there is one frame, at the place of the last (section 10)."""
        first, entries = self.sent, self.hub.entries[self.sent :]
        waiting: dict[str, list[int]] = {}  # the offsets of the changes of a topic that are not told
        for offset, entry in enumerate(entries, first + 1):
            if entry.change:
                waiting.setdefault(entry.topic, []).append(offset)
        for offset, entry in enumerate(entries, first + 1):
            change, data = entry.change, entry.data
            if change:
                if waiting[entry.topic][-1] != offset:
                    continue
                change, data = self._fold(waiting.pop(entry.topic))
            self.sent = offset
            told = min((offsets[0] - 1 for offsets in waiting.values()), default=offset)
            yield self._keep(self._frame(offset, told, entry.topic, change, data))

    def _fold(self, offsets: list[int]) -> tuple[str, Any]:
        """One change for several of a topic."""
        changes = [self.hub.entries[offset - 1] for offset in offsets]
        kinds = {entry.change for entry in changes}
        if kinds == {"append"}:
            return "append", {"text": "".join(entry.data["text"] for entry in changes)}
        if kinds == {"merge"}:
            return "merge", [entry.data for entry in changes]
        if len(changes) == 1:
            return changes[0].change, changes[0].data
        value = changes[-1].value
        return ("delete", None) if value is MISSING else ("set", value)

    def heartbeat(self) -> bytes:
        return frame(self.hub.id_of(self.sent, self.sent), {"timestamp": 1}, event="heartbeat")

    def bye(self, retry_ms: int) -> bytes:
        said = f'{{"reason":"drain","retry":{retry_ms}}}'
        return f"retry: {retry_ms}\nevent: bye\ndata: {said}\n\n".encode()

    def _frame(self, offset: int, told: int, topic: str, change: str, data: Any) -> bytes:
        fields = {"topic": topic}
        if change:
            event = "value" if change == "set" else f"value.{change}"
            fields = {"event": event, "topic": topic, "change": change}
        return frame(self.hub.id_of(offset, told), data, **fields)

    def _keep(self, said: bytes) -> bytes:
        self.frames.append(said)
        return said

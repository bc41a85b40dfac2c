"""The model: a plain list of what was published, and what a reader may and must make of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clarion import json
from clarion.event import Entry
from clarion.parser import Message, Parser
from clarion.position import parse
from clarion.topics import TopicSet
from clarion.values import MISSING


@dataclass
class Truth:
    """Everything that was ever published, in the journal's order, and what retention took away of it.

    taken: offsets that are gone; the value says whether they still counted then (their ttl had not passed).
    values: what each value was after each of its changes, by topic and subject.
    """

    entries: list[Entry] = field(default_factory=list)
    taken: dict[int, bool] = field(default_factory=dict)
    values: dict[tuple[str, str], list[tuple[int, Any]]] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        if entry.change:
            (message,) = Parser().feed(entry.frame)
            assert message.topic is not None
            history = self.values.setdefault((entry.topic, message.topic), [])
            before = history[-1][1] if history else MISSING
            history.append((entry.offset, changed(before, message)))

    def values_at(self, offset: int, topics: TopicSet) -> dict[str, tuple[int, Any]]:
        """The values of topics as they were after an offset, by subject, each with the offset of its last change."""
        found: dict[str, tuple[int, Any]] = {}
        for (topic, subject), history in self.values.items():
            if topics.matches(topic):
                until = [one for one in history if one[0] <= offset]
                if until:
                    found[subject] = until[-1]
        return found

    @property
    def newest(self) -> int:
        return self.entries[-1].offset if self.entries else 0

    def between(self, after: int, through: int, topics: TopicSet) -> list[Entry]:
        # Offsets of the journals under test are without holes, so a slice will do.
        return [entry for entry in self.entries[after:through] if topics.matches(entry.topic) and not entry.change]


def changed(value: Any, message: Message) -> Any:
    """What a change makes of a value, as a client that knows spec/stream.md would do it."""
    data = json.decode(message.data)
    if message.change == "append":
        return _appended(value, data)
    if message.change == "merge":
        for patch in data if isinstance(data, list) else [data]:
            value = _merged(value, patch)
        return value
    assert message.change in ("set", "delete"), message
    return data if message.change == "set" else MISSING


def _appended(value: Any, delta: Any) -> Any:
    if value is MISSING:
        return delta
    assert type(value) is type(delta), f"{delta!r} does not go onto {value!r}"
    if isinstance(value, dict):
        return {**value, **{name: _appended(value.get(name, MISSING), part) for name, part in delta.items()}}
    return value + delta


def _merged(value: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    whole = dict(value) if isinstance(value, dict) else {}
    for name, part in patch.items():
        whole[name] = _merged(whole.get(name), part)
        if part is None:
            del whole[name]
    return whole


class ChunkDecoder:
    """Takes `transfer-encoding: chunked` off, and holds that it is right (RFC 9112 section 7.1)."""

    def __init__(self) -> None:
        self._pending = b""
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        self._pending += data
        body = b""
        while True:
            head, found, rest = self._pending.partition(b"\r\n")
            if not found:
                return body
            assert not self.ended, "bytes after the last chunk"
            size = int(head, 16)
            if len(rest) < size + 2:
                return body
            assert rest[size : size + 2] == b"\r\n", "a chunk without its end"
            self.ended = size == 0
            body += rest[:size]
            self._pending = rest[size + 2 :]


class Ledger:
    """One connection's stream, read and held against the truth as it comes.

    position: what the stream has said that its reader has; everything up to there is accounted for.
    """

    def __init__(
        self,
        truth: Truth,
        topics: TopicSet,
        presented: str,
        *,
        began_ms: int,
        ephemeral_after: int = 0,
        values: dict[str, Any] | None = None,
    ) -> None:
        self.truth = truth
        self.topics = topics
        self.presented = presented
        self.began_ms = began_ms
        self.ephemeral_after = ephemeral_after
        self.parser = Parser(last_event_id=presented)
        self.position: int | None = None
        self.mode = ""
        self.told = 0
        self.values = {} if values is None else values
        self.changes = 0
        self.received: list[int] = []
        self.gaps: list[int | None] = []
        self.bye: str | None = None
        self.lenient_until = 0  # up to here it asked for what there is: what retention took of that is no loss to tell
        self.done_at = 0  # what must have come before a bye that says `done`

    @property
    def last_event_id(self) -> str:
        return self.parser.last_event_id

    def feed(self, body: bytes, now_ms: int) -> None:
        for message in self.parser.feed(body):
            assert self.bye is None, f"{message} after bye"
            if message.type == "bye":
                self._bye(message, now_ms)
                continue
            presented = parse(message.last_event_id)
            assert presented is not None, message
            offset = presented.position.offset
            if self.position is None:
                self._connected(message, offset)
            elif message.change is not None:
                self._change(message, offset, presented.told, now_ms)
            elif message.type == "gap":
                self._gap(message, offset, now_ms)
            elif message.type == "heartbeat":
                self._reached(offset, now_ms, message)
            else:
                self._event(message, offset, now_ms)
            self.position, self.told = offset, presented.told
            self._check_values()

    def missing(self, through: int, now_ms: int) -> list[Entry]:
        """What must have come by now, and did not."""
        assert self.position is not None, "not even `connected` came"
        return self._required(self.truth.between(self.position, through, self.topics), now_ms)

    def _connected(self, message: Message, offset: int) -> None:
        assert message.type == "connected", f"{message} is not what a stream begins with"
        said = json.decode(message.data)
        self.mode = said["mode"]
        if self.mode == "resumed":
            asked, there = parse(self.presented), parse(message.last_event_id)
            assert asked is not None
            assert there is not None
            assert there.position == asked.position
            # As it was; or nothing was changed since; or all is told anew.
            assert there.told in (asked.told, asked.position.offset, 0)
        elif not self.presented:
            assert self.mode == "live"
            newest = parse(said["to"])
            assert newest is not None
            self.lenient_until = newest.position.offset
        assert said["values"] in ("all", "changed")
        if said["values"] == "all":
            self.values.clear()
        assert offset <= self.truth.newest

    def _gap(self, message: Message, offset: int, now_ms: int) -> None:
        said = json.decode(message.data)
        missed: int | None = said["missed"]
        self.gaps.append(missed)
        assert self.position is not None
        assert offset >= self.position, f"{message} goes back from {self.position}"
        if said["reason"] in ("unknown", "epoch"):
            assert self.mode == "gap"
            assert offset == self.position
            assert missed is None
            return
        assert said["reason"] == "expired"
        skipped = self.truth.between(self.position, offset, self.topics)
        kept = [e for e in skipped if not e.ephemeral and e.expires_ms is None and e.offset not in self.truth.taken]
        assert not kept, f"{message} covers {offsets(kept)}, which the journal has"
        if missed is not None:
            assert missed > 0, f"{message} tells of nothing"
            gone = [e for e in skipped if not e.ephemeral and e.offset > self.lenient_until]
            most = [e for e in gone if self.truth.taken.get(e.offset)]
            least = [e for e in most if e.expires_ms is None or e.expires_ms > now_ms]  # others may have counted then
            assert len(least) <= missed <= len(most), f"{message}, but {offsets(most)} are missing"

    def _event(self, message: Message, offset: int, now_ms: int) -> None:
        assert self.position is not None
        assert offset > self.position, f"{message} again, or out of order: the reader has {self.position}"
        entry = self.truth.entries[offset - 1]
        assert entry.offset == offset
        assert self.topics.matches(entry.topic), f"{message} is for somebody else"
        (published,) = Parser().feed(entry.frame)
        received = replace(message, last_event_id=published.last_event_id)
        assert received == published, f"{message} is not what was published"
        if entry.ephemeral:
            assert offset > self.ephemeral_after, f"{message} was before this reader came"
        if entry.expires_ms is not None and offset <= self.ephemeral_after:
            assert entry.expires_ms > self.began_ms, f"{message} was over before this reader came"
        self._reached(offset - 1, now_ms, message)
        self.received.append(offset)

    def _change(self, message: Message, offset: int, told: int, now_ms: int) -> None:
        """A value is told: then it is what it really was, as far as the frame's id says values were told."""
        assert self.position is not None
        assert message.topic is not None
        assert (offset, told) > (self.position, self.told), f"{message} again: {self.position}~{self.told} is had"
        self._reached(offset, now_ms, message)
        value = changed(self.values.get(message.topic, MISSING), message)
        _, real = self.truth.values_at(told, self.topics)[message.topic]
        assert _same(value, real), f"{message} makes {value!r} of {real!r}"
        if value is MISSING:
            self.values.pop(message.topic, None)
        else:
            self.values[message.topic] = value
        self.changes += 1

    def _check_values(self) -> None:
        """What an id promises: the newest of each value whose last change is at `told` or before."""
        assert self.position is not None
        for subject, (last, real) in self.truth.values_at(self.position, self.topics).items():
            if last <= self.told:
                value = self.values.get(subject, MISSING)
                assert _same(value, real), f"{subject}: {value!r}, not {real!r}"

    def _reached(self, offset: int, now_ms: int, message: Message) -> None:
        assert self.position is not None
        assert offset >= self.position, f"{message} goes back from {self.position}"
        lost = self.missing(offset, now_ms)
        assert not lost, f"{message} jumps from {self.position} over {offsets(lost)}"

    def _bye(self, message: Message, now_ms: int) -> None:
        self.bye = json.decode(message.data)["reason"]
        if self.bye == "done":
            presented = parse(message.last_event_id)
            assert presented is not None
            assert presented.done
            assert self.position is None or presented.position.offset >= self.position, f"{message} goes back"
            assert not self.missing(self.done_at, now_ms), "done, but not with everything said before"
        else:
            presented = parse(message.last_event_id)
            assert presented is None or presented.position.offset == self.position

    def _required(self, entries: Iterable[Entry], now_ms: int) -> list[Entry]:
        return [entry for entry in entries if not entry.ephemeral and not self._may_be_left_out(entry, now_ms)]

    def _may_be_left_out(self, entry: Entry, now_ms: int) -> bool:
        if entry.expires_ms is not None and entry.expires_ms <= now_ms:
            return True
        return entry.offset <= self.lenient_until and entry.offset in self.truth.taken


def _same(value: Any, real: Any) -> bool:
    return value == real and (value is MISSING) == (real is MISSING)


def offsets(entries: Sequence[Entry]) -> str:
    """Which, for a failure's text: the first of them and how many."""
    return f"{[entry.offset for entry in entries[:5]]} ({len(entries)} of them)"

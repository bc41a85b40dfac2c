"""The values of a memory journal: each as it is now, in the order of their last changes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from clarion import json
from clarion.changes import said
from clarion.event import Draft
from clarion.held import Held, as_told, revised
from clarion.journals.base import CHANGED_OVERHEAD_BYTES, Changed, Values
from clarion.topics import TopicSet, matches
from clarion.values import MISSING, Change

DUE_AT_ONCE: Final = 64  # values whose time is over that are let go of in one step
MOST_TOMBSTONES: Final = 10_000  # deletions that are remembered: some 5 MB; who comes from before gets all values anew
MANY_SHARE: Final = 8  # an eighth of all values: for so many, going through all in order costs less than sorting them
SWEEP_PLACES: Final = 64  # in the lists below that count no more, and as many as count, before they are swept out

Key = tuple[str, str]  # topic, and the subject that it is told under


class Revised(NamedTuple):
    """What a draft makes of its value. draft: as it is to be appended."""

    key: Key
    held: Held
    draft: Draft


class ValueTable:
    """The values of one memory journal. They cost their own size; what led to them is not kept."""

    def __init__(self) -> None:
        self._held: dict[Key, Held] = {}
        self._order: list[tuple[int, Key]] = []  # by offset; what was changed again since counts no more
        self._subjects: dict[str, dict[str, None]] = {}
        self._levels: dict[str, dict[str, None]] = {}  # the topics, by the first of their levels
        self._tombstones: dict[Key, None] = {}  # the oldest first
        self._due: list[tuple[int, Key]] = []  # when to look whether a time is over; only what `_awaited` says counts
        self._awaited: dict[Key, int] = {}  # never later than the time is over
        self.last_change = 0
        self.forgotten = 0

    def revise(self, drafts: Sequence[Draft], newest: int, is_known: Callable[[Draft], bool]) -> list[Revised | None]:
        """What each draft makes of its value: worked out for all of them before anything is changed.

        newest: the offset before the first draft. is_known: whether a draft's key was seen, so that it adds nothing.

        Raises what `clarion.held.revised` raises.
        """
        fresh: dict[Key, Held] = {}
        keys: set[tuple[str, str]] = set()
        outcome: list[Revised | None] = []
        offset = newest
        for draft in drafts:
            if draft.key is not None and (is_known(draft) or (draft.topic, draft.key) in keys):
                outcome.append(None)  # it adds nothing
                continue
            if draft.key is not None:
                keys.add((draft.topic, draft.key))
            offset += 1
            if draft.change is Change.NONE:
                outcome.append(None)
                continue
            told = said(draft.body)
            key = (draft.topic, told.subject)
            before = fresh.get(key) or self._held.get(key)
            fresh[key] = held = revised(before, draft, told, offset)
            outcome.append(Revised(key, held, as_told(before, draft, told, held)))
        return outcome

    def put(self, key: Key, held: Held) -> None:
        """Take what `revise` gave."""
        self._held[key] = held
        self._order.append((held.offset, key))
        if len(self._order) > 2 * len(self._held) + SWEEP_PLACES:
            self._order = [one for one in self._order if self._is_last(*one)]
        self._subjects.setdefault(key[0], {})[key[1]] = None
        self._levels.setdefault(key[0].partition("/")[0], {})[key[0]] = None
        self.last_change = held.offset
        self._tombstones.pop(key, None)
        if held.value is MISSING:
            self._tombstones[key] = None
            if len(self._tombstones) > MOST_TOMBSTONES:
                self._forget(next(iter(self._tombstones)))
        if held.expires_ms is not None:
            self._await(key, held.expires_ms)

    def _is_last(self, offset: int, key: Key) -> bool:
        held = self._held.get(key)
        return held is not None and held.offset == offset

    def let_go(self, now_ms: int) -> None:
        """Forget some of those whose time is over."""
        for _ in range(DUE_AT_ONCE):
            if not self._due or self._due[0][0] > now_ms:
                return
            due_ms, key = heappop(self._due)
            if self._awaited.get(key) != due_ms:
                continue
            del self._awaited[key]
            expires_ms = self._held[key].expires_ms
            if expires_ms is None:
                continue
            if expires_ms > now_ms:  # it was changed since, and lives longer
                self._await(key, expires_ms)
            else:
                self._forget(key)

    def _await(self, key: Key, expires_ms: int) -> None:
        awaited_ms = self._awaited.get(key)
        if awaited_ms is None or expires_ms < awaited_ms:
            self._awaited[key] = expires_ms
            heappush(self._due, (expires_ms, key))
            if len(self._due) > 2 * len(self._awaited) + SWEEP_PLACES:
                self._due = [(due_ms, awaited) for awaited, due_ms in self._awaited.items()]
                heapify(self._due)

    def _forget(self, key: Key) -> None:
        held = self._held.pop(key)
        if held.value is MISSING:
            self.forgotten = max(self.forgotten, held.offset)
            del self._tombstones[key]
        self._awaited.pop(key, None)
        subjects = self._subjects[key[0]]
        del subjects[key[1]]
        if not subjects:
            del self._subjects[key[0]]
            level = key[0].partition("/")[0]
            del self._levels[level][key[0]]
            if not self._levels[level]:
                del self._levels[level]

    def values(self, topics: TopicSet | None, after: int, max_bytes: int, now_ms: int, newest: int) -> Values:
        """See `Journal.values`."""
        changed: list[Changed] = []
        size = 0
        for key, held in self._after(topics, after):
            if held.value is MISSING:
                if not after:
                    continue
                change, data = Change.DELETE, b"null"
            elif held.lives(now_ms):
                change, data = Change.SET, json.encode(held.value)
            else:
                continue
            if size >= max_bytes:
                return Values(changed, newest, False, self.forgotten)
            size += len(data) + CHANGED_OVERHEAD_BYTES
            changed.append(Changed(*key, held.name, held.offset, change, data))
        return Values(changed, newest, True, self.forgotten)

    def _after(self, topics: TopicSet | None, after: int) -> Iterable[tuple[Key, Held]]:
        candidates = self._candidates(topics)
        if topics is None or candidates is None:
            return self._changed_after(topics, after)
        named = [(topic, subject) for topic in candidates for subject in self._subjects.get(topic, ())]
        chosen = [(key, held) for key in named if (held := self._held[key]).offset > after]
        chosen.sort(key=lambda one: one[1].offset)
        return chosen

    def _candidates(self, topics: TopicSet | None) -> Iterable[str] | None:
        """The topics of a set that have values; None where going through all values in order is as cheap."""
        if topics is None:
            return None
        found = dict.fromkeys(topics.exact)
        for pattern in topics.patterns:
            level = pattern.partition("/")[0]
            if level in ("*", "**"):
                return None
            among = self._levels.get(level, {})
            if len(among) * MANY_SHARE > len(self._held):
                return None
            found.update(dict.fromkeys(topic for topic in among if matches(pattern, topic)))
        return found

    def _changed_after(self, topics: TopicSet | None, after: int) -> Iterator[tuple[Key, Held]]:
        for index in range(bisect_right(self._order, after, key=lambda one: one[0]), len(self._order)):
            offset, key = self._order[index]
            held = self._held.get(key)
            if held is not None and held.offset == offset and (topics is None or topics.matches(key[0])):
                yield key, held

"""The values of a memory journal: each as it is now, in the order of their last changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Final

from clarion import json
from clarion.changes import said
from clarion.event import Draft
from clarion.held import Held, revised
from clarion.journals.base import Changed, Values
from clarion.topics import TopicSet
from clarion.values import MISSING, Change

DUE_AT_ONCE: Final = 64  # values whose time is over that are let go of in one step

Key = tuple[str, str]  # topic, and the subject that it is told under
Revised = tuple[Key, Held]


class ValueTable:
    """The values of one memory journal. They cost their own size; what led to them is not kept."""

    def __init__(self) -> None:
        self._held: dict[Key, Held] = {}  # the last changed last
        self._subjects: dict[str, dict[str, None]] = {}
        self._due: list[tuple[int, Key]] = []  # when to look whether its time is over; each key once at most
        self._awaited: set[Key] = set()  # those that stand in `_due`
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
            fresh[key] = revised(fresh.get(key) or self._held.get(key), draft, told, offset)
            outcome.append((key, fresh[key]))
        return outcome

    def put(self, key: Key, held: Held) -> None:
        """Take what `revise` gave."""
        self._held.pop(key, None)
        self._held[key] = held
        self._subjects.setdefault(key[0], {})[key[1]] = None
        self.last_change = held.offset
        if held.expires_ms is not None and key not in self._awaited:
            self._awaited.add(key)
            heappush(self._due, (held.expires_ms, key))

    def let_go(self, now_ms: int) -> None:
        """Forget some of those whose time is over."""
        for _ in range(DUE_AT_ONCE):
            if not self._due or self._due[0][0] > now_ms:
                return
            _, key = heappop(self._due)
            self._awaited.discard(key)
            held = self._held[key]
            if held.expires_ms is None:
                continue
            if held.expires_ms > now_ms:  # it was changed since, and lives longer
                self._awaited.add(key)
                heappush(self._due, (held.expires_ms, key))
                continue
            if held.value is MISSING:
                self.forgotten = max(self.forgotten, held.offset)
            self._forget(key)

    def _forget(self, key: Key) -> None:
        del self._held[key]
        subjects = self._subjects[key[0]]
        del subjects[key[1]]
        if not subjects:
            del self._subjects[key[0]]

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
            size += len(data)
            changed.append(Changed(*key, held.name, held.offset, change, data))
        return Values(changed, newest, True, self.forgotten)

    def _after(self, topics: TopicSet | None, after: int) -> Iterable[tuple[Key, Held]]:
        if topics is None or topics.patterns:
            found = [(key, held) for key, held in self._newest_first(after) if topics is None or topics.matches(key[0])]
            found.reverse()
            return found
        named = [(topic, subject) for topic in topics.exact for subject in self._subjects.get(topic, ())]
        chosen = [(key, held) for key in named if (held := self._held[key]).offset > after]
        chosen.sort(key=lambda one: one[1].offset)
        return chosen

    def _newest_first(self, after: int) -> Iterator[tuple[Key, Held]]:
        for key, held in reversed(self._held.items()):
            if held.offset <= after:
                return
            yield key, held

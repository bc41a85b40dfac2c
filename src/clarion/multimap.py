"""A multimap for many keys with one item each: such a key costs a dictionary entry and no container."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item", bound=Hashable)


class Multimap(Generic[Key, Item]):
    """Keys to sets of items. Items must not be dictionaries. Adding and discarding cost O(1)."""

    __slots__ = ("_map",)

    def __init__(self) -> None:
        self._map: dict[Key, Item | dict[Item, None]] = {}

    def add(self, key: Key, item: Item) -> None:
        """Put `item` under `key`; twice is once."""
        have = self._map.get(key)
        if have is None:
            self._map[key] = item
        elif isinstance(have, dict):
            have[item] = None
        elif have != item:
            self._map[key] = {have: None, item: None}

    def discard(self, key: Key, item: Item) -> None:
        """Take `item` away from under `key`, if it is there."""
        have = self._map.get(key)
        if isinstance(have, dict):
            have.pop(item, None)
            if not have:
                del self._map[key]
        elif have is not None and have == item:
            del self._map[key]

    def get(self, key: Key) -> Iterable[Item]:
        """The items under `key`. Take a copy before changing the map while going through them."""
        have = self._map.get(key)
        if have is None:
            return ()
        return have if isinstance(have, dict) else (have,)

    def count(self, key: Key) -> int:
        """How many items are under `key`."""
        have = self._map.get(key)
        if have is None:
            return 0
        return len(have) if isinstance(have, dict) else 1

    def __len__(self) -> int:
        return len(self._map)

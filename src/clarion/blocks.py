"""What was made for one reader that is behind, kept for those who come to the same place next."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final

BLOCK_CACHE_BYTES: Final = 8 * 1024 * 1024
BLOCK_OVERHEAD_BYTES: Final = 1024  # counted for a block's marks and its place in the cache


class BlockCache:
    """Blocks and folded values, bounded by their bytes; what was asked for least lately goes first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> Any:
        """What was kept under a key, or None."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def keep(self, key: Hashable, what: Any, size_bytes: int) -> None:
        """Keep something of so many bytes, in the place of what was kept under that key."""
        before = self._kept.pop(key, None)
        if before is not None:
            self.size_bytes -= before[1]
        size_bytes += BLOCK_OVERHEAD_BYTES
        self._kept[key] = (what, size_bytes)
        self.size_bytes += size_bytes
        while self.size_bytes > BLOCK_CACHE_BYTES:
            self.size_bytes -= self._kept.popitem(last=False)[1][1]

"""What happens to a work that nobody looks at: it goes on, or it is cancelled after a while. Time is an argument."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from clarion.limits import MAX_SECONDS

NO_VIEWERS_SECONDS: Final = 10.0  # "cancel": longer than a page's reload and than the 1.5 to 3 s of a reconnect
REPORT_MS: Final = 10_000  # how often a hub tells the others what is looked at there
REPORT_VALID_MS: Final = 30_000  # ... and how long that holds: a hub that died has no viewers

NoViewers = Literal["continue", "cancel"] | float


def no_viewers_seconds(policy: NoViewers) -> float | None:
    """After how many seconds without a viewer to cancel; None for never. Raises `ValueError` for another policy."""
    if policy == "continue":
        return None
    if policy == "cancel":
        return NO_VIEWERS_SECONDS
    if isinstance(policy, bool) or not isinstance(policy, int | float) or not 0 < policy <= MAX_SECONDS:
        raise ValueError(f'on_no_viewers must be "continue", "cancel" or seconds above 0, not {policy!r}')
    return float(policy)


class ViewerWatch:
    """Which works are looked at, here and in other hubs, and which have not been for their time."""

    def __init__(self) -> None:
        self._seen_ms: dict[str, int] = {}  # when each was last looked at, or its watch began
        self._named: set[str] = set()  # those that were said to be lonely
        self._reports: dict[str, tuple[frozenset[str], int]] = {}

    def begin(self, work_id: str, now_ms: int) -> None:
        """Watch a work: it has its time from now on for a first viewer. Twice is once."""
        self._seen_ms.setdefault(work_id, now_ms)

    def forget(self, work_id: str) -> None:
        self._seen_ms.pop(work_id, None)
        self._named.discard(work_id)

    def seen(self, work_ids: Iterable[str], now_ms: int) -> None:
        """These are looked at here."""
        for work_id in work_ids:
            if work_id in self._seen_ms:
                self._seen_ms[work_id] = now_ms

    def reported(self, hub_id: str, work_ids: Iterable[str], now_ms: int) -> None:
        """These, and no others, are looked at in another hub."""
        before = self._reports.pop(hub_id, None)
        if before is not None and before[1] > now_ms:  # up to now it was as that hub said before
            self.seen(before[0], now_ms)
        seen = frozenset(work_ids)
        if seen:
            self._reports[hub_id] = (seen, now_ms + REPORT_VALID_MS)

    def lonely(self, work_id: str, seconds: float, now_ms: int) -> bool:
        """Whether nobody has looked at it for so long. True once, and again only after somebody has looked."""
        if work_id not in self._seen_ms:
            return False
        for hub_id, (seen, until_ms) in list(self._reports.items()):
            if until_ms <= now_ms:
                del self._reports[hub_id]
            elif work_id in seen:
                self._seen_ms[work_id] = now_ms
        lonely = now_ms - self._seen_ms[work_id] >= seconds * 1000
        if not lonely:
            self._named.discard(work_id)
        elif work_id in self._named:
            return False
        else:
            self._named.add(work_id)
        return lonely

"""A subscription: one reader, its topics and its cursor. No queue: what it has still to get is in the log.

Its states, and all the ways between them (made by `clarion.fanout.Fanout` alone):

    BEHIND  it reads the log, or pages of the journal, from its cursor
            -> LIVE     its cursor has reached what was planned
            -> CLOSED
    LIVE    it has been given everything planned; each next batch comes to it
            -> BEHIND   it could not take all of a batch at once
            -> CLOSED
    CLOSED  it is gone, for the reason that stands beside it
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from clarion.topics import CLIENT_PREFIX, USER_PREFIX

if TYPE_CHECKING:
    from clarion.audience import Audience
    from clarion.journals.base import Values


class State(Enum):
    BEHIND = "behind"
    LIVE = "live"
    CLOSED = "closed"


# Why a stream ended. The first five are said to the reader in `bye`; the others it cannot be told.
DRAIN: Final = "drain"
EXPIRED: Final = "expired"
KICKED: Final = "kicked"
DONE: Final = "done"
LIMIT: Final = "limit"
DISCONNECTED: Final = "disconnected"
STALLED: Final = "stalled"
BYE_REASONS: Final = frozenset({DRAIN, EXPIRED, KICKED, DONE, LIMIT})


class Subscription:
    """One reader. Sinks derive their own kind from it, with what they need to write.

    cursor: the offset it has reached, while it is BEHIND. While it is LIVE, what was planned is its cursor, and this
        is where it became live: a plan that was begun before is not for it.
    told: the offset up to which it was told values, never after the cursor. Where the two are the same it is whole.
    exact: it has each value as it was at `told`, so that changes may follow. If not, it has the newest of those whose
        last change is at `told` or before, and the others have to be set.
    snapshot: values that it is to be told once its cursor is where they are from.
    known: while it is not exact, up to where deletions of values are accounted for; 0 for one that had none before.
    events_before_values: how many events it was given while values wait for it.
    due: it may be told values now; for readers of an audience that is told them from time to time.
    joined: the newest offset when it came; what is ephemeral and older is not for it.
    lenient_until: before this offset nothing counts as missed: it asked for as much as there is, not for what it lost.
    written_ms: when it last took bytes, monotonic; for heartbeats and for noticing that it stalled.
    blocked: the sink waits for its peer to take bytes.
    """

    __slots__ = (
        "address",
        "audience",
        "blocked",
        "connected_at",
        "cursor",
        "deadline_ms",
        "deadline_reason",
        "due",
        "events_before_values",
        "exact",
        "heartbeat_ms",
        "id",
        "joined",
        "known",
        "lenient_until",
        "meta",
        "reason",
        "snapshot",
        "state",
        "told",
        "user",
        "written_ms",
    )

    def __init__(self, client_id: str, user: str | None, audience: Audience, cursor: int, joined: int) -> None:
        self.id = client_id
        self.user = user
        self.audience = audience
        self.cursor = cursor
        self.told = cursor
        self.exact = True
        self.snapshot: Values | None = None
        self.due = True
        self.events_before_values = 0
        self.known = cursor
        self.joined = joined
        self.lenient_until = 0
        self.state = State.BEHIND
        self.reason: str | None = None
        self.heartbeat_ms = 0
        self.deadline_ms: int | None = None
        self.deadline_reason = LIMIT
        self.blocked = False
        self.written_ms = 0
        self.connected_at = 0.0
        self.address: str | None = None
        self.meta: Any = None

    def reached(self, offset: int, told: int) -> None:
        """It has taken everything up to there."""
        self.cursor = offset
        self.told = told

    @property
    def is_closed(self) -> bool:
        """Whether it is gone."""
        return self.state is State.CLOSED

    @property
    def personal_topics(self) -> tuple[str, ...]:
        """The topics that are for this reader alone, or for its user."""
        if self.user is None:
            return (CLIENT_PREFIX + self.id,)
        return (CLIENT_PREFIX + self.id, USER_PREFIX + self.user)

    def wants(self, topic: str) -> bool:
        """Whether an event of `topic` is for this reader."""
        return self.audience.wants(topic) or topic in self.personal_topics

"""The contract of a journal: the durable, totally ordered list of entries.

Everything a hub knows comes out of its journal, in the journal's order; several processes that share a journal see the
same order. The contract suite `clarion.testing.journal_contract` checks an implementation against this page.

Concurrency: a journal belongs to one event loop at a time. All methods may be awaited concurrently. Cancelling a
call leaves the journal usable; a cancelled `append` may or may not have been written.
Errors: everything that goes wrong is a `clarion.errors.JournalError`; other libraries' errors do not come through.
After `close` every method raises `JournalUnavailable`; `close` itself may be called twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from clarion.event import Draft, Entry
from clarion.retention import RetentionRules, Since
from clarion.topics import TopicSet

KEY_WINDOW_SECONDS = 24 * 3600  # how long an idempotency key is remembered: longer than any retry of a job queue
FOLLOW_BATCH_ENTRIES = 1024  # what a follower gets at once, at most: bounds one step of the event loop


class Appended(NamedTuple):
    """What became of a draft. `duplicate`: its key was seen within the window; `offset` is then the first one's."""

    offset: int
    duplicate: bool


class Page(NamedTuple):
    """What `read` gives: consistent in itself, as of one moment.

    entries: those of the topics asked for, in order, none left out up to `through`.
    through: everything up to here is accounted for; read on from here. At the end it is the newest offset.
    missed: how many entries of the topics, after the cursor and up to `through`, retention has taken away; None if
        some may be missing but their number cannot be known. Expired ttl and ephemeral entries are not missed.
    """

    entries: list[Entry]
    through: int
    missed: int | None


class Bounds(NamedTuple):
    """The offsets of the oldest entry kept and of the newest ever appended. Nothing kept: oldest is newest + 1."""

    oldest: int
    newest: int


class Journal(Protocol):
    """Where entries are kept. See the module's text for concurrency and errors.

    epoch: the name of this numbering, valid after `open` (see `clarion.position`).
    shared: whether other processes can append to the same journal.
    """

    epoch: str
    shared: bool

    async def open(self, rules: RetentionRules) -> None:
        """Make ready for use; create what does not exist. `rules` hold from now on."""
        ...

    async def close(self) -> None:
        """Finish what was begun and let go of everything. May be called twice."""
        ...

    async def append(self, drafts: Sequence[Draft]) -> list[Appended]:
        """Append all drafts, in order, or none. Returns when they are as safe as this journal makes them.

        The drafts of one call stand in one run, without another caller's between them.
        """
        ...

    async def read(self, after: int, topics: TopicSet | None, *, max_entries: int, max_bytes: int, now_ms: int) -> Page:
        """The next entries of `topics` (all topics if None) after offset `after`.

        Stops at `max_entries` or once `max_bytes` of frames are reached, and always gives at least one entry if there
        is one. Leaves out ephemeral entries and those whose ttl has passed by `now_ms`. Costs in proportion to what
        it returns, not to the history before `after`, and not to other topics' entries.
        """
        ...

    async def tail(self, *, max_entries: int, max_bytes: int) -> tuple[int, list[Entry]]:
        """The newest run of entries of all topics, ephemeral and expired ones included, and a floor.

        Every entry after the floor that was ever appended is in the list.
        """
        ...

    async def seek(self, topics: TopicSet | None, since: Since) -> int:
        """The cursor from which `since` starts: reading after it gives just what `since` asks for."""
        ...

    async def bounds(self) -> Bounds:
        """The present bounds, of everything any process has appended."""
        ...

    def follow(self, after: int) -> AsyncIterator[Sequence[Entry]]:
        """All entries after offset `after`, of all topics and from all processes, in order, as they are appended.

        Ephemeral entries included. Batches of at most FOLLOW_BATCH_ENTRIES. Ends only by an error, `close`, or
        its `aclose`. Raises `JournalOverrun` if entries were taken away before it came to read them.
        """
        ...

"""The contract of a journal: the durable, totally ordered list of entries.

Everything a hub knows comes out of its journal, in the journal's order; several processes that share a journal see the
same order. The contract suite `clarion.testing.journal_contract` checks an implementation against this page.

Concurrency: a journal belongs to one event loop at a time. All methods may be awaited concurrently. Cancelling a
call leaves the journal usable; a cancelled `append` may or may not have been written.
Errors: everything that goes wrong is a `clarion.errors.JournalError`; other libraries' errors do not come through. What
is wrong with a change of a value is told by `append` as `ValueMismatch`, `ValueTooLarge` or `NoValue`.
After `close` every method raises `JournalUnavailable`; `close` itself may be called twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from clarion.event import Draft, Entry
from clarion.retention import RetentionRules, Since
from clarion.topics import TopicSet
from clarion.values import Change

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


class Changed(NamedTuple):
    """What became of one value: a `SET` of it as it is, a `DELETE`, or what was appended or merged since.

    topic: whose readers are told. subject: the topic that it is told under; the two find the value. name: the event
    type of its last change. offset: of that. data: one line of JSON.
    """

    topic: str
    subject: str
    name: str
    offset: int
    change: Change
    data: bytes


CHANGED_OVERHEAD_BYTES = 100  # counted for a value beside its data: thousands of small ones are as much to tell


class Values(NamedTuple):
    """What `values` gives: consistent in itself, as of one moment.

    changed: values whose last change is after the offset asked for, in the order of their last changes.
    through: the moment: the newest offset then. complete: all are there; if not, go on after the last one's offset.
    forgotten: deletions up to this offset may not be known any more.
    """

    changed: list[Changed]
    through: int
    complete: bool
    forgotten: int


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

        The drafts of one call stand in one run, without another caller's between them. A change is applied to its value
        in the same step, as `clarion.values` says; one that cannot be refuses the whole call and changes nothing.
        """
        ...

    async def read(self, after: int, topics: TopicSet | None, *, max_entries: int, max_bytes: int, now_ms: int) -> Page:
        """The next entries of `topics` (all topics if None) after offset `after`.

        Stops at `max_entries` or once `max_bytes` of frames are reached, and always gives at least one entry if there
        is one. Leaves out changes of values, ephemeral entries, and those whose ttl has passed by `now_ms`. Costs in
        proportion to what it returns, not to the history before `after`, and not to other topics' entries.
        """
        ...

    async def values(self, topics: TopicSet | None, *, after: int, exact: bool, max_bytes: int, now_ms: int) -> Values:
        """The values of `topics` whose last change is after an offset: those that live, and deletions (not after 0).

        exact: the asker has them as they were at `after`, so that what changed since may be given instead of the value,
        where it is still known and smaller. Stops once `max_bytes` of data are reached, and always gives at least one
        if there is one. Retention never takes a value away, except by its own ttl.
        """
        ...

    async def last_change(self) -> int:
        """The offset of the newest change of any value by any process; 0 if there never was one."""
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

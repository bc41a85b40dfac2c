"""Following an SQLite journal: the writer of this process passes on what it wrote, and a thread watches for the rest.

SQLite tells nobody that another process has committed, but `PRAGMA data_version` changes when one has, and costs 6 us.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Final

from clarion.errors import JournalError, JournalOverrun
from clarion.event import Entry
from clarion.journals.base import FOLLOW_BATCH_ENTRIES
from clarion.journals.sqlite_file import JournalFile
from clarion.journals.sqlite_reading import read_run

# Measured: an event of another process is here 2 ms (median, the wait for the disk included) after it was published
# while that publishes every 5 ms; a follower of an idle journal takes 0.4 % of a core, all threads together.
POLL_BUSY_SECONDS: Final = 0.002  # while other processes append
POLL_IDLE_SECONDS: Final = 0.05  # long after they did
POLL_QUIET_SHARE: Final = 8  # in between: an eighth of the time since, so waiting costs a share of what was waited for
CHECK_FILE_SECONDS: Final = 1.0  # between two looks at whether the file is still there
FEED_ENTRIES: Final = 8 * FOLLOW_BATCH_ENTRIES  # queued for one follower; what is more is read again when it has room
FEED_BYTES: Final = 16 * 1024**2


class Feed:
    """What one follower has still to take. Filled from threads, in order and without holes; emptied in the loop."""

    def __init__(self, after: int, loop: asyncio.AbstractEventLoop) -> None:
        self.reached = after
        self.behind = False
        self.error: JournalError | None = None
        self._loop = loop
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._size = 0
        self._wake = asyncio.Event()
        self._woken = False

    @property
    def has_room(self) -> bool:
        return len(self._entries) < FEED_ENTRIES and self._size < FEED_BYTES

    def wants_more(self) -> bool:
        """Whether it has room. If not, it is `behind` from now on: whoever empties it has to ask for the rest."""
        with self._lock:
            self.behind = not self.has_room
            return not self.behind

    def offer(self, after: int, entries: Iterable[Entry], through: int) -> bool:
        """Take everything after `after` up to `through`, if it joins on. Whether the feed now has reached `through`."""
        with self._lock:
            if through <= self.reached:
                return True
            if after > self.reached or not self.has_room:
                self.behind = True  # until the watcher looks: what joins on later does not tell that all is there
                return False
            fresh = [entry for entry in entries if entry.offset > self.reached]
            self.reached = through
            if fresh:
                self._entries += fresh
                self._size += sum([len(entry.frame) for entry in fresh])
                self._wake_up()
            return True

    def fail(self, error: JournalError) -> None:
        """End the follower with `error`, after what it has."""
        with self._lock:
            self.error = self.error or error
            self._wake_up()

    async def take(self) -> list[Entry]:
        """What has come since the last time; waits for something. Raises what ended the feed."""
        while True:
            with self._lock:
                entries, self._entries, self._size = self._entries, [], 0
                self._woken = False
                self._wake.clear()
            if entries:
                return entries
            if self.error is not None:
                raise self.error
            await self._wake.wait()

    def _wake_up(self) -> None:
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._wake.set)
            except RuntimeError:
                pass  # the loop is closed: nobody takes any more


class Watcher:
    """Fills the feeds of one process, in a thread of its own from `start` until `stop`.

    on_lost: called once in the thread, when the file was deleted or replaced.
    """

    def __init__(self, file: JournalFile, on_lost: Callable[[JournalError], None]) -> None:
        self._file = file
        self._on_lost = on_lost
        self._connection = file.connect(reading=True)
        self._feeds: tuple[Feed, ...] = ()  # replaced, never changed: threads go through it without a lock
        self._wake = threading.Event()
        self._stopping = False
        self._version = 0
        self._busy_at = 0.0
        self._thread = threading.Thread(target=self._run, name="clarion-watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Blocks for as long as it reads a page."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def add(self, feed: Feed) -> None:
        self._feeds = (*self._feeds, feed)
        self._wake.set()

    def discard(self, feed: Feed) -> None:
        self._feeds = tuple(other for other in self._feeds if other is not feed)

    def refill(self, feed: Feed) -> None:
        """Tell that `feed` was emptied: it may have room for what it could not take before."""
        if feed.behind:
            self._wake.set()

    def pass_on(self, entries: Sequence[Entry]) -> None:
        """Give the feeds what this process has just appended, without reading the file."""
        joined = [feed.offer(entries[0].offset - 1, entries, entries[-1].offset) for feed in self._feeds]
        if not all(joined):
            self._wake.set()

    def fail(self, error: JournalError) -> None:
        """End all feeds."""
        for feed in self._feeds:
            feed.fail(error)

    def _run(self) -> None:
        checked_at = monotonic()
        while not self._stopping:
            hurried = self._wake.wait(self._pause())
            if hurried:
                self._wake.clear()  # not otherwise: it may have been set since the wait ended
            now = monotonic()
            if now - checked_at > CHECK_FILE_SECONDS:
                checked_at = now
                if not self._is_there():
                    break
            try:
                if self._feeds and (self._has_changed() or hurried):
                    self._fill(now)
            except Exception as error:  # whatever it is, followers must not wait for ever; they may come again
                self.fail(self._file.told(error, "follow"))
        self._connection.close()

    def _pause(self) -> float:
        if not self._feeds:
            return CHECK_FILE_SECONDS
        quiet = monotonic() - self._busy_at
        return min(POLL_IDLE_SECONDS, max(POLL_BUSY_SECONDS, quiet / POLL_QUIET_SHARE))

    def _has_changed(self) -> bool:
        before, self._version = self._version, self._connection.execute("PRAGMA data_version").fetchone()[0]
        return before != self._version

    def _fill(self, now: float) -> None:
        """Read what the feeds have not got, a page for each in turn, until none lacks anything it has room for."""
        lacking = True
        while lacking and not self._stopping:
            lacking = False
            for feed in self._feeds:
                after = feed.reached
                if feed.error is not None or not feed.wants_more():
                    continue
                run = read_run(self._connection, after)
                if not run.complete:
                    feed.fail(JournalOverrun(f"entries after {after} were taken away before they were followed"))
                elif run.through > after:
                    lacking = True
                    feed.offer(after, run.entries, run.through)
                    self._busy_at = now

    def _is_there(self) -> bool:
        try:
            self._file.check()
        except JournalError as error:
            self._on_lost(error)
            self.fail(error)
            return False
        return True

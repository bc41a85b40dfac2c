"""The SQLite journal: durable, shared by all processes of one machine that name the same file.

An acknowledged append survives `kill -9` and a power cut. Nothing blocks the event loop: one thread appends, one
watches for what other processes append, a few read pages.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from time import time
from typing import Concatenate, Final, ParamSpec, TypeVar

from clarion.errors import JournalError, JournalUnavailable
from clarion.event import Draft, Entry
from clarion.journals.base import FOLLOW_BATCH_ENTRIES, Appended, Bounds, Page, Values
from clarion.journals.sqlite_file import BUSY_TIMEOUT_MS, JournalFile
from clarion.journals.sqlite_follow import Feed, Watcher
from clarion.journals.sqlite_reading import find_bounds, find_last_change, find_start, read_page, read_tail
from clarion.journals.sqlite_retention import FOLLOW_GRACE_MS, Retaining
from clarion.journals.sqlite_store import Store
from clarion.journals.sqlite_values import read_values
from clarion.journals.sqlite_writer import Call, Writer
from clarion.retention import RetentionRules, Since
from clarion.topics import TopicSet

READERS: Final = 3  # threads that read pages: more do not help, Python's own work is under one lock

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


def _wall_ms() -> int:
    return int(time() * 1000)


class SqliteJournal:
    """A `clarion.journals.base.Journal` in an SQLite file, which is made if it is not there.

    now_ms: Unix time in milliseconds, for retention by age; tests give their own.
    follow_grace_ms: what is newer is kept in any case, so that other processes come to follow it.
    """

    shared = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        now_ms: Callable[[], int] = _wall_ms,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
        follow_grace_ms: int = FOLLOW_GRACE_MS,
    ) -> None:
        self._follow_grace_ms = follow_grace_ms
        self._file = JournalFile(path, busy_timeout_ms=busy_timeout_ms)
        self._now_ms = now_ms
        self._ended: JournalError | None = JournalUnavailable(f"the journal {self._file.path} is not open")
        self._closing: asyncio.Future[None] | None = None
        self._handed: list[Call] = []
        self.epoch = ""

    async def open(self, rules: RetentionRules) -> None:
        if self._ended is None:
            raise JournalUnavailable(f"the journal {self._file.path} is already open")
        self._loop = asyncio.get_running_loop()
        await _in_thread("clarion-opener", self._open, rules)
        self.epoch = self._file.epoch
        self._closing = None
        self._ended = None

    def _open(self, rules: RetentionRules) -> None:
        file = self._file
        file.open()
        try:
            store = Store(file)
            self._watcher = Watcher(file, self._end)
            self._readers: SimpleQueue[sqlite3.Connection] = SimpleQueue()
            for _ in range(READERS):
                self._readers.put(file.connect(reading=True))
            retaining = Retaining(store, rules, self._now_ms, follow_grace_ms=self._follow_grace_ms)
            self._writer = Writer(store, retaining, self._loop, self._watcher.pass_on)
        except sqlite3.Error as error:
            file.close()
            raise file.told(error, "open") from error
        except JournalError:
            file.close()
            raise
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="clarion-reader")
        self._watcher.start()
        self._writer.start()

    async def close(self) -> None:
        if self._closing is None:
            if not self.epoch or self._file.is_carried:
                return  # never opened, or not by this process
            self._hand_over()
            self._end(JournalUnavailable(f"the journal {self._file.path} is closed"))
            self._closing = asyncio.ensure_future(_in_thread("clarion-closer", self._close))
        await asyncio.shield(self._closing)

    def _close(self) -> None:
        self._writer.stop()
        self._watcher.stop()
        self._watcher.fail(JournalUnavailable(f"the journal {self._file.path} is closed"))
        self._pool.shutdown()
        for _ in range(READERS):
            self._readers.get().close()
        self._file.close()

    async def append(self, drafts: Sequence[Draft]) -> list[Appended]:
        self._check_open()
        if not drafts:
            return []
        call = Call(tuple(drafts), sum([len(draft.body) for draft in drafts]), self._loop.create_future())
        if not self._handed:
            self._loop.call_soon(self._hand_over)  # after all who are awake now: they share one transaction
        self._handed.append(call)
        return await call.answer

    def _hand_over(self) -> None:
        if self._handed:
            calls, self._handed = self._handed, []
            self._writer.hand_over(calls)

    async def read(self, after: int, topics: TopicSet | None, *, max_entries: int, max_bytes: int, now_ms: int) -> Page:
        return await self._reading(read_page, after, topics, max_entries, max_bytes, now_ms)

    async def values(self, topics: TopicSet | None, *, after: int, exact: bool, max_bytes: int, now_ms: int) -> Values:
        return await self._reading(read_values, topics, after, exact, max_bytes, now_ms)

    async def last_change(self) -> int:
        return await self._reading(find_last_change)

    async def tail(self, *, max_entries: int, max_bytes: int) -> tuple[int, list[Entry]]:
        return await self._reading(read_tail, max_entries, max_bytes)

    async def seek(self, topics: TopicSet | None, since: Since) -> int:
        return await self._reading(find_start, topics, since, self._now_ms())

    async def bounds(self) -> Bounds:
        return await self._reading(find_bounds)

    async def follow(self, after: int) -> AsyncGenerator[Sequence[Entry], None]:
        self._check_open()
        feed = Feed(after, self._loop)
        self._watcher.add(feed)
        try:
            self._check_open()  # the watcher may have ended since the check above, without having seen this feed
            while True:
                entries = await feed.take()
                self._watcher.refill(feed)
                for start in range(0, len(entries), FOLLOW_BATCH_ENTRIES):
                    yield entries[start : start + FOLLOW_BATCH_ENTRIES]
        finally:
            self._watcher.discard(feed)

    async def _reading(
        self,
        function: Callable[Concatenate[sqlite3.Connection, Arguments], Result],
        *arguments: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Result:
        """Run `function` with a connection of its own, in a thread."""
        self._check_open()

        def run() -> Result:
            connection = self._readers.get()
            try:
                return function(connection, *arguments, **named)
            except sqlite3.Error as error:
                raise self._file.told(error, "read") from error
            finally:
                self._readers.put(connection)

        return await self._loop.run_in_executor(self._pool, run)

    def _end(self, error: JournalError) -> None:
        """From now on every call raises `error`."""
        if self._ended is None:
            self._ended = error

    def _check_open(self) -> None:
        if self._ended is not None:
            raise JournalUnavailable(str(self._ended))
        self._file.check_process()


async def _in_thread(
    name: str, function: Callable[Arguments, None], *arguments: Arguments.args, **named: Arguments.kwargs
) -> None:
    """Run `function` in a thread of its own: the loop's default threads belong to the app."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        failure: BaseException | None = None
        try:
            function(*arguments, **named)
        except BaseException as error:  # passed on to who waits
            failure = error
        loop.call_soon_threadsafe(settle, failure)

    threading.Thread(target=run, name=name, daemon=True).start()
    await done

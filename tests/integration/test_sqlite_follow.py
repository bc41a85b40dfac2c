"""No wake-up of a follower is lost, whatever happens between two looks of the thread that watches for it."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from clarion.errors import JournalUnavailable
from clarion.event import Entry, draft
from clarion.journals.base import FOLLOW_BATCH_ENTRIES
from clarion.journals.sqlite import SqliteJournal
from clarion.journals.sqlite_file import JournalFile
from clarion.journals.sqlite_follow import FEED_ENTRIES, Feed, Watcher
from clarion.journals.sqlite_store import Store
from clarion.publisher import Publisher
from clarion.retention import Retention, RetentionRules

KEEP_ALL = RetentionRules(Retention())


class Bench:
    """A store, as of another process, and a watcher whose thread the test starts, or does the work of itself."""

    def __init__(self, path: Path) -> None:
        self.file = JournalFile(path)
        self.file.open()
        self.store = Store(self.file)
        self.watcher = Watcher(self.file, lambda _: None)
        self.started = False

    async def append(self, count: int) -> list[Entry]:
        (entries,) = (await asyncio.to_thread(self.store.append, [[draft("news", created_ms=1)] * count])).commits
        return entries

    def start(self) -> None:
        self.started = True
        self.watcher.start()

    def feed(self) -> Feed:
        feed = Feed(0, asyncio.get_running_loop())
        self.watcher.add(feed)
        return feed

    async def fill(self) -> None:
        self.watcher._wake.clear()
        await asyncio.to_thread(self.watcher._fill, 0.0)

    async def take(self, feed: Feed) -> Sequence[Entry]:
        """As a follower does."""
        async with asyncio.timeout(5):
            entries = await feed.take()
        self.watcher.refill(feed)
        return entries

    @property
    def is_awake(self) -> bool:
        return self.watcher._wake.is_set()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "events.db")
    yield bench
    if bench.started:
        bench.watcher.stop()
    else:
        bench.watcher._connection.close()
    bench.store.close()
    bench.file.close()


async def test_a_burst_of_another_process_while_the_loop_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    journal = SqliteJournal(path)
    await journal.open(KEEP_ALL)
    batches = journal.follow(0)
    waiting = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0.05)

    def publish() -> None:
        with Publisher(f"sqlite:///{path}") as publisher:
            for _ in range(3):
                publisher.publish_many([("news", 1)] * FEED_ENTRIES)

    def stay_busy() -> None:
        thread = threading.Thread(target=publish)
        thread.start()
        thread.join()
        time.sleep(0.3)  # until the watcher has seen it all: it looks each 50 ms

    stay_busy()  # and so is the loop
    async with asyncio.timeout(10):
        offsets = [entry.offset for entry in await waiting]
        while len(offsets) < 3 * FEED_ENTRIES:
            offsets += [entry.offset for entry in await anext(batches)]
    assert offsets == list(range(1, 3 * FEED_ENTRIES + 1))
    await batches.aclose()
    await journal.close()


async def test_a_full_feed_asks_for_the_rest_once_it_is_emptied(bench: Bench) -> None:
    feed = bench.feed()
    await bench.append(FEED_ENTRIES + FOLLOW_BATCH_ENTRIES)
    await bench.fill()
    assert not bench.is_awake
    assert len(await bench.take(feed)) == FEED_ENTRIES
    assert bench.is_awake
    await bench.fill()
    assert len(await bench.take(feed)) == FOLLOW_BATCH_ENTRIES
    assert not bench.is_awake  # nothing is lacking


async def test_what_joins_on_does_not_hide_what_comes_after_it(bench: Bench) -> None:
    """The feed is full, and what was committed after it has been seen; then this process's writer passes on a part."""
    feed = bench.feed()
    await bench.append(FEED_ENTRIES)
    await bench.fill()
    own = await bench.append(1)
    await bench.append(1)  # of another process
    await bench.fill()
    entries = await feed.take()
    bench.watcher.pass_on(own)
    bench.watcher.refill(feed)
    assert len(entries) == FEED_ENTRIES
    assert bench.is_awake
    await bench.fill()
    assert [entry.offset for entry in await bench.take(feed)] == [FEED_ENTRIES + 1, FEED_ENTRIES + 2]


class _SetLate(threading.Event):
    """Something happens just after a wait has ended by its timeout, once."""

    def __init__(self, happens: Callable[[], object]) -> None:
        super().__init__()
        self._happens: Iterator[Callable[[], object]] = iter([happens])

    def wait(self, timeout: float | None = None) -> bool:
        found = super().wait(timeout)
        if not found and (happens := next(self._happens, None)) is not None:
            happens()
        return found


async def test_a_follower_that_comes_as_the_wait_ends_is_seen(bench: Bench) -> None:
    await bench.append(1)
    late: asyncio.Future[Feed] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    def come() -> None:
        feed = Feed(0, loop)
        bench.watcher.add(feed)
        loop.call_soon_threadsafe(late.set_result, feed)

    bench.watcher._wake = _SetLate(come)
    first = bench.feed()  # what changed until now is seen for this one
    bench.start()
    assert len(await bench.take(first)) == 1
    assert len(await bench.take(await late)) == 1


async def test_a_follower_that_comes_as_the_file_is_found_lost_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread ends between this follower's first look and its feed being added."""
    journal = SqliteJournal(tmp_path / "events.db")
    await journal.open(KEEP_ALL)
    lost = JournalUnavailable("lost")

    class LateFeed(Feed):
        def __init__(self, after: int, loop: asyncio.AbstractEventLoop) -> None:
            super().__init__(after, loop)
            journal._end(lost)
            journal._watcher.fail(lost)

    monkeypatch.setattr("clarion.journals.sqlite.Feed", LateFeed)
    async with asyncio.timeout(5):
        with pytest.raises(JournalUnavailable, match="lost"):
            await anext(journal.follow(0))
    assert journal._watcher._feeds == ()
    await journal.close()


async def test_an_error_while_filling_ends_every_follower(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changed has been seen and cannot be seen again: they must come anew, and then get it."""

    def fails(*_: object) -> None:
        raise ValueError("a bug")

    feeds = [bench.feed(), bench.feed()]
    with monkeypatch.context() as patch:
        patch.setattr("clarion.journals.sqlite_follow.read_run", fails)
        bench.start()
        await bench.append(1)
        for feed in feeds:
            with pytest.raises(JournalUnavailable, match="a bug"):
                await bench.take(feed)
            bench.watcher.discard(feed)
    assert len(await bench.take(bench.feed())) == 1

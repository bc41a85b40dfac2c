"""The publisher of processes without a hub."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref
from multiprocessing import get_context
from pathlib import Path

import pytest

from clarion.errors import InvalidEvent, InvalidTopic, JournalUnavailable
from clarion.journals import open_journal
from clarion.journals.base import Page
from clarion.publisher import Publisher
from clarion.retention import Retention, RetentionRules
from clarion.topics import TopicSet


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/events.db"


def stored(url: str, *topics: str) -> Page:
    async def run() -> Page:
        journal = open_journal(url)
        await journal.open(RetentionRules(Retention()))
        try:
            return await journal.read(
                0, TopicSet(topics) if topics else None, max_entries=10**6, max_bytes=10**9, now_ms=0
            )
        finally:
            await journal.close()

    return asyncio.run(run())


def test_what_is_published_is_in_the_journal(url: str) -> None:
    with Publisher(url) as publisher:
        receipts = [
            publisher.publish("news", {"n": 1}, event="created"),
            publisher.publish("news", text="two\nlines"),
            publisher.broadcast("all"),
            publisher.send("c1", "client"),
            publisher.send_to_user("u1", "user"),
            *publisher.publish_many([("a", 1), ("b", 2)]),
        ]
    page = stored(url)
    assert [entry.topic for entry in page.entries] == ["news", "news", "@all", "@client/c1", "@user/u1", "a", "b"]
    assert [entry.offset for entry in page.entries] == [receipt.position.offset for receipt in receipts]
    first = receipts[0]
    assert page.entries[0].frame == f'id: {first.id}\nevent: created\ntopic: news\ndata: {{"n":1}}\n\n'.encode()
    assert page.entries[1].frame.endswith(b"data: two\ndata: lines\n\n")
    assert all(receipt.clients == 0 and not receipt.duplicate for receipt in receipts)
    assert first.id == str(first.position)


def test_a_key_gives_the_first_receipt(url: str) -> None:
    with Publisher(url) as publisher:
        first = publisher.publish("news", 1, key="k")
    with Publisher(url) as publisher:
        again = publisher.publish("news", 2, key="k")
    assert (again.position, again.duplicate) == (first.position, True)
    assert len(stored(url).entries) == 1


def test_ttl_and_ephemeral(url: str) -> None:
    with Publisher(url) as publisher:
        publisher.publish("news", 1, ttl=3600)
        publisher.publish("news", 2, ephemeral=True)
    (entry,) = stored(url).entries
    assert entry.expires_ms == entry.created_ms + 3_600_000


def test_what_is_refused_publishes_nothing(url: str) -> None:
    with Publisher(url) as publisher:
        with pytest.raises(InvalidTopic, match="the hub's own"):
            publisher.publish("@all", 1)
        with pytest.raises(InvalidTopic):
            publisher.publish_many([("a", 1), ("b/*", 2)])
        with pytest.raises(InvalidEvent):
            publisher.publish("news", object())
        with pytest.raises(InvalidTopic):
            publisher.send_to_user("", 1)
        assert publisher.publish_many([]) == []
        assert publisher.publish("news").position.offset == 1


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("memory://", "lives in one process"),
        ("redis://localhost", "sqlite:///"),
        ("events.db", "sqlite:///"),
        ("sqlite://events.db", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///a.db?mode=ro", "options"),
    ],
)
def test_urls_that_cannot_be_published_to(bad: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Publisher(bad)


@pytest.mark.parametrize("bad", ["redis://localhost", "sqlite://x.db", "", "memory", "MEMORY://"])
def test_journal_urls_that_are_not_known(bad: str) -> None:
    with pytest.raises(ValueError, match="memory://, sqlite:///"):
        open_journal(bad)


def test_relative_urls_name_files_from_where_the_publisher_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    publisher = Publisher("sqlite:///here.db")
    monkeypatch.chdir("/")
    with publisher:
        publisher.publish("news")
    assert (tmp_path / "here.db").exists()


def test_after_close_it_says_so(url: str) -> None:
    publisher = Publisher(url)
    publisher.publish("news")
    publisher.close()
    publisher.close()
    with pytest.raises(JournalUnavailable, match="closed"):
        publisher.publish("news")


def test_threads_share_one(url: str) -> None:
    offsets: list[int] = []

    def work() -> None:
        offsets.extend([publisher.publish("news", n).position.offset for n in range(25)])

    with Publisher(url) as publisher:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(offsets) == list(range(1, 101))


def test_parent_and_children_publish_after_a_fork(url: str) -> None:
    with Publisher(url) as publisher:
        publisher.publish("parent", 0)
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                try:
                    for n in range(10):
                        publisher.publish("child", n)
                    os._exit(0)
                finally:
                    os._exit(1)
            children.append(child)
        for n in range(10):
            publisher.publish("parent", n)
        for child in children:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(stored(url, "child").entries) == 30
    assert len(stored(url, "parent").entries) == 11


def test_a_publisher_that_was_forgotten_does_not_keep_the_file_from_children(url: str) -> None:
    Publisher(url).publish("parent", 0)
    gc.collect()
    child = os.fork()
    if child == 0:
        try:
            Publisher(url).publish("child", 0)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _hold_while_forking(url: str) -> None:
    """Threads publish while the process forks: no child may inherit a lock that is held."""
    with Publisher(url) as publisher:
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                publisher.publish("parent", 1)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(10):
            child = os.fork()
            if child == 0:
                publisher.publish("child", 1)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        stop.set()
        for thread in threads:
            thread.join()


def test_a_fork_among_busy_threads(url: str) -> None:
    process = get_context("spawn").Process(target=_hold_while_forking, args=(url,))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert len(stored(url, "child").entries) == 10


def test_publishers_leave_nothing_behind(url: str) -> None:
    with Publisher(url) as publisher:
        publisher.publish("news")
    made = []
    for n in range(2_000):
        publisher = Publisher(url)
        made.append(weakref.ref(publisher))
        if n % 2:
            publisher.close()  # or is just let go of
    del publisher
    gc.collect()
    assert not any(reference() for reference in made)


_COUNT_HOOKS = """
import os, sys
hooks = []
real = os.register_at_fork
def register_at_fork(**functions):
    hooks.append(functions["before"].__module__ if "before" in functions else None)
    real(**functions)
os.register_at_fork = register_at_fork
from clarion.publisher import Publisher
for _ in range(2_000):
    Publisher(sys.argv[1]).close()
assert hooks.count("clarion.publisher") == 1, hooks.count("clarion.publisher")
"""


def test_all_publishers_share_one_hook_of_fork(url: str) -> None:
    subprocess.run([sys.executable, "-c", _COUNT_HOOKS, url], check=True)


def test_each_publisher_survives_a_fork(url: str) -> None:
    publishers = [Publisher(url) for _ in range(3)]
    for publisher in publishers:
        publisher.publish("parent")
    child = os.fork()
    if child == 0:
        try:
            for publisher in publishers:
                publisher.publish("child")
            Publisher(url).publish("child")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for publisher in publishers:
        publisher.publish("parent")
        publisher.close()
    assert (len(stored(url, "parent").entries), len(stored(url, "child").entries)) == (6, 4)

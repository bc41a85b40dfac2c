"""Publishing from a process that has no hub: a worker, a script, a job of a task queue."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from clarion.errors import JournalUnavailable
from clarion.event import Draft, draft
from clarion.foreign import unwrap
from clarion.journals import sqlite_path
from clarion.position import Position
from clarion.receipt import Receipt
from clarion.topics import ALL, CLIENT_PREFIX, USER_PREFIX, check_id, check_topic

if TYPE_CHECKING:
    from clarion.journals.sqlite_file import JournalFile
    from clarion.journals.sqlite_store import Store


class Publisher:
    """Publishes to an SQLite journal that hubs of this machine have open as well; they deliver what is published here.

    url: `sqlite:///relative.db` or `sqlite:////absolute.db`; anything else raises `ValueError`. The file is made if it
    is not there, and opened at the first publish. Retention is the hubs' work: nothing is taken away here.

    Concurrency: every method may be called from any thread, and returns when the event is on the disk. No thread and
    no event loop is used. It survives `fork` (Celery's prefork, gunicorn): parent and child each open the file anew.
    Errors: a `clarion.errors.ClarionError`; nothing was published then. A context manager; `close` may be called twice,
    and every publish after it raises `JournalUnavailable`.
    """

    def __init__(self, url: str) -> None:
        path = sqlite_path(url)
        if path is None:
            raise ValueError(
                f"a Publisher cannot publish to {url!r}: it needs a journal that processes share, such as "
                "sqlite:///events.db. A memory:// journal lives in one process; publish through its Hub (hub.sync)"
            )
        self._path = path.absolute()
        self._lock = threading.Lock()
        self._closed = False
        self._file: JournalFile | None = None
        self._store: Store | None = None
        _let_go_before_fork(self)

    def publish(
        self,
        topic: str,
        data: Any = None,
        *,
        event: str | None = None,
        text: str | None = None,
        key: str | None = None,
        ttl: float | None = None,
        ephemeral: bool = False,
    ) -> Receipt:
        """Publish one event to a topic.

        data: anything JSON can say; or text: raw text. event: the SSE event type. key: publishing again with the same
        key within a day publishes nothing and returns the first receipt's position. ttl: seconds after which it is no
        longer delivered. ephemeral: only for readers who are connected now.

        Raises `InvalidTopic`, `InvalidEvent`, `EventTooLarge`, or a `JournalError`.
        """
        check_topic(topic)
        return self._publish(_draft(topic, data, event, text, key, ttl, ephemeral))

    def publish_many(
        self, events: Iterable[tuple[str, Any]], *, event: str | None = None, ttl: float | None = None
    ) -> list[Receipt]:
        """Publish pairs of topic and data, all of them or none, in one run. Much faster than one by one.

        Raises what `publish` raises.
        """
        drafts = [_draft(check_topic(topic), data, event, None, None, ttl, False) for topic, data in events]
        return self._append(drafts)

    def broadcast(
        self,
        data: Any = None,
        *,
        event: str | None = None,
        text: str | None = None,
        key: str | None = None,
        ttl: float | None = None,
        ephemeral: bool = False,
    ) -> Receipt:
        """Publish to every reader. See `publish`."""
        return self._publish(_draft(ALL, data, event, text, key, ttl, ephemeral))

    def send(
        self,
        client_id: str,
        data: Any = None,
        *,
        event: str | None = None,
        text: str | None = None,
        key: str | None = None,
        ttl: float | None = None,
        ephemeral: bool = False,
    ) -> Receipt:
        """Publish to one connected client, by the id of its `connected` event. See `publish`."""
        topic = CLIENT_PREFIX + check_id("client", client_id)
        return self._publish(_draft(topic, data, event, text, key, ttl, ephemeral))

    def send_to_user(
        self,
        user_id: str,
        data: Any = None,
        *,
        event: str | None = None,
        text: str | None = None,
        key: str | None = None,
        ttl: float | None = None,
        ephemeral: bool = False,
    ) -> Receipt:
        """Publish to every stream of one user, present and resuming. See `publish`."""
        topic = USER_PREFIX + check_id("user", user_id)
        return self._publish(_draft(topic, data, event, text, key, ttl, ephemeral))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._closed = True
            self._let_go()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _publish(self, one: Draft) -> Receipt:
        return self._append([one])[0]

    def _append(self, drafts: list[Draft]) -> list[Receipt]:
        if not drafts:
            return []
        with self._lock:
            store, epoch = self._opened()
            (outcome,) = store.append([drafts]).outcomes
        if isinstance(outcome, Exception):
            raise outcome
        receipts: list[Receipt] = []
        for offset, duplicate in outcome:
            position = Position(epoch, offset)
            receipts.append(Receipt(str(position), position, 0, duplicate))
        return receipts

    def _opened(self) -> tuple[Store, str]:
        """The open store. The lock is held."""
        from clarion.journals.sqlite_file import JournalFile
        from clarion.journals.sqlite_store import Store

        if self._closed:
            raise JournalUnavailable(f"the publisher to {self._path} is closed")
        if self._store is None or self._file is None:
            file = JournalFile(self._path)
            file.open()
            try:
                self._store = Store(file)
            except BaseException:
                file.close()
                raise
            self._file = file
        return self._store, self._file.epoch

    def _let_go(self) -> None:
        """Close the file, to be opened again when needed. The lock is held."""
        if self._store is not None:
            self._store.close()
        if self._file is not None:
            self._file.close()
        self._store = self._file = None

    def _before_fork(self) -> None:
        """No connection may be carried over a fork, and no lock that a thread holds: so it is let go of before."""
        self._lock.acquire()
        self._let_go()

    def _after_fork(self) -> None:
        self._lock.release()


def _let_go_before_fork(publisher: Publisher) -> None:
    """Python has no way to take such a registration back, so it must not keep the publisher alive."""
    reference = weakref.ref(publisher)
    held: list[Publisher] = []  # alive from before the fork until after it

    def before() -> None:
        if (present := reference()) is not None:
            present._before_fork()
            held.append(present)

    def after() -> None:
        if held:
            held.pop()._after_fork()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_parent=after, after_in_child=after)


def _draft(
    topic: str,
    data: Any,
    event: str | None,
    text: str | None,
    key: str | None,
    ttl: float | None,
    ephemeral: bool,
) -> Draft:
    data, event, text = unwrap(data, event, text)
    return draft(
        topic,
        data,
        created_ms=time.time_ns() // 1_000_000,
        event=event,
        text=text,
        key=key,
        ttl_seconds=ttl,
        ephemeral=ephemeral,
    )

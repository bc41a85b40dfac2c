"""Publishing from a process that has no hub: a worker, a script, a job of a task queue."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from clarion.changes import ValueChange
from clarion.errors import JournalUnavailable
from clarion.event import MAX_EVENT_BYTES, Draft, Event
from clarion.journals import sqlite_path
from clarion.position import Position
from clarion.publishing import ChangeOptions, Drafts, Options, value_topic
from clarion.receipt import Receipt
from clarion.topics import CONTROL_PREFIX, check_topic
from clarion.values import Change

if TYPE_CHECKING:
    from clarion.journals.sqlite_file import JournalFile
    from clarion.journals.sqlite_store import Store


class Publisher:
    """Publishes to an SQLite journal that hubs of this machine have open as well; they deliver what is published here.

    url: `sqlite:///relative.db` or `sqlite:////absolute.db`; anything else raises `ValueError`. The file is made if it
    is not there, and opened at the first publish. Retention is the hubs' work: nothing is taken away here.
    max_event_bytes: the bound of an event as framed; give what the hubs have.

    Concurrency: every method may be called from any thread, and returns when the event is on the disk. No thread and
    no event loop is used. It survives `fork` (Celery's prefork, gunicorn): parent and child each open the file anew.
    Errors: a `clarion.errors.ClarionError`; nothing was published then. A context manager; `close` may be called twice,
    and every publish after it raises `JournalUnavailable`.
    """

    def __init__(self, url: str, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        path = sqlite_path(url)
        if path is None:
            raise ValueError(
                f"a Publisher cannot publish to {url!r}: it needs a journal that processes share, such as "
                "sqlite:///events.db. A memory:// journal lives in one process; publish through its Hub (hub.sync)"
            )
        self._path = path.absolute()
        self._drafts = Drafts(max_event_bytes)
        self._lock = threading.Lock()
        self._closed = False
        self._file: JournalFile | None = None
        self._store: Store | None = None
        with _forking:
            _publishers.add(self)

    def publish(self, topic: str, data: Any = None, **options: Unpack[Options]) -> Receipt:
        """Publish one event to a topic. Returns when it is on the disk.

        data: anything JSON can say; or `text=`: raw text. options: see `clarion.publishing.Options`.

        Raises `InvalidTopic`, `InvalidEvent`, `EventTooLarge`, or a `JournalError`; nothing was published then.
        """
        return self._publish(self._drafts.to_topic(topic, data, _wall_ms(), **options))

    def publish_many(self, events: Iterable[Event | tuple[str, Any]]) -> list[Receipt]:
        """Publish events, or pairs of topic and data, all or none, in one run; much faster than one by one.

        Raises what `publish` raises.
        """
        return self._append(self._drafts.of_many(events, _wall_ms()))

    def broadcast(self, data: Any = None, **options: Unpack[Options]) -> Receipt:
        """Publish to every reader, whatever its topics. See `publish`."""
        return self._publish(self._drafts.to_all(data, _wall_ms(), **options))

    def send(self, client_id: str, data: Any = None, **options: Unpack[Options]) -> Receipt:
        """Publish to one connection, by the `clientId` that its `connected` event said. See `publish`."""
        return self._publish(self._drafts.to_client(client_id, data, _wall_ms(), **options))

    def send_to_user(self, user_id: str, data: Any = None, **options: Unpack[Options]) -> Receipt:
        """Publish to all streams of a user, also those that come back later. See `publish`."""
        return self._publish(self._drafts.to_user(user_id, data, _wall_ms(), **options))

    def set(self, topic: str, value: Any, **options: Unpack[ChangeOptions]) -> Receipt:
        """Make `value` what the topic is now. See `Hub.set`; options: `clarion.publishing.ChangeOptions`."""
        return self._publish(self._drafts.to_value(topic, Change.SET, value, _wall_ms(), **options))

    def append(self, topic: str, delta: Any, **options: Unpack[ChangeOptions]) -> Receipt:
        """Put `delta` at the end of the topic's value. See `Hub.append`."""
        return self._publish(self._drafts.to_value(topic, Change.APPEND, delta, _wall_ms(), **options))

    def merge(self, topic: str, patch: Any, **options: Unpack[ChangeOptions]) -> Receipt:
        """Apply a merge patch to the topic's value. See `Hub.merge`."""
        return self._publish(self._drafts.to_value(topic, Change.MERGE, patch, _wall_ms(), **options))

    def delete(self, topic: str, *, event: str | None = None, user: str | None = None) -> Receipt:
        """Take the topic's value away. See `Hub.delete`."""
        return self._publish(self._drafts.to_value(topic, Change.DELETE, None, _wall_ms(), event=event, user=user))

    def change_many(self, changes: Iterable[ValueChange]) -> list[Receipt]:
        """Change several values, all or none, in one run. See `Hub.change_many`."""
        return self._append(self._drafts.to_values(changes, _wall_ms()))

    def get(self, topic: str, *, user: str | None = None) -> Any:
        """The topic's value as of now; None where there is none. See `Hub.get`."""
        subject = check_topic(topic)
        with self._lock:
            store, _ = self._opened()
            return store.value(value_topic(subject, user), subject, _wall_ms())

    def control_set(self, name: str, subject: str, value: Any, *, ttl: float | None = None) -> None:
        """Keep a value for hubs. See `Hub.control_set`."""
        self._publish(self._drafts.to_control(name, subject, Change.SET, value, _wall_ms(), ttl))

    def control_delete(self, name: str, subject: str) -> None:
        """Take such a value away. See `Hub.control_delete`."""
        self._publish(self._drafts.to_control(name, subject, Change.DELETE, None, _wall_ms()))

    def control_get(self, name: str, subject: str) -> Any:
        """Such a value as of now; None where there is none."""
        with self._lock:
            store, _ = self._opened()
            return store.value(CONTROL_PREFIX + name, subject, _wall_ms())

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._closed = True
            self._let_go()
        with _forking:
            _publishers.discard(self)

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):  # it was forgotten: the file must not stay open over a fork
            self.close()

    def __enter__(self) -> Self:
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
        _held.append(self)
        self._let_go()

    def _after_fork(self) -> None:
        self._lock.release()


# One registration for all publishers of the process: Python has no way to take one back.
_publishers: weakref.WeakSet[Publisher] = weakref.WeakSet()  # those that are not closed
_held: list[Publisher] = []  # alive and locked from before a fork until after it
_forking = threading.RLock()  # held while `_publishers` changes, and during a fork: none may be opened then


def _before_fork() -> None:
    _forking.acquire()
    for publisher in list(_publishers):
        publisher._before_fork()


def _after_fork() -> None:
    while _held:
        _held.pop()._after_fork()
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000

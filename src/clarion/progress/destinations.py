"""From where a task is to be told to what tells it: one target for each journal and process."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from typing import Final

from clarion.progress import members
from clarion.progress.publisher_target import PublisherTarget
from clarion.progress.targets import Target
from clarion.publisher import Publisher

Destination = str | Publisher | Target


class _Targets:
    """The targets of this process, each made once, since each has a thread."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.by_url: dict[str, PublisherTarget] = {}
        self.by_publisher: weakref.WeakValueDictionary[int, PublisherTarget] = weakref.WeakValueDictionary()
        self.publishers: list[Publisher] = []  # those made here
        self.forking: list[PublisherTarget] = []
        self.closes_at_exit = False

    def all(self) -> list[PublisherTarget]:
        return [*self.by_url.values(), *self.by_publisher.values()]


_targets: Final = _Targets()


def target_of(to: Destination) -> Target:
    """What tells tasks there.

    Raises `ValueError` for a URL that no publisher can use, and `TypeError` for what is no destination.
    """
    if isinstance(to, str):
        with _targets.lock:
            target = _targets.by_url.get(to)
            if target is None:
                publisher = Publisher(to)
                target = _targets.by_url[to] = PublisherTarget(publisher, to)
                _targets.publishers.append(publisher)
            _close_at_exit()
            return target
    if isinstance(to, Publisher):
        with _targets.lock:
            target = _targets.by_publisher.get(id(to))  # which no other has while its target is there
            if target is None:
                target = _targets.by_publisher[id(to)] = PublisherTarget(to)
            _close_at_exit()
            return target
    if not hasattr(to, "begin_async"):
        raise TypeError(f"a task is told to a journal's URL or a Publisher, not to a {type(to).__name__}")
    return to


def _close_at_exit() -> None:
    """Have all targets closed when the process ends; a child of `multiprocessing` does not run what `atexit` knows."""
    if _targets.closes_at_exit:
        return
    _targets.closes_at_exit = True
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _close_all, exitpriority=100)
    else:
        atexit.register(_close_all)


def _close_all() -> None:
    for target in _targets.all():
        target.close()
    for publisher in _targets.publishers:
        publisher.close()


def _before_fork() -> None:
    """What tells comes to rest before what is told: a thread that tells a task takes the locks in this order, too."""
    _targets.lock.acquire()
    _targets.forking = _targets.all()
    for target in _targets.forking:
        target.before_fork()
    members.before_fork()


def _after_fork_in_parent() -> None:
    members.after_fork_in_parent()
    for target in _targets.forking:
        target.after_fork_in_parent()
    _targets.forking = []
    _targets.lock.release()


def _after_fork_in_child() -> None:
    members.after_fork_in_child()
    for target in _targets.forking:
        target.after_fork_in_child()
    _targets.forking = []
    _targets.closes_at_exit = False
    _targets.lock = threading.RLock()


# Registered after the publishers' own, which are imported above: what is registered last is called first before a fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)

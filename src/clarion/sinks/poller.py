"""Readiness of many sockets behind one descriptor that an event loop can watch.

Edge-triggered, for everything at once, so that a socket is registered once and never touched again: the kernel tells
that there is room only after a write came up short.
"""

from __future__ import annotations

import select
from typing import Final

READ: Final = 1
WRITE: Final = 2
GONE: Final = 4

MAX_EVENTS: Final = 64  # of one look: when thousands hang up at once, ending so many takes 2 ms, then others are next


class EpollPoller:
    """Linux's epoll."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._mask = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET

    def fileno(self) -> int:
        """The descriptor that is readable when `poll` has something."""
        return self._epoll.fileno()

    def register(self, fd: int) -> None:
        """Watch a socket. Raises `OSError`."""
        self._epoll.register(fd, self._mask)

    def unregister(self, fd: int) -> None:
        """Stop watching a socket; must be done before it is closed."""
        self._epoll.unregister(fd)

    def poll(self) -> list[tuple[int, int]]:
        """What has happened, as (descriptor, READ | WRITE | GONE). Does not wait."""
        gone = select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP
        return [
            (
                fd,
                (READ if mask & select.EPOLLIN else 0)
                | (WRITE if mask & select.EPOLLOUT else 0)
                | (GONE if mask & gone else 0),
            )
            for fd, mask in self._epoll.poll(0, MAX_EVENTS)
        ]

    def close(self) -> None:
        """Let go of the poller; the sockets stay open."""
        self._epoll.close()


def is_available() -> bool:
    """Whether this system has a poller for the socket sink."""
    return hasattr(select, "epoll")

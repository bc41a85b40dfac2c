"""What the kernel is asked to hold for a socket, and for how long: the price of a slow, frozen or vanished peer."""

from __future__ import annotations

import socket
from typing import Any, Final

SEND_BUFFER_BYTES: Final = 64 * 1024  # the kernel doubles it; a frozen reader holds 0.3 MB at most instead of 4 MB
# Bytes that the kernel may hold without having sent them: what a slow link has in front of the newest state of a value.
# What is on its way to the peer is not counted, so a fast one never waits for this.
UNSENT_BYTES: Final = 512
USER_TIMEOUT_MS: Final = 60_000  # sent bytes that nobody acknowledges for so long: the peer is gone
KEEPALIVE_IDLE_SECONDS: Final = 60
KEEPALIVE_INTERVAL_SECONDS: Final = 15
KEEPALIVE_PROBES: Final = 4

TCP_NOTSENT_LOWAT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", 25)  # Linux's number; Python names it from 3.12 on


def bound(fd: int) -> None:
    """Bound what a frozen or vanished peer costs. Unix sockets have only the first of these bounds."""
    sock = socket.socket(fileno=fd)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES)
            set_peer_timeouts(sock)
    finally:
        sock.detach()


def lift_bound(fd: int) -> None:
    """Let the kernel take a last frame of a socket, however much is unsent."""
    sock = socket.socket(fileno=fd)
    try:
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, SEND_BUFFER_BYTES)
    finally:
        sock.detach()


def set_peer_timeouts(sock: Any) -> None:
    """Have the kernel end connections whose peer has vanished without a word (half-open)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_SECONDS),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_SECONDS),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", USER_TIMEOUT_MS),
    ):
        if (option := getattr(socket, name, None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)

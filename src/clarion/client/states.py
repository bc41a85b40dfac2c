"""The states of a source and all ways between them, as a table. Without I/O."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a source is. Why it is there stands in its `Status`."""

    IDLE = "idle"  # not opened yet
    CONNECTING = "connecting"  # asked, not yet answered
    OPEN = "open"  # reading
    WAITING = "waiting"  # for the next attempt
    PAUSED = "paused"  # by its owner, who says when to go on
    CLOSED = "closed"  # for good, unless its owner opens it again


class Signal(StrEnum):
    """What can happen to it."""

    CONNECT = "connect"  # opened, the wait is over, resumed, or asked to reconnect at once
    OPENED = "opened"  # the server answered with a stream
    LOST = "lost"  # the attempt or the stream ended, and another shall follow
    PAUSE = "pause"
    CLOSE = "close"  # by its owner, or because there is nothing to come back for


TABLE: Final[dict[tuple[State, Signal], State]] = {
    (State.IDLE, Signal.CONNECT): State.CONNECTING,
    (State.IDLE, Signal.CLOSE): State.CLOSED,
    (State.CONNECTING, Signal.CONNECT): State.CONNECTING,
    (State.CONNECTING, Signal.OPENED): State.OPEN,
    (State.CONNECTING, Signal.LOST): State.WAITING,
    (State.CONNECTING, Signal.PAUSE): State.PAUSED,
    (State.CONNECTING, Signal.CLOSE): State.CLOSED,
    (State.OPEN, Signal.CONNECT): State.CONNECTING,
    (State.OPEN, Signal.LOST): State.WAITING,
    (State.OPEN, Signal.PAUSE): State.PAUSED,
    (State.OPEN, Signal.CLOSE): State.CLOSED,
    (State.WAITING, Signal.CONNECT): State.CONNECTING,
    (State.WAITING, Signal.PAUSE): State.PAUSED,
    (State.WAITING, Signal.CLOSE): State.CLOSED,
    (State.PAUSED, Signal.CONNECT): State.CONNECTING,
    (State.PAUSED, Signal.CLOSE): State.CLOSED,
    (State.CLOSED, Signal.CONNECT): State.CONNECTING,
    (State.CLOSED, Signal.CLOSE): State.CLOSED,
}


def after(state: State, signal: Signal) -> State:
    """The state after `signal`. Raises `ValueError` if that cannot happen there: a fault of the source."""
    try:
        return TABLE[state, signal]
    except KeyError:
        raise ValueError(f"a source that is {state} cannot get {signal}") from None

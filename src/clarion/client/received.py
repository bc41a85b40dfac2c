"""What a source gives: events, gaps, and what became of the connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from clarion.client.states import State
from clarion.errors import ClarionError
from clarion.parser import Message


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """One event.

    data: what its text says, decoded as the source was told to; JSON by default. id: the stream's last event id with
    it. topic: None for streams of other servers, and for a `gap`. change: what it does to its topic's value: "set",
    "append", "merge" or "delete"; None for a plain event. text: the data as it came.
    """

    type: str
    data: Any
    id: str
    topic: str | None = None
    change: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """Events are missing. Fetch the state anew by other means; what follows is no complete history.

    reason: "expired", "unknown", "epoch" or "limit" (spec/stream.md, section 6), or "unasked": the position that was
    sent never reached the hub, which began with what is new. requested: the position asked for. oldest: the oldest that
    can still be had. missed: how many events, None if that cannot be known.
    """

    reason: str
    requested: str | None = None
    oldest: str | None = None
    missed: int | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """What a stream says first. mode: "live", "resumed" or "gap". values: "all", "changed", or None if it tells none.

    asked: the last event id that was sent for it.
    """

    client_id: str
    mode: str
    values: str | None
    asked: str


@dataclass(frozen=True, slots=True)
class Status:
    """Where the source is, and why.

    reason: a word of the source. For `waiting`: "network", "timeout" (no answer in time), "status" (a status that
    passes), "redirect", "headers" (the function for them failed), "ended" (the stream broke off), "silent" (it is
    dead), "values" (they are asked for anew), or the reason of a `bye`: "drain", "expired", "limit". For `closed`:
    "done", "kicked", "refused", "unauthorized", "not_a_stream", "impossible", "closed" (by its owner), "fault".
    detail: a line for a log; it may quote the network's or a server's words. delay_seconds: until the next attempt.
    connected: once the stream has said what it is. error: what `closed` raises from the source; None if that is how it
    should end.
    """

    state: State
    reason: str = ""
    detail: str = ""
    delay_seconds: float | None = None
    connected: Connected | None = None
    error: ClarionError | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why fresh headers are asked for: the server answered 401 or 403 with those before."""

    status_code: int


class Item(NamedTuple):
    """One thing on its way from the network to where events are asked for.

    last_event_id: where the reader is, once this is dealt with. At most one of the others is there; none: only that.
    """

    last_event_id: str
    message: Message | None = None
    gap: Gap | None = None  # beside its message
    connected: Connected | None = None
    status: Status | None = None
    error: ClarionError | None = None

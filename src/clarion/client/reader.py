"""From bytes to items: what of a stream is new, what it says of itself, and where a reader stands. Without I/O."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from clarion import json
from clarion.client.errors import IdUnusable
from clarion.client.places import Place, is_sendable, place_of, without_values
from clarion.client.policy import MAX_DELAY_MS, SILENT_HEARTBEATS
from clarion.client.received import Connected, Gap, Item
from clarion.parser import DEFAULT_MAX_EVENT_BYTES, Message, MessageTooLarge, Parser

OWN_TYPES: Final = frozenset({"connected", "heartbeat", "gap", "bye"})

_BLANK_LINES: Final = (b"\n\n", b"\r\r", b"\n\r", b"\n\r\n")


class Bye(NamedTuple):
    """The server ended the stream on purpose. at_least_ms: what it asks to wait."""

    reason: str
    at_least_ms: int
    detail: str


class Reader:
    """Reads one stream over any number of connections, one after the other.

    last_event_id: what the next request has to say. retry_ms, silence_ms: what the stream asked for, after how long a
    silence it is dead; None if it did not say. bye: how this connection's stream ended; None until then.
    """

    def __init__(self, last_event_id: str = "", *, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES) -> None:
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        self.silence_ms: int | None = None
        self.bye: Bye | None = None
        self._max_event_bytes = max_event_bytes
        self._seen = place_of(last_event_id)  # of the last event
        self._is_hub = False  # it said so; then ids are positions, and some types are its own
        self.begin()

    def begin(self) -> None:
        """A new connection, that was asked for with `last_event_id`."""
        self.bye = None
        self._asked = self._sticky = self.last_event_id
        self._tail = b""
        self._parser = Parser(max_event_bytes=self._max_event_bytes, last_event_id=self._asked)

    @property
    def at_rest(self) -> bool:
        """Whether the stream's last byte ended a block, so that nothing has to follow."""
        return self._tail.endswith(_BLANK_LINES)

    def forget_values(self) -> bool:
        """Ask for all values with the next connection. False if this stream has no positions to say that with."""
        if (place := place_of(self.last_event_id)) is None or place.done:
            return False
        self.last_event_id = without_values(self.last_event_id)
        self._seen = place_of(self.last_event_id)
        return True

    def feed(self, data: bytes) -> list[Item]:
        """Read a chunk. What comes after a `bye` is not read."""
        items: list[Item] = []
        self._tail = (self._tail + data[-3:])[-3:]
        while self.bye is None:
            too_large: MessageTooLarge | None = None
            try:
                messages = self._parser.feed(data)
            except MessageTooLarge as error:
                too_large, messages = error, error.messages
            for message in messages:
                self._take(message, items)
                if self.bye is not None:
                    break
            if too_large is None:
                break
            self._pass_over(too_large, items)
            data = b""
        if self._parser.retry_milliseconds is not None:
            self.retry_ms = self._parser.retry_milliseconds
        if self.bye is None and self._parser.last_event_id != self._sticky:  # a block of nothing but an id
            self._adopt(self._parser.last_event_id, items)
            items.append(Item(self.last_event_id))
        return items

    def _take(self, message: Message, items: list[Item]) -> None:
        if message.topic is None and message.type in OWN_TYPES and (self._is_hub or message.type == "connected"):
            said = _object(message.data)
            if message.type == "connected" and "clientId" in said:
                self._is_hub = True
                self._connected(message, said, items)
                return
            if message.type == "heartbeat" and "timestamp" in said:
                self._adopt(message.last_event_id, items)
                items.append(Item(self.last_event_id))
                return
            if message.type == "gap" and "reason" in said:
                self._gap(message, said, items)
                return
            if message.type == "bye" and "reason" in said:
                self._adopt(message.last_event_id, items)  # of `done`; another has no id of its own
                self.bye = Bye(
                    str(said["reason"]), _milliseconds(said.get("retry")) or 0, str(said.get("detail") or "")
                )
                items.append(Item(self.last_event_id))
                return
        self._adopt_event(message, items)

    def _adopt_event(self, message: Message, items: list[Item]) -> None:
        """An event of a hub has a topic and an id of its own; one that was read before is dropped."""
        place = place_of(message.last_event_id) if self._is_hub and message.topic is not None else None
        if place is None:
            self._adopt(message.last_event_id, items)
        else:
            seen = self._seen
            self._sticky = message.last_event_id
            # A plain event was had or not, whatever was told of values: who forgot those has not forgotten it.
            counts_values = message.change is not None
            if seen is not None and seen.epoch == place.epoch and not place.is_after(seen, values=counts_values):
                return
            self._seen = place
            self.last_event_id = message.last_event_id
        items.append(Item(self.last_event_id, message))

    def _connected(self, message: Message, said: dict[str, Any], items: list[Item]) -> None:
        heartbeat = _milliseconds(said.get("heartbeat"))
        self.silence_ms = SILENT_HEARTBEATS * heartbeat if heartbeat else None
        mode, values = str(said.get("mode")), said.get("values")
        before, place = self._seen, place_of(message.last_event_id)
        standing = self.last_event_id
        if mode == "gap":
            # Its id is not taken before the gap was told: if the connection breaks between the two, the hub shall tell
            # it again.
            self._sticky = message.last_event_id
        else:
            # Who is told all values has none, though no event is told again.
            begins_anew = values == "all" and place is not None and before is not None and place.offset >= before.offset
            self._adopt(message.last_event_id, items, may_fall=begins_anew)
        connected = Connected(str(said["clientId"]), mode, values if isinstance(values, str) else None, self._asked)
        if mode == "live" and self._asked and place is not None and before is not None and _is_beyond(place, before):
            gap = Gap("unasked", self._asked, message.last_event_id, None)
            told = Message("gap", json.encode(gap).decode(), message.last_event_id)
            # Nor is the place kept before this gap was dealt with.
            items.append(Item(standing, connected=connected))
            items.append(Item(self.last_event_id, told, gap))
        else:
            items.append(Item(self.last_event_id, connected=connected))

    def _gap(self, message: Message, said: dict[str, Any], items: list[Item]) -> None:
        self._adopt(message.last_event_id, items, may_fall=True)
        requested, oldest, missed = said.get("requested"), said.get("oldest"), said.get("missed")
        gap = Gap(
            str(said["reason"]),
            requested if isinstance(requested, str) else None,
            oldest if isinstance(oldest, str) else None,
            missed if isinstance(missed, int) and not isinstance(missed, bool) else None,
        )
        items.append(Item(self.last_event_id, message, gap))

    def _pass_over(self, error: MessageTooLarge, items: list[Item]) -> None:
        """An event is too large: it is reported, and not asked for again."""
        if error.event_id is not None:
            self._adopt(error.event_id, items)
        items.append(Item(self.last_event_id, error=error))

    def _adopt(self, last_event_id: str, items: list[Item], *, may_fall: bool = False) -> None:
        """Stand where an id says; but not before what was read already, unless the hub tells a gap."""
        if last_event_id == self._sticky and not may_fall:
            return  # not this block's own, or nothing new
        self._sticky = last_event_id
        if not is_sendable(last_event_id):
            items.append(Item(self.last_event_id, error=IdUnusable(last_event_id)))
            return
        place = place_of(last_event_id)
        if place is not None and self._is_hub:
            seen = self._seen
            if not may_fall and seen is not None and seen.epoch == place.epoch and seen.is_after(place):
                return
            self._seen = place
        self.last_event_id = last_event_id


def _is_beyond(place: Place, before: Place) -> bool:
    return place.epoch != before.epoch or place.offset > before.offset


def _milliseconds(said: Any) -> int | None:
    if isinstance(said, int) and not isinstance(said, bool) and said >= 0:
        return min(said, MAX_DELAY_MS)
    return None


def _object(text: str) -> dict[str, Any]:
    try:
        said = json.decode(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}

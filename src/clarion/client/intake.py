"""What becomes of an item where events are asked for: values folded, data decoded, callbacks chosen, the cursor moved.

Without I/O: the asynchronous and the synchronous source carry out what is decided here.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from clarion import json
from clarion.client.errors import CallbackRaised, EventUnreadable, ValueLost
from clarion.client.options import Settings
from clarion.client.places import without_values
from clarion.client.received import Item, ReceivedEvent, Status
from clarion.client.states import State
from clarion.client.values import CHANGES, HeldValues
from clarion.errors import ClarionError
from clarion.parser import Message, MessageTooLarge

logger = logging.getLogger("clarion.client")

Callback = Callable[[Any], Any]


class Call(NamedTuple):
    """A callback that is to be called."""

    function: Callback
    argument: Any


class Taken(NamedTuple):
    """What to do about one item: call these in order, then give out the event, if there is one.

    last_event_id: where the reader is once that is dealt with. values_lost: the feed shall ask for them anew.
    """

    last_event_id: str
    calls: deque[Call]
    event: ReceivedEvent | None = None
    values_lost: bool = False


class Callbacks:
    """Who wants to be told of what."""

    def __init__(self) -> None:
        self.events: dict[str, list[Callback]] = {}
        self.gap: list[Callback] = []
        self.error: list[Callback] = []
        self.status: list[Callback] = []

    def remove(self, function: Callback) -> None:
        """Do not call it any more, wherever it was registered."""
        for listed in (*self.events.values(), self.gap, self.error, self.status):
            while function in listed:
                listed.remove(function)


class Intake:
    """One reader's side of the items. One thread at a time, or one task.

    committed: the last event id up to which everything was dealt with. given: of what was given out last.
    """

    def __init__(self, settings: Settings, last_event_id: str) -> None:
        self.callbacks = Callbacks()
        self.values: HeldValues | None = None
        if settings.values:
            self.values = HeldValues(max_value_bytes=settings.max_event_bytes, max_bytes=settings.max_values_bytes)
        self.given = self.committed = last_event_id
        self._settings = settings
        self._tells_values = False  # the hub does, so a cursor on disk says that no values are kept with it
        self._stored: str | None = None  # what the store holds; None: not known
        self._stored_ms: int | None = None

    def begin(self, last_event_id: str) -> None:
        """The place where reading begins, as loaded."""
        self.given = self.committed = self._stored = last_event_id

    def begin_again(self) -> str:
        """Where to go on after the source was closed: what was given out and not dealt with comes again."""
        self.given = self.committed
        return without_values(self.committed) if self._tells_values else self.committed

    def take(self, item: Item) -> Taken:
        """Decide what to do about an item, and fold it into the values."""
        calls: deque[Call] = deque()
        event, values_lost = None, False
        if item.error is not None:
            calls.extend(self.report(item.error))
            if isinstance(item.error, MessageTooLarge):
                self._pass_over(item.error, calls)
        if item.status is not None:
            calls.extend(Call(function, item.status) for function in self.callbacks.status)
        if item.connected is not None:
            self._tells_values = item.connected.values is not None
            if self.values is not None:
                self.values.begin(item.connected)
            status = Status(State.OPEN, connected=item.connected)
            calls.extend(Call(function, status) for function in self.callbacks.status)
        if item.message is not None:
            values_lost = self._fold(item.message, calls)
            event = self._decode(item.message, calls)
        if event is not None:
            if item.gap is not None:
                calls.extend(Call(function, item.gap) for function in self.callbacks.gap)
            calls.extend(Call(function, event) for function in self.callbacks.events.get(event.type, ()))
        return Taken(item.last_event_id, calls, event, values_lost)

    def failed(self, call: Call, error: Exception) -> list[Call]:
        """A callback raised: whom to tell. If it is one that is told of errors, only the log is."""
        raised = CallbackRaised(call.function)
        raised.__cause__ = error
        if isinstance(call.argument, ClarionError):
            logger.error("%s", raised, exc_info=error)
            return []
        return self.report(raised)

    def report(self, error: ClarionError) -> list[Call]:
        """An error that does not end the stream: whom to tell; the log, if there is nobody."""
        if not self.callbacks.error:
            logger.warning("%s", error, exc_info=error.__cause__)
        return [Call(function, error) for function in self.callbacks.error]

    def give(self, last_event_id: str) -> None:
        """Everything up to here was given out."""
        self.given = last_event_id

    def commit(self) -> None:
        """What was given out was dealt with."""
        self.committed = self.given

    def due(self, now_ms: int, *, now: bool = False) -> str | None:
        """What has to be stored; None if nothing has. now: do not wait for the interval."""
        text = without_values(self.committed) if self._tells_values else self.committed
        if self._settings.cursor is None or text == self._stored:
            return None
        interval_ms = self._settings.commit_interval_ms
        if not now and self._stored_ms is not None and now_ms - self._stored_ms < interval_ms:
            return None
        return text

    def stored(self, text: str, now_ms: int) -> None:
        """The store holds this."""
        self._stored, self._stored_ms = text, now_ms

    def _fold(self, message: Message, calls: deque[Call]) -> bool:
        """Carry out what a message does to its topic's value. True if the values have to be asked for anew."""
        change = CHANGES.get(message.change or "")
        if self.values is None or change is None or message.topic is None:
            return False
        try:
            self.values.apply(message.topic, change, message.data)
        except ValueLost as lost:
            calls.extend(self.report(lost))
            return lost.asked_anew
        return False

    def _pass_over(self, error: MessageTooLarge, calls: deque[Call]) -> None:
        change = CHANGES.get(error.change or "")
        if self.values is None or change is None or error.topic is None:
            return
        try:
            self.values.pass_over(error.topic, change)
        except ValueLost as lost:
            calls.extend(self.report(lost))

    def _decode(self, message: Message, calls: deque[Call]) -> ReceivedEvent | None:
        decode, text = self._settings.decode, message.data
        try:
            if decode == "json":
                data = json.decode(text)
            elif decode == "text":
                data = text
            else:
                data = decode(message.type, text)
        except Exception as error:  # the caller's function may raise anything
            unreadable = EventUnreadable(message.type, message.last_event_id, message.topic, text)
            unreadable.__cause__ = error
            calls.extend(self.report(unreadable))
            return None
        return ReceivedEvent(message.type, data, message.last_event_id, message.topic, message.change, text)

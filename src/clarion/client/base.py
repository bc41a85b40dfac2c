"""What the asynchronous and the synchronous source have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from clarion.client.feed import Feed
from clarion.client.intake import Callback, Intake
from clarion.client.options import Settings, SourceOptions, settings_of
from clarion.client.received import Status
from clarion.client.states import State
from clarion.topics import check_pattern, matches
from clarion.values import MISSING

Function = TypeVar("Function", bound=Callback)


class SourceBase:
    """Registering callbacks, reading values, and saying where the source is."""

    def __init__(self, url: str, options: SourceOptions) -> None:
        self._settings: Settings = settings_of(url, options)
        self._intake = Intake(self._settings, self._settings.last_event_id)
        self._feed: Feed | None = None

    @overload
    def on(self, type: str) -> Callable[[Function], Function]: ...

    @overload
    def on(self, type: str, function: Function) -> Function: ...

    def on(self, type: str, function: Callback | None = None) -> Any:  # noqa: A002 - the field's word
        """Call `function` with each event of a type, before it is given out: `source.on("order", f)`, or a decorator.

        What it raises is reported, and the stream goes on.
        """
        listed = self._intake.callbacks.events.setdefault(type, [])
        if function is not None:
            return self._registered(listed, function)
        return lambda function: self._registered(listed, function)

    def on_gap(self, function: Function) -> Function:
        """Call `function` with a `Gap` when events are missing. They also come as an event of the type `gap`."""
        return self._registered(self._intake.callbacks.gap, function)

    def on_error(self, function: Function) -> Function:
        """Call `function` with each error that does not end the stream; without one they are logged.

        Those are: events that cannot be decoded or are too large, ids that cannot be sent back, callbacks that raise,
        values that were lost, headers that could not be had, cursors that could not be stored.
        """
        return self._registered(self._intake.callbacks.error, function)

    def on_status(self, function: Function) -> Function:
        """Call `function` with a `Status` whenever it changes, in order with the events."""
        return self._registered(self._intake.callbacks.status, function)

    def off(self, function: Callback) -> None:
        """Do not call `function` any more, whatever for."""
        self._intake.callbacks.remove(function)

    def value(self, topic: str, default: Any = None) -> Any:
        """What a topic is, up to the event that was given out last; `default` if it has no value, or none was told.

        It is shared, not copied: do not change it. Raises `RuntimeError` for a source with `values=False`.
        """
        if self._intake.values is None:
            raise RuntimeError("this source holds no values; make it without values=False")
        value = self._intake.values.get(topic)
        return default if value is MISSING else value

    @property
    def status(self) -> Status:
        """Where the source is now."""
        return Status(State.IDLE) if self._feed is None else self._feed.status

    @property
    def last_event_id(self) -> str:
        """Of the event that was given out last, or of what the stream said of itself after it."""
        return self._intake.given

    @property
    def topics(self) -> tuple[str, ...]:
        """What is asked for."""
        return tuple(self._settings.question.topics)

    def _registered(self, listed: list[Callback], function: Function) -> Function:
        listed.append(function)
        return function

    def _chosen(self, topics: tuple[str, ...]) -> bool:
        """Ask for more topics. Whether there were any."""
        asked = self._settings.question.topics
        fresh = [check_pattern(topic) for topic in dict.fromkeys(topics) if topic not in asked]
        asked += fresh
        return bool(fresh)

    def _unchosen(self, topics: tuple[str, ...]) -> bool:
        """Do not ask for topics any more, and hold none of their values. Whether there were any."""
        asked = self._settings.question.topics
        gone = [topic for topic in asked if topic in topics]
        asked[:] = [topic for topic in asked if topic not in topics]
        if self._intake.values is not None:
            for topic in list(self._intake.values):
                if any(matches(name, topic) for name in gone) and not any(matches(name, topic) for name in asked):
                    self._intake.values.drop(topic)
        return bool(gone)

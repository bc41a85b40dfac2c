"""What the public calls of hubs and publishers have in common: from their arguments to drafts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict, Unpack

from clarion.changes import NAMES, ValueChange, change_draft
from clarion.errors import InvalidEvent
from clarion.event import Draft, Event, draft
from clarion.foreign import unwrap
from clarion.topics import ALL, CLIENT_PREFIX, CONTROL_PREFIX, USER_PREFIX, check_id, check_topic
from clarion.values import Change


class Options(TypedDict, total=False):
    """How to publish; each may be left out.

    event: the SSE event type; without one, `EventSource.onmessage` gets it. text: raw text instead of data.
    key: publishing to the topic again with the same key within a day adds nothing and gives the first receipt.
    ttl: seconds after which it is not replayed any more. ephemeral: only for readers who are connected now.
    """

    event: str | None
    text: str | None
    key: str | None
    ttl: float | None
    ephemeral: bool


class ChangeOptions(TypedDict, total=False):
    """How to change a value; each may be left out.

    event: the SSE event type of the value, `value` without one; `.append`, `.merge` and `.delete` are put behind it.
    ttl: seconds that the value lives after its last change; a change without one leaves it as it is, a `set` ends it.
    key: changing the value again with the same key within a day changes nothing and gives the first receipt.
    user: the value is this user's alone: it is told on that user's streams, which need not ask for the topic, and on no
    others. It is another value than that of the topic for everyone.
    """

    event: str | None
    ttl: float | None
    key: str | None
    user: str | None


class Drafts:
    """Makes drafts. `max_event_bytes` bounds an event as framed."""

    __slots__ = ("_max_event_bytes",)

    def __init__(self, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes

    def to_topic(self, topic: str, data: Any, now_ms: int, **options: Unpack[Options]) -> Draft:
        """For an app's own topic."""
        return self._draft(check_topic(topic), data, now_ms, **options)

    def to_all(self, data: Any, now_ms: int, **options: Unpack[Options]) -> Draft:
        """For every reader."""
        return self._draft(ALL, data, now_ms, **options)

    def to_client(self, client_id: str, data: Any, now_ms: int, **options: Unpack[Options]) -> Draft:
        """For one connection."""
        return self._draft(CLIENT_PREFIX + check_id("client", client_id), data, now_ms, **options)

    def to_user(self, user_id: str, data: Any, now_ms: int, **options: Unpack[Options]) -> Draft:
        """For all connections of one user."""
        return self._draft(USER_PREFIX + check_id("user", user_id), data, now_ms, **options)

    def of_many(self, events: Iterable[Event | tuple[str, Any]], now_ms: int) -> list[Draft]:
        """For events, or pairs of topic and data. One that is refused refuses all."""
        drafts: list[Draft] = []
        for one in events:
            if not isinstance(one, Event):
                one = Event(*one)
            drafts.append(
                self.to_topic(
                    one.topic,
                    one.data,
                    now_ms,
                    event=one.event,
                    text=one.text,
                    key=one.key,
                    ttl=one.ttl,
                    ephemeral=one.ephemeral,
                )
            )
        return drafts

    def to_value(
        self,
        topic: str,
        change: Change,
        data: Any,
        now_ms: int,
        event: str | None = None,
        ttl: float | None = None,
        key: str | None = None,
        user: str | None = None,
    ) -> Draft:
        """For a topic's value."""
        subject = check_topic(topic)
        return change_draft(
            value_topic(subject, user),
            change,
            data,
            created_ms=now_ms,
            subject=subject,
            event=event,
            key=key,
            ttl_seconds=ttl,
            max_event_bytes=self._max_event_bytes,
        )

    def to_values(self, changes: Iterable[ValueChange], now_ms: int) -> list[Draft]:
        """For several changes. One that is refused refuses all."""
        drafts: list[Draft] = []
        for one in changes:
            if not isinstance(one, ValueChange):
                raise InvalidEvent(f"change_many takes clarion.ValueChange, not {type(one).__name__}")
            change = NAMES.get(one.change) if isinstance(one.change, str) else None
            if change is None:
                raise InvalidEvent(f"a change must be one of {', '.join(NAMES)}, not {one.change!r}")
            drafts.append(self.to_value(one.topic, change, one.data, now_ms, one.event, one.ttl, one.key, one.user))
        return drafts

    def to_control(
        self, name: str, subject: str, change: Change, data: Any, now_ms: int, ttl: float | None = None
    ) -> Draft:
        """For a value that hubs keep between themselves."""
        return change_draft(
            CONTROL_PREFIX + name,
            change,
            data,
            created_ms=now_ms,
            subject=subject,
            ttl_seconds=ttl,
            max_event_bytes=self._max_event_bytes,
        )

    def _draft(
        self,
        topic: str,
        data: Any,
        now_ms: int,
        event: str | None = None,
        text: str | None = None,
        key: str | None = None,
        ttl: float | None = None,
        ephemeral: bool = False,
    ) -> Draft:
        data, event, text = unwrap(data, event, text)
        return draft(
            topic,
            data,
            created_ms=now_ms,
            event=event,
            text=text,
            key=key,
            ttl_seconds=ttl,
            ephemeral=ephemeral,
            max_event_bytes=self._max_event_bytes,
        )


def value_topic(subject: str, user: str | None) -> str:
    """Whose readers are told of a value: those of its topic, or one user's. Raises `InvalidTopic`."""
    return subject if user is None else USER_PREFIX + check_id("user", user)

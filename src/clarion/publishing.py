"""What the public calls of hubs and publishers have in common: from their arguments to drafts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict, Unpack

from clarion.event import Draft, Event, draft
from clarion.foreign import unwrap
from clarion.topics import ALL, CLIENT_PREFIX, USER_PREFIX, check_id, check_topic


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

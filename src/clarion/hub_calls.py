"""What a hub is told: events, values, and the orders of hubs to each other. `Hub` puts them on its journal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Unpack

from clarion import json
from clarion.changes import ValueChange
from clarion.clock import Clock
from clarion.engine import Engine
from clarion.errors import HubClosed
from clarion.event import Draft, Event, draft
from clarion.journals.base import Appended, Changed, Journal
from clarion.observer import Observer
from clarion.orders import Orders
from clarion.position import Position
from clarion.publishing import ChangeOptions, Drafts, Options, value_topic
from clarion.receipt import Receipt
from clarion.topics import CONTROL_PREFIX, TopicSet, check_topic
from clarion.values import Change

VALUES_BYTES: Final = 1024 * 1024  # of values that are read from the journal at once


class HubCalls:
    """The calls of a hub that append to its journal, or read values from it."""

    journal: Journal
    _engine: Engine | None
    _clock: Clock
    _drafts: Drafts
    _observer: Observer
    _orders: Orders

    def _open_engine(self) -> Engine:
        if self._engine is None:
            raise HubClosed(
                "the hub is not open: give the app `lifespan=hub.lifespan`, or use `async with hub:` around your code"
            )
        return self._engine

    # Events.

    async def publish(
        self,
        topic: str,
        data: Any = None,
        *,
        event: str | None = None,
        text: str | None = None,
        key: str | None = None,
        ttl: float | None = None,
        ephemeral: bool = False,
    ) -> Receipt:
        """Publish an event to a topic. Returns when the journal has acknowledged it.

        data: anything JSON can say, dataclasses, pydantic models, msgspec structs, datetimes and UUIDs. The other
        arguments: see `clarion.publishing.Options`.

        Raises `InvalidTopic`, `InvalidEvent` or `EventTooLarge` for what cannot be published, and `JournalError` if
        the journal did not take it. A call that is cancelled may or may not have been published.
        """
        return await self._publish(
            self._drafts.to_topic(
                topic,
                data,
                self._clock.wall_ms(),
                event=event,
                text=text,
                key=key,
                ttl=ttl,
                ephemeral=ephemeral,
            )
        )

    async def publish_many(self, events: Iterable[Event | tuple[str, Any]]) -> list[Receipt]:
        """Publish events, or pairs of topic and data, all or none, in one run. Raises what `publish` raises."""
        drafts = self._drafts.of_many(events, self._clock.wall_ms())
        return await self._append(drafts) if drafts else []

    async def broadcast(self, data: Any = None, **options: Unpack[Options]) -> Receipt:
        """Publish to every reader, whatever its topics. See `publish`."""
        return await self._publish(self._drafts.to_all(data, self._clock.wall_ms(), **options))

    async def send(self, client_id: str, data: Any = None, **options: Unpack[Options]) -> Receipt:
        """Publish to one connection, by the `clientId` that its `connected` event said. See `publish`."""
        return await self._publish(self._drafts.to_client(client_id, data, self._clock.wall_ms(), **options))

    async def send_to_user(self, user_id: str, data: Any = None, **options: Unpack[Options]) -> Receipt:
        """Publish to all streams of a user, also those that come back later. See `publish`."""
        return await self._publish(self._drafts.to_user(user_id, data, self._clock.wall_ms(), **options))

    # Values.

    async def set(self, topic: str, value: Any, **options: Unpack[ChangeOptions]) -> Receipt:
        """Make `value` what the topic is now: who comes later is told it, and changes after it.

        value: anything JSON can say, as large as an event at most. options: see `clarion.publishing.ChangeOptions`.

        Raises `InvalidTopic`, `InvalidEvent`, `EventTooLarge` or `ValueTooLarge` for what cannot be, and `JournalError`
        if the journal did not take it; nothing was changed then. A call that is cancelled may or may not have changed
        it.
        """
        return await self._publish(self._drafts.to_value(topic, Change.SET, value, self._clock.wall_ms(), **options))

    async def append(self, topic: str, delta: Any, **options: Unpack[ChangeOptions]) -> Receipt:
        """Put `delta` at the end of the topic's value: text to text, list to list, objects member by member.

        A topic without a value begins with the delta. Raises what `set` raises, and `ValueMismatch` if the delta does
        not fit what is there.
        """
        return await self._publish(self._drafts.to_value(topic, Change.APPEND, delta, self._clock.wall_ms(), **options))

    async def merge(self, topic: str, patch: Any, **options: Unpack[ChangeOptions]) -> Receipt:
        """Apply an RFC 7396 merge patch, an object, to the topic's value; its nulls take members away.

        A topic without a value, or one that is no object, begins with `{}`. Raises what `set` raises.
        """
        return await self._publish(self._drafts.to_value(topic, Change.MERGE, patch, self._clock.wall_ms(), **options))

    async def delete(self, topic: str, *, event: str | None = None, user: str | None = None) -> Receipt:
        """Take the topic's value away; its readers are told. Raises what `set` raises, and `NoValue` if there is none.

        event, user: see `clarion.publishing.ChangeOptions`.
        """
        now_ms = self._clock.wall_ms()
        return await self._publish(self._drafts.to_value(topic, Change.DELETE, None, now_ms, event=event, user=user))

    async def change_many(self, changes: Iterable[ValueChange]) -> list[Receipt]:
        """Change several values, all or none, in one run. Raises what the single calls raise."""
        drafts = self._drafts.to_values(changes, self._clock.wall_ms())
        return await self._append(drafts) if drafts else []

    async def get(self, topic: str, *, user: str | None = None) -> Any:
        """The topic's value as of now, as JSON's own types; None where there is none.

        Raises `InvalidTopic` and `JournalError`.
        """
        subject = check_topic(topic)
        for one in await self._values(value_topic(subject, user)):
            if one.subject == subject:
                return json.decode(one.data)
        return None

    async def _values(self, topic: str) -> list[Changed]:
        """The values that are told to the readers of one topic."""
        self._open_engine()
        topics = TopicSet((topic,))
        found: list[Changed] = []
        complete = False
        after = 0
        while not complete:
            page, _, complete, _ = await self.journal.values(
                topics, after=after, exact=False, max_bytes=VALUES_BYTES, now_ms=self._clock.wall_ms()
            )
            after = page[-1].offset if page else after
            found += page
        latest = {one.subject: one for one in found}  # one may have been changed between two pages
        return [one for one in latest.values() if one.change is Change.SET]

    # What hubs that share a journal say to each other.

    async def order(self, name: str, data: Any) -> None:
        """Say something to all open hubs that share the journal, this one too; no reader is told. See `on_order`."""
        await self._publish(draft(CONTROL_PREFIX + name, data, created_ms=self._clock.wall_ms(), ephemeral=True))

    def on_order(self, name: str, callback: Callable[[Any], None]) -> Callable[[], None]:
        """Have `callback(data)` called, in the hub's event loop, for each order of that name. Returns what ends it."""
        return self._orders.listen(CONTROL_PREFIX + name, lambda subject, data: callback(data))

    async def control_set(self, name: str, subject: str, value: Any, *, ttl: float | None = None) -> None:
        """Keep a value for hubs, under a name and a subject: in the journal as others are, but no reader is told it."""
        await self._publish(self._drafts.to_control(name, subject, Change.SET, value, self._clock.wall_ms(), ttl))

    async def control_delete(self, name: str, subject: str) -> None:
        """Take such a value away. Raises `NoValue` if there is none."""
        await self._publish(self._drafts.to_control(name, subject, Change.DELETE, None, self._clock.wall_ms()))

    async def control_values(self, name: str) -> dict[str, Any]:
        """All such values of a name, by subject."""
        return {one.subject: json.decode(one.data) for one in await self._values(CONTROL_PREFIX + name)}

    def on_control(self, name: str, callback: Callable[[str, Any], None]) -> Callable[[], None]:
        """Have `callback(subject, value)` called when one is set, with None when it is deleted. Gives what ends it."""
        return self._orders.listen(CONTROL_PREFIX + name, callback)

    async def _publish(self, one: Draft) -> Receipt:
        engine = self._open_engine()
        (appended,) = await self.journal.append((one,))
        self._observer.published(1, len(one.body))
        return self._receipt(engine, one, appended)

    async def _append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        engine = self._open_engine()
        appended = await self.journal.append(drafts)
        self._observer.published(len(drafts), sum([len(one.body) for one in drafts]))
        return [self._receipt(engine, one, done) for one, done in zip(drafts, appended, strict=True)]

    def _receipt(self, engine: Engine, one: Draft, appended: Appended) -> Receipt:
        offset, duplicate = appended
        position = Position(self.journal.epoch, offset)
        return Receipt(str(position), position, 0 if duplicate else engine.audiences.count(one.topic), duplicate)

"""Audiences: the subscriptions that share one set of topics and one lane of a sink, and the index of them all.

An event finds its audiences by its topic. What that costs depends on how many there are for the topic, not on how
many there are: 100,000 subscriptions to other topics are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from clarion.multimap import Multimap
from clarion.topics import ALL, CLIENT_PREFIX, USER_PREFIX, PatternTree, TopicSet

if TYPE_CHECKING:
    from clarion.sinks.base import Lane
    from clarion.subscription import Subscription


class Audience:
    """The subscriptions with the same topics and the same lane, so that the same bytes serve all of them.

    interval_ms: they are told values no more often than this; 0 for at once. pending: the offset up to which the live
    ones were told values, while there are later ones that wait for their time. told_ms: when it was last (monotonic).
    """

    __slots__ = ("interval_ms", "lane", "live", "pending", "size", "told_ms", "topics")

    def __init__(self, topics: TopicSet, lane: Lane, interval_ms: int = 0) -> None:
        self.topics = topics
        self.lane = lane
        self.interval_ms = interval_ms
        self.pending: int | None = None
        self.told_ms: int | None = None
        self.live: dict[Subscription, None] = {}  # a set that keeps its order
        self.size = 0  # all of them, also those that are behind

    def wants(self, topic: str) -> bool:
        """Whether an event of `topic` is for everyone of this audience."""
        return topic == ALL or self.topics.matches(topic)


class Audiences:
    """All audiences, found by topic, and all subscriptions, found by user and by client id."""

    __slots__ = ("_all", "_by_pattern", "_by_topic", "clients", "streams", "users")

    def __init__(self) -> None:
        self._all: dict[tuple[TopicSet, Lane, int], Audience] = {}
        self._by_topic: Multimap[str, Audience] = Multimap()
        self._by_pattern: PatternTree[Audience] = PatternTree()
        self.users: Multimap[str, Subscription] = Multimap()
        self.clients: dict[str, Subscription] = {}
        self.streams = 0  # the subscriptions that are clients

    def __iter__(self) -> Iterator[Audience]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)

    def of(self, topics: TopicSet, lane: Lane, interval_ms: int = 0) -> Audience:
        """The audience for these topics and this lane. A new one is in the index once somebody has joined it."""
        return self._all.get((topics, lane, interval_ms)) or Audience(topics, lane, interval_ms)

    def join(self, subscription: Subscription) -> None:
        """Count a subscription in. It gets the audience that is in the index by now, if there is one."""
        audience = subscription.audience
        key = (audience.topics, audience.lane, audience.interval_ms)
        audience = subscription.audience = self._all.get(key) or audience
        if not audience.size:
            self._all[key] = audience
            for topic in audience.topics.exact:
                self._by_topic.add(topic, audience)
            for pattern in audience.topics.patterns:
                self._by_pattern.add(pattern, audience)
        audience.size += 1
        self.streams += audience.lane.streams
        self.clients[subscription.id] = subscription
        if subscription.user is not None:
            self.users.add(subscription.user, subscription)

    def leave(self, subscription: Subscription) -> None:
        """Count a subscription out; an audience without any is forgotten."""
        audience = subscription.audience
        audience.live.pop(subscription, None)
        audience.size -= 1
        self.streams -= audience.lane.streams
        if not audience.size:
            del self._all[audience.topics, audience.lane, audience.interval_ms]
            for topic in audience.topics.exact:
                self._by_topic.discard(topic, audience)
            for pattern in audience.topics.patterns:
                self._by_pattern.discard(pattern, audience)
        del self.clients[subscription.id]
        if subscription.user is not None:
            self.users.discard(subscription.user, subscription)

    def matching(self, topic: str) -> Iterable[Audience]:
        """The audiences of an app's topic, each once."""
        found = dict.fromkeys(self._by_topic.get(topic))
        for audience in self._by_pattern.match(topic):
            found[audience] = None
        return found

    def personal(self, topic: str) -> Iterable[Subscription]:
        """The subscriptions of a topic `@user/ID` or `@client/ID`."""
        if topic.startswith(USER_PREFIX):
            return self.users.get(topic[len(USER_PREFIX) :])
        if topic.startswith(CLIENT_PREFIX):
            subscription = self.clients.get(topic[len(CLIENT_PREFIX) :])
            return () if subscription is None else (subscription,)
        return ()

    def count(self, topic: str) -> int:
        """How many clients get an event of `topic`; code inside this process is not counted."""
        if topic[0] != "@":
            return sum([audience.size for audience in self.matching(topic) if audience.lane.streams])
        if topic == ALL:
            return self.streams
        return sum(1 for reader in self.personal(topic) if reader.audience.lane.streams)

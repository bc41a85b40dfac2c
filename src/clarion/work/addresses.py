"""Who sees the value of a work: one address, or several that are told the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from clarion.errors import InvalidTopic
from clarion.topics import check_id, check_topic

MAX_ADDRESSES: Final = 1_000  # each is told on its own, so more is a topic that all those users may have


class Address(NamedTuple):
    """Where a value is kept and told.

    user: whose alone it is, on all streams of that user without asking for the topic; None for the topic's readers.
    """

    topic: str
    user: str | None


def addresses(
    work_id: str,
    *,
    user: str | None = None,
    users: Iterable[str] = (),
    topics: Iterable[str] = (),
) -> tuple[Address, ...]:
    """Who sees the work `work_id`, which is its topic. Each address once, in a fixed order.

    user, users: those users alone, under the topic `work_id`. topics: the readers of these topics. With neither, the
    readers of the topic `work_id`.

    Raises `InvalidTopic` for what cannot be a topic or a user id, and for more than MAX_ADDRESSES of them.
    """
    work_id = check_topic(work_id)
    if isinstance(users, str) or isinstance(topics, str):
        raise TypeError("users and topics are lists; for one user write user=")
    found: dict[Address, None] = {}
    for name in users if user is None else (user, *users):
        found[Address(work_id, check_id("user", name))] = None
    for topic in topics:
        found[Address(check_topic(topic), None)] = None
    if not found:
        found[Address(work_id, None)] = None
    if len(found) > MAX_ADDRESSES:
        raise InvalidTopic(work_id, f"is to be told to {len(found)} addresses, at most {MAX_ADDRESSES} are allowed")
    return tuple(found)


def to_json(found: Iterable[Address]) -> list[list[str | None]]:
    """Addresses as JSON types."""
    return [[topic, user] for topic, user in found]


def from_json(said: Any) -> tuple[Address, ...]:
    """The addresses that `to_json` said. Raises `ValueError` for anything else."""
    if not isinstance(said, list) or not 0 < len(said) <= MAX_ADDRESSES:
        raise ValueError("no list of addresses")
    found: list[Address] = []
    for one in said:
        if not isinstance(one, list) or len(one) != 2:
            raise ValueError("an address is a pair")
        topic, user = one
        found.append(Address(check_topic(topic), None if user is None else check_id("user", user)))
    return tuple(found)

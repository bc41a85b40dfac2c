"""Topics and patterns: what may be published to, what may be asked for, and what matches what.

A topic is text of 1 to 255 bytes of UTF-8 without control characters. Its levels are separated by `/`. In a pattern
a level that is exactly `*` stands for one level, and `**` for any number of levels, none included. Wildcards never
match a topic that begins with `@`: those are the hub's own (spec/stream.md, "Topics").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, Generic, TypeVar

from clarion.errors import InvalidTopic

MAX_TOPIC_BYTES: Final = 255  # fits every journal's key limits and one line of a log
MAX_PATTERN_LEVELS: Final = 16  # bounds the branching of a match with several `**`

ALL: Final = "@all"
USER_PREFIX: Final = "@user/"
CLIENT_PREFIX: Final = "@client/"
CONTROL_PREFIX: Final = "@hub/"

# C0, DEL, C1 (which holds U+0085), and the two Unicode line ends: some readers split lines there.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _check_text(topic: object) -> str:
    if not isinstance(topic, str):
        raise InvalidTopic(topic, f"must be text, not {type(topic).__name__}")
    if type(topic) is not str:  # an enum of texts: what it is, not how it shows itself
        topic = str.__str__(topic)
    if not topic:
        raise InvalidTopic(topic, "must not be empty")
    if _FORBIDDEN.search(topic):
        raise InvalidTopic(topic, "must not contain control characters or line ends")
    try:
        size = len(topic.encode())
    except UnicodeEncodeError:
        raise InvalidTopic(topic, "is not valid Unicode text (it holds a lone surrogate)") from None
    if size > MAX_TOPIC_BYTES:
        raise InvalidTopic(topic, f"has {size} bytes of UTF-8, at most {MAX_TOPIC_BYTES} are allowed")
    return topic


def check_name(topic: object) -> str:
    """Return `topic` if it can be published to, the hub's own names included; else raise `InvalidTopic`."""
    if not isinstance(topic, str):
        raise InvalidTopic(topic, f"must be text, not {type(topic).__name__}")
    return _check_name(topic)


@lru_cache(maxsize=4096)
def _check_name(topic: str) -> str:
    topic = _check_text(topic)
    if is_pattern(topic):
        raise InvalidTopic(topic, "is a pattern; publish to a topic, without a level that is `*` or `**`")
    return topic


def check_topic(topic: object) -> str:
    """Return `topic` if an app may publish to it; else raise `InvalidTopic`."""
    topic = check_name(topic)
    if topic[0] == "@":
        raise InvalidTopic(topic, "names that begin with `@` are the hub's own; use send, send_to_user or broadcast")
    return topic


def check_pattern(pattern: object) -> str:
    """Return `pattern` (a topic or a pattern) if an app may subscribe to it; else raise `InvalidTopic`."""
    pattern = _check_text(pattern)
    if pattern[0] == "@":
        raise InvalidTopic(pattern, "names that begin with `@` are the hub's own; every stream has its own three")
    if is_pattern(pattern) and pattern.count("/") >= MAX_PATTERN_LEVELS:
        raise InvalidTopic(pattern, f"has more than {MAX_PATTERN_LEVELS} levels, the most a pattern may have")
    return pattern


def check_id(kind: str, name: object) -> str:
    """Return `name` if it can be a user or client id, a part of `@user/ID` or `@client/ID`."""
    if not isinstance(name, str):
        raise InvalidTopic(name, f"a {kind} id must be text, not {type(name).__name__}")
    if not name:
        raise InvalidTopic(name, f"a {kind} id must not be empty")
    if type(name) is not str:
        name = str.__str__(name)
    check_name("@" + kind + "/" + name)
    return name


@lru_cache(maxsize=4096)
def is_pattern(topic: str) -> bool:
    """Whether a level of `topic` is a wildcard."""
    return "*" in topic and any(level in ("*", "**") for level in topic.split("/"))


@lru_cache(maxsize=16_384)  # a reader that catches up asks for the same few topics again and again
def matches(pattern: str, topic: str) -> bool:
    """Whether `topic` is `pattern` or matches it. Linear in the levels of both (no backtracking blow-up)."""
    if not is_pattern(pattern):
        return pattern == topic
    if topic[0] == "@":
        return False
    wanted = pattern.split("/")
    reached = _skip_any_depth(wanted, {0})
    for level in topic.split("/"):
        following: set[int] = set()
        for index in reached:
            if index == len(wanted):
                continue
            if wanted[index] == "**":
                following.add(index)
            elif wanted[index] in ("*", level):
                following.add(index + 1)
        reached = _skip_any_depth(wanted, following)
        if not reached:
            return False
    return len(wanted) in reached


def _skip_any_depth(wanted: list[str], reached: set[int]) -> set[int]:
    for index in sorted(reached):
        while index < len(wanted) and wanted[index] == "**":
            index += 1
            reached.add(index)
    return reached


class TopicSet:
    """The topics and patterns that one reader asks for: immutable, hashable, equal when they ask for the same."""

    __slots__ = ("_hash", "exact", "names", "patterns")

    def __init__(self, names: Iterable[str]) -> None:
        self.names: tuple[str, ...] = tuple(sorted(set(names)))
        self.patterns: tuple[str, ...] = tuple(name for name in self.names if is_pattern(name))
        self.exact: tuple[str, ...] = tuple(name for name in self.names if not is_pattern(name))
        self._hash = hash(self.names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TopicSet) and self.names == other.names

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"TopicSet({list(self.names)!r})"

    def matches(self, topic: str) -> bool:
        """Whether an event of `topic` is for this set."""
        if topic in self.exact:
            return True
        for pattern in self.patterns:  # noqa: SIM110 - a generator costs as much again
            if matches(pattern, topic):
                return True
        return False

    def union(self, *names: str) -> TopicSet:
        """This set with more topics."""
        return TopicSet((*self.names, *names))


Item = TypeVar("Item")


class _Node(Generic[Item]):
    __slots__ = ("any_depth", "children", "items")

    def __init__(self, any_depth: bool = False) -> None:
        self.children: dict[str, _Node[Item]] = {}
        self.items: dict[Item, None] = {}
        self.any_depth = any_depth


class PatternTree(Generic[Item]):
    """Which items asked for a pattern that a topic matches. A match costs by the topic's levels, not by the patterns.

    Not safe for concurrent use from several threads.
    """

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: _Node[Item] = _Node()

    def add(self, pattern: str, item: Item) -> None:
        """Note that `item` asks for `pattern`. Doing it twice changes nothing."""
        node = self._root
        for level in pattern.split("/"):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node(any_depth=level == "**")
            node = child
        node.items[item] = None

    def discard(self, pattern: str, item: Item) -> None:
        """Forget that `item` asks for `pattern`, and whatever of the tree nobody needs any more."""
        path: list[tuple[_Node[Item], str]] = []
        node = self._root
        for level in pattern.split("/"):
            child = node.children.get(level)
            if child is None:
                return
            path.append((node, level))
            node = child
        node.items.pop(item, None)
        for parent, level in reversed(path):
            if node.items or node.children:
                return
            del parent.children[level]
            node = parent

    def match(self, topic: str) -> Iterator[Item]:
        """The items that ask for `topic` by a pattern. One may come several times, if several patterns match."""
        if not self._root.children or topic[0] == "@":
            return
        reached = _with_any_depth([self._root])
        for level in topic.split("/"):
            following: list[_Node[Item]] = []
            for node in reached:
                if node.any_depth:
                    following.append(node)
                if (child := node.children.get(level)) is not None:
                    following.append(child)
                if (child := node.children.get("*")) is not None:
                    following.append(child)
            if not following:
                return
            reached = _with_any_depth(following)
        for node in reached:
            yield from node.items


def _with_any_depth(nodes: list[_Node[Item]]) -> dict[_Node[Item], None]:
    """`nodes` and the `**` nodes below them: `**` also stands for no level at all."""
    reached = dict.fromkeys(nodes)
    for start in nodes:
        node = start.children.get("**")
        while node is not None and node not in reached:
            reached[node] = None
            node = node.children.get("**")
    return reached

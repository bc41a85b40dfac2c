"""The values that a source holds: folded change by change, and bounded (spec/stream.md, section 10). Without I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from clarion import json
from clarion.client.errors import ValueLost
from clarion.client.places import place_of
from clarion.client.received import Connected
from clarion.errors import ClarionError
from clarion.values import MISSING, Change, applied

CHANGES: Final = {"set": Change.SET, "append": Change.APPEND, "merge": Change.MERGE, "delete": Change.DELETE}
TOPIC_BYTES: Final = 256  # counted for holding one at all: its name, and its place in the tables


class HeldValues:
    """What each topic is, as far as the stream told it.

    max_value_bytes: of one value, as JSON. max_bytes: of all together. What passes a bound is not held; the others are.
    """

    def __init__(self, *, max_value_bytes: int, max_bytes: int) -> None:
        self._max_value_bytes = max_value_bytes
        self._max_bytes = max_bytes
        self._values: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}  # at most so many bytes; counted exactly where that matters
        self._bytes = 0
        self._lost: set[str] = set()  # until they are set anew
        self._told_all = False  # a topic that is not held has no value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def get(self, topic: str) -> Any:
        """The value; `MISSING` if there is none."""
        return self._values.get(topic, MISSING)

    def begin(self, connected: Connected) -> None:
        """A stream has begun: what is held is good, or is no more."""
        asked = place_of(connected.asked)
        if connected.values == "all" or (connected.values is not None and asked is not None and asked.told == 0):
            self.clear()  # each that there is follows
            self._told_all = True

    def clear(self) -> None:
        """Hold nothing, and know nothing of what there is."""
        self._values.clear()
        self._sizes.clear()
        self._lost.clear()
        self._bytes = 0
        self._told_all = False

    def drop(self, topic: str) -> None:
        """Do not hold a topic's value any more."""
        self._values.pop(topic, None)
        self._bytes -= self._sizes.pop(topic, 0)

    def apply(self, topic: str, change: Change, text: str) -> None:
        """Carry out a change. text: its data, as it came.

        Raises `ValueLost` once where that cannot be; the value is then dropped, and its changes are left out until it
        is set anew.
        """
        if change is Change.DELETE:
            self._lost.discard(topic)
            self.drop(topic)
            return
        if change is Change.SET:
            self._lost.discard(topic)
        elif topic in self._lost:
            return
        elif not self._told_all and topic not in self._values:
            raise self._lose(topic, "the change of a value that this source was not told", asked_anew=True)
        try:
            value = applied(self.get(topic), change, json.decode(text))
        except (ClarionError, ValueError, RecursionError) as error:
            why = str(error) if isinstance(error, ClarionError) else "the change is not JSON"
            raise self._lose(topic, why, asked_anew=True) from None
        self._hold(topic, value, len(text.encode()), 0 if change is Change.SET else self._sizes.get(topic, TOPIC_BYTES))

    def pass_over(self, topic: str, change: Change) -> None:
        """A change was too large to be read: the value is dropped, and its changes are left out until it is set anew.

        Raises `ValueLost`, once.
        """
        if change is Change.SET or topic not in self._lost:
            raise self._lose(topic, "a change of it was too large", asked_anew=False)

    def _hold(self, topic: str, value: Any, more_bytes: int, present_bytes: int) -> None:
        size = (present_bytes or TOPIC_BYTES) + more_bytes
        if size > self._max_value_bytes:  # perhaps: patches that replace each other were counted one by one
            size = TOPIC_BYTES + len(json.encode(value))
        if size - TOPIC_BYTES > self._max_value_bytes:
            raise self._lose(topic, f"it has more than {self._max_value_bytes} bytes", asked_anew=False)
        if self._bytes - self._sizes.get(topic, 0) + size > self._max_bytes:
            raise self._lose(topic, f"all values have more than {self._max_bytes} bytes", asked_anew=False)
        self._bytes += size - self._sizes.get(topic, 0)
        self._sizes[topic] = size
        self._values[topic] = value

    def _lose(self, topic: str, why: str, *, asked_anew: bool) -> ValueLost:
        self.drop(topic)
        if len(self._lost) * TOPIC_BYTES < self._max_bytes:
            self._lost.add(topic)
        else:
            self._told_all = False  # so that no change of it is taken for its whole value
        return ValueLost(topic, why, asked_anew=asked_anew)

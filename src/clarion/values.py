"""The reducer: what a topic's value is after a change, and how changes are folded. Pure (spec/stream.md, section 10).

Values are what JSON says, as Python's own types; nothing here changes what it is given. The laws, held by properties in
`tests/unit/test_values.py`: folding changes first and applying what comes out is the same as applying them one by one,
wherever they are cut; what is refused changes nothing.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final, NamedTuple

from clarion.errors import ValueMismatch


class Change(IntEnum):
    """What an event does to its topic's value. `NONE`: nothing, it is a plain event. The numbers are stored."""

    NONE = 0
    SET = 1
    APPEND = 2
    MERGE = 3
    DELETE = 4


class Missing:
    """The type of `MISSING`: there is no value, which is something else than a value of null."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing()

_KINDS: Final = {str: "a text", list: "a list", dict: "an object", bool: "true or false", type(None): "null"}


def applied(value: Any, change: Change, delta: Any) -> Any:
    """The value after one change; `value` is `MISSING` where there is none. A merge takes a patch or a list of them.

    Costs what the delta costs, and a copy of each container and text that it goes into.
    Raises `ValueMismatch` for a change that does not fit the value.
    """
    if change is Change.APPEND:
        return appended(value, delta)
    if change is Change.MERGE:
        for patch in delta if isinstance(delta, list) else (delta,):
            if not isinstance(patch, dict):
                raise ValueMismatch("merge", kind_of(patch), kind_of(value))
            value = merged(value, patch)
        return {} if value is MISSING else value  # MISSING: a list of no patches
    if change is Change.SET:
        return delta
    return MISSING if change is Change.DELETE else value


def appended(value: Any, delta: Any, path: str = "") -> Any:
    """`value` with `delta` at its end: text + text, list + list, objects member by member.

    path: where in the whole value this is, a JSON pointer (RFC 6901), for what is said of a mismatch.
    """
    if value is MISSING:
        return delta
    if isinstance(value, str) and isinstance(delta, str):
        return value + delta
    if isinstance(value, list) and isinstance(delta, list):
        return [*value, *delta]
    if isinstance(value, dict) and isinstance(delta, dict):
        whole = dict(value)
        for name, part in delta.items():
            whole[name] = appended(value.get(name, MISSING), part, f"{path}/{_escaped(name)}")
        return whole
    raise ValueMismatch("append", kind_of(delta), kind_of(value), path)


def merged(value: Any, patch: Any) -> Any:
    """`value` with an RFC 7396 merge patch applied (its section 2); null takes a member away."""
    if not isinstance(patch, dict):
        return patch
    whole = dict(value) if isinstance(value, dict) else {}
    for name, part in patch.items():
        if part is None:
            whole.pop(name, None)
        else:
            whole[name] = merged(whole.get(name, MISSING), part)
    return whole


def kind_of(value: Any) -> str:
    """What kind of JSON a value is, in words."""
    return "nothing" if value is MISSING else _KINDS.get(type(value), "a number")


class Folded(NamedTuple):
    """One change that stands for several in a row."""

    change: Change
    delta: Any


class Folding:
    """Changes of one topic, added in order, as one change. The value itself is not needed."""

    __slots__ = ("_first", "_folded")

    def __init__(self) -> None:
        self._folded: Folded | None = None
        self._first: dict[str, Any] = {}  # of two merge patches that are not one (see `_composed`)

    @property
    def folded(self) -> Folded | None:
        """The one change, or None if nothing was added. A merge of two patches is a list of both."""
        if self._first and self._folded is not None:
            return Folded(Change.MERGE, [self._first, self._folded.delta])
        return self._folded

    def add(self, change: Change, delta: Any) -> bool:
        """Add the next change. False if it and those before are not one change (an append and a merge, say); then
        nothing was added.

        Raises `ValueMismatch` for changes that cannot follow one another.
        """
        before = self._folded
        if before is None or change in (Change.SET, Change.DELETE):
            return self._begin(change, delta)
        if before.change is Change.SET:
            return self._begin(Change.SET, applied(before.delta, change, delta))
        if before.change is Change.DELETE:
            return self._begin(Change.SET, applied(MISSING, change, delta))
        if before.change is not change:
            return False
        if change is Change.APPEND:
            self._folded = Folded(change, appended(before.delta, delta))
        else:
            for patch in delta if isinstance(delta, list) else (delta,):
                self._compose(patch)
        return True

    def _begin(self, change: Change, delta: Any) -> bool:
        self._first = {}
        if change is Change.MERGE and isinstance(delta, list):
            self._folded = Folded(change, {})
            for patch in delta:
                self._compose(patch)
        else:
            self._folded = Folded(change, delta)
        return True

    def _compose(self, patch: dict[str, Any]) -> None:
        assert self._folded is not None
        first, second = dict(self._first), self._folded.delta
        self._folded = Folded(Change.MERGE, _composed(first, second, patch))
        self._first = first


def _composed(first: dict[str, Any], second: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """The patch that does after `first` what `second` and then `patch` do; adds to `first` what that takes.

    Merge patches do not compose into one: null and then an object means "only these members", which no single patch
    says. So what has to be gone before is taken away by `first`, and two patches always do.
    """
    whole = dict(second)
    for name, part in patch.items():
        before = second.get(name, MISSING)
        if isinstance(part, dict) and isinstance(before, dict):
            inner = dict(first[name]) if isinstance(first.get(name), dict) else {}
            whole[name] = _composed(inner, before, part)
            if inner and not (name in first and first[name] is None):
                first[name] = inner
        elif isinstance(part, dict) and before is not MISSING:
            first[name] = None
            whole[name] = _without_nulls(part)
        else:
            whole[name] = part
    return whole


def _without_nulls(patch: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_nulls(part) if isinstance(part, dict) else part
        for name, part in patch.items()
        if part is not None
    }


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")

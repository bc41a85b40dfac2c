"""JSON as one line for every reader."""

from __future__ import annotations

import json as stdlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from clarion import json
from clarion.errors import InvalidEvent

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


SECOND = datetime(2026, 1, 2, tzinfo=UTC)


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: float


class Struct(msgspec.Struct):
    name: str


class Model(BaseModel):
    first_name: str = Field(alias="firstName")
    at: datetime


@given(values)
def test_it_is_one_line_that_says_the_value(value: Any) -> None:
    line = json.encode(value)
    assert len(line.decode().splitlines()) <= 1  # str.splitlines knows every line end that any reader might
    assert stdlib.loads(line) == value


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (Point(1, 2.5), b'{"x":1,"y":2.5}'),
        (Struct("s"), b'{"name":"s"}'),
        (Model(firstName="Ann", at=SECOND), b'{"firstName":"Ann","at":"2026-01-02T00:00:00Z"}'),
        ({"inside": [Point(1, 2.0), Model(firstName="B", at=SECOND)]},
         b'{"inside":[{"x":1,"y":2.0},{"firstName":"B","at":"2026-01-02T00:00:00Z"}]}'),
        (datetime(2026, 1, 2, tzinfo=UTC), b'"2026-01-02T00:00:00Z"'),
        (uuid.UUID(int=7), b'"00000000-0000-0000-0000-000000000007"'),
        (Colour.RED, b'"red"'),
        (Decimal("1.50"), b'"1.50"'),
        (float("nan"), b"null"),
        (2**70, b"1180591620717411303424"),
        ({"n": 2**70, "p": Point(1, 2.0)}, b'{"n":1180591620717411303424,"p":{"x":1,"y":2.0}}'),
        ("\u2028\u2029\u0085", b'"\\u2028\\u2029\\u0085"'),
        ({"\u2028": 1}, b'{"\\u2028":1}'),
        ("\r\n\0", b'"\\r\\n\\u0000"'),
    ],
)  # fmt: skip
def test_what_people_give(value: Any, line: bytes) -> None:
    assert json.encode(value) == line


def test_large_integers_beside_strange_line_ends() -> None:
    assert json.encode([2**70, "\u2028"]) == b'[1180591620717411303424,"\\u2028"]'


@pytest.mark.parametrize("value", [object(), lambda: None, Model, {object(): 1}, "\ud800", {"a": "\udfff"}])
def test_what_it_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(InvalidEvent):
        json.encode(value)


def test_what_contains_itself_is_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(InvalidEvent):
        json.encode(ring)


def test_decoding() -> None:
    assert json.decode(b'{"a":[1]}') == {"a": [1]}
    with pytest.raises(ValueError, match="not JSON"):
        json.decode("{")

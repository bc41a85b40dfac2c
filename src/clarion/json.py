"""JSON, as it stands in `data:` lines: compact, UTF-8, one line for every reader.

The one file that names msgspec. It says dataclasses, pydantic v2 models, msgspec structs, attrs classes, enums,
datetimes (RFC 3339), UUIDs, decimals, sets and bytes (base64) by itself; NaN and infinities become null, as in
JavaScript's `JSON.stringify`.
"""

from __future__ import annotations

import json as _stdlib
from typing import Any

import msgspec

from clarion.errors import InvalidEvent


def _pydantic(value: Any) -> Any:
    """Pydantic models name themselves by `model_dump`; by alias, as FastAPI answers with them."""
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return dump(mode="json", by_alias=True)
    raise TypeError(f"JSON cannot say a {type(value).__name__}")


_encode = msgspec.json.Encoder(enc_hook=_pydantic).encode

# What some SSE readers take for line ends although WHATWG does not. Inside JSON they can only stand in strings.
_LINE_ENDS = (
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
    ("\u0085".encode(), b"\\u0085"),
)


def encode(data: Any) -> bytes:
    """Return `data` as one line of JSON in UTF-8. Raises `InvalidEvent` for what JSON cannot say."""
    try:
        line = _encode(data)
    except OverflowError:
        line = _encode_large_integers(data)
    except RecursionError:
        raise InvalidEvent("data is nested too deeply, or contains itself") from None
    except (TypeError, ValueError, UnicodeError) as error:
        raise InvalidEvent(f"data cannot be said in JSON: {error}") from error
    if b"\n" in line or b"\r" in line:  # only JSON that was made elsewhere (msgspec.Raw) can have them
        raise InvalidEvent("data holds JSON of several lines; decode it first, or give text=")
    if not line.isascii():
        for char, escape in _LINE_ENDS:
            if char in line:
                line = line.replace(char, escape)
    return line


def _encode_large_integers(data: Any) -> bytes:
    """Integers over 64 bits are JSON, but msgspec does not write them."""
    try:
        plain = msgspec.to_builtins(data, enc_hook=_pydantic)
        return _stdlib.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidEvent(f"data cannot be said in JSON: {error}") from error


def decode(line: str | bytes) -> Any:
    """Return what a line of JSON says. Raises `ValueError` if it is none."""
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise ValueError(f"not JSON: {error}") from None

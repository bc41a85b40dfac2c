"""The shared vectors, read: those of `parse`, each cut in four ways, and the frames of `frames`.

What they mean stands in spec/README.md.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clarion.parser import DEFAULT_MAX_EVENT_BYTES, Message, Parser
from tests.parsing import read_all

VECTORS = Path(__file__).parents[2] / "spec" / "vectors"
MAX_BYTEWISE_BYTES = 120_000  # one `feed` per byte; longer inputs would take seconds and show nothing new
SEEDS = range(12)


@dataclass
class Outcome:
    """All that a stream comes to."""

    messages: list[Message]
    last_event_id: str
    retry_milliseconds: int | None
    too_large: int


def as_bytes(piece: Any) -> bytes:
    """A piece of input: text, `{"hex": ...}`, `{"repeat": [piece, times]}`, or a list of such, joined."""
    if isinstance(piece, str):
        return piece.encode()
    if isinstance(piece, list):
        return b"".join(map(as_bytes, piece))
    if "hex" in piece:
        return bytes.fromhex(piece["hex"])
    repeated, times = piece["repeat"]
    return as_bytes(repeated) * int(times)


def as_text(piece: Any) -> str:
    return as_bytes(piece).decode()


def as_messages(listed: Iterable[Any]) -> Iterator[Message]:
    for item in listed:
        if "repeat" in item:
            message, times = item["repeat"]
            yield from list(as_messages([message])) * times
        else:
            fields: dict[str, Any] = {name: None if text is None else as_text(text) for name, text in item.items()}
            yield Message(**fields)


def read(chunks: Iterable[bytes], case: dict[str, Any]) -> Outcome:
    parser = Parser(
        max_event_bytes=case.get("max_event_bytes", DEFAULT_MAX_EVENT_BYTES),
        last_event_id=case.get("start_last_event_id", ""),
    )
    messages, too_large = read_all(parser, chunks)
    return Outcome(messages, parser.last_event_id, parser.retry_milliseconds, too_large)


def cut(data: bytes, seed: int) -> Iterator[bytes]:
    """`data` in random pieces: short ones for short data, up to network-sized ones for long data."""
    chance = random.Random(seed)
    longest = 8 if len(data) < 10_000 else 65_536
    start = 0
    while start < len(data):
        end = start + chance.randint(0, longest)
        yield data[start:end]
        start = end


def load(folder: str) -> list[Any]:
    return [
        pytest.param(case, id=f"{path.stem}: {case['name']}")
        for path in sorted((VECTORS / folder).glob("*.json"))
        for case in json.loads(path.read_text(encoding="utf-8"))["cases"]
    ]


def test_there_are_vectors_for_every_rule() -> None:
    rules = "bom bound change comments data dispatch event fields id line-ends retry topic utf-8".split()
    assert sorted(path.stem for path in (VECTORS / "parse").glob("*.json")) == rules


@pytest.mark.parametrize("case", load("parse"))
def test_parse(case: dict[str, Any]) -> None:
    expected = Outcome(
        list(as_messages(case["messages"])),
        as_text(case["last_event_id"]),
        case["retry"],
        case.get("too_large", 0),
    )
    chunks = [as_bytes(piece) for piece in case["input"]]
    whole = b"".join(chunks)
    assert read(chunks, case) == expected, "in the chunks as given"
    assert read([whole], case) == expected, "in one chunk"
    if len(whole) <= MAX_BYTEWISE_BYTES:
        assert read((whole[at : at + 1] for at in range(len(whole))), case) == expected, "byte by byte"
    for seed in SEEDS if len(whole) <= MAX_BYTEWISE_BYTES else SEEDS[:2]:
        assert read(cut(whole, seed), case) == expected, f"cut at random, seed {seed}"


@pytest.mark.parametrize("case", [case for case in load("frames") if "frame" in case.values[0]])
def test_frames_are_read_as_what_they_say(case: dict[str, Any]) -> None:
    parser = Parser(last_event_id="before")
    (message,) = parser.feed(case["frame"].encode())
    expected = case["reads_as"]
    assert message.type == expected["type"]
    assert message.topic == expected["topic"]
    assert message.last_event_id == ("before" if expected["id"] is None else expected["id"])
    assert parser.retry_milliseconds == expected["retry"]
    if "text" in expected:
        assert message.data == expected["text"]
    else:
        assert json.loads(message.data) == expected["data"]

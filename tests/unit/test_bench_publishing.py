"""How servers under test are told to publish: all in the same way."""

import json

import pytest

from clarion.bench.payload import EVENT_DATA, event_text
from clarion.bench.percentiles import median, percentile
from clarion.bench.publishing import batches, publish_as_ordered


@pytest.mark.parametrize("size", [60, 120, 4096])
@pytest.mark.parametrize("number", [1, 999, 1_000_000])
def test_an_event_has_the_size_that_was_asked_for(number: int, size: int) -> None:
    text = event_text(number, size)
    assert len(text) == size
    assert json.loads(text)["n"] == number
    found = EVENT_DATA.findall(f"id: 1\ndata: {text}\n\n".encode())
    assert [int(n) for n, _ in found] == [number]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("lockstep", ["1", "2", "3", "4", "5"]),
        ("burst", ["1 2", "3 4", "5"]),
    ],
)
async def test_what_is_published_between_two_settlings(mode: str, expected: list[str]) -> None:
    rounds: list[list[str]] = [[]]

    async def emit(number: int, size: int) -> None:
        rounds[-1].append(str(number))

    async def settle() -> None:
        rounds.append([])

    reply = await publish_as_ordered({"count": 5, "first": 1, "mode": mode, "batch": 2}, emit, settle)
    assert [" ".join(numbers) for numbers in rounds if numbers] == expected
    assert rounds[-2:] == [[], []], "the last of all is settled too"
    assert reply["seconds"] >= 0
    in_batches = batches({"count": 5, "first": 1, "mode": mode, "batch": 2})
    assert [" ".join(map(str, numbers)) for numbers in in_batches] == expected


async def test_a_paced_publisher_publishes_all_and_settles_once() -> None:
    numbers: list[int] = []
    settled: list[int] = []

    async def emit(number: int, size: int) -> None:
        numbers.append(number)

    async def settle() -> None:
        settled.append(len(numbers))

    await publish_as_ordered({"count": 3, "first": 7, "mode": "paced", "rate": 1e6}, emit, settle)
    assert numbers == [7, 8, 9]
    assert settled == [3]


def test_percentiles_are_values_that_were_measured() -> None:
    values = list(range(1, 101))
    assert [percentile(values, share) for share in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([7], 99) == 7
    assert percentile([], 99) == 0
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median([4.0, 1.0]) == 1.0

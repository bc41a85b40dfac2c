"""Positions and what strangers present as one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.position import EPOCH_CHARS, EPOCH_LENGTH, MAX_OFFSET, Position, Presented, epoch_from, parse, text_of

epochs = st.text(EPOCH_CHARS, min_size=4, max_size=16)


@given(epochs, st.integers(0, MAX_OFFSET), st.booleans())
def test_what_is_written_is_read_back(epoch: str, offset: int, done: bool) -> None:
    position = Position(epoch, offset)
    assert parse(str(position) + (".done" if done else "")) == Presented(position, offset, done)


@given(epochs, st.integers(0, MAX_OFFSET), st.integers(0, MAX_OFFSET))
def test_how_far_values_were_told_is_read_back(epoch: str, one: int, other: int) -> None:
    told, offset = sorted((one, other))
    text = text_of(epoch, offset, told)
    assert parse(text) == Presented(Position(epoch, offset), told, False)
    assert ("~" in text) == (told < offset)


@given(st.text())
def test_no_text_raises(text: str) -> None:
    presented = parse(text)
    assert presented is None or said(presented) == text


@given(st.from_regex(r"[a-z0-9]{4}-[0-9]{1,3}(~[0-9]{1,3})?(\.done)?", fullmatch=True))
def test_what_has_the_form_says_the_same_again(text: str) -> None:
    presented = parse(text)
    assert presented is None or said(presented) == text or presented.told == presented.position.offset


def said(presented: Presented) -> str:
    (epoch, offset), told, done = presented
    return text_of(epoch, offset, told) + (".done" if done else "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "k3v-1",  # an epoch is 4 characters at least
        "k3v9" * 5 + "-1",
        "K3V9-1",
        "k3v9-01",
        "k3v9--1",
        "k3v9-+1",
        "k3v9-1 ",
        "k3v9-1\n",
        " k3v9-1",
        "k3v9-",
        "k3v9",
        "k3v9-\u0661",  # a digit, but not one of ours
        f"k3v9-{MAX_OFFSET + 1}",
        "k3v9-" + "9" * 10_000,
        "k3v9-1~2",  # values cannot be told further than events
        "k3v9-1~",
        "k3v9-2~01",
        "k3v9-2~-1",
        "k3v9-2.done~1",
        "k3v9-1.DONE",
        "k3v9-1.done.done",
        "\x00",
        "k3v9-1\x00",
        "\ud800",
    ],
)
def test_what_has_not_the_form_is_none(text: str) -> None:
    assert parse(text) is None


def test_the_largest_offset_is_one() -> None:
    assert parse(f"k3v9-{MAX_OFFSET}") == Presented(Position("k3v9", MAX_OFFSET), MAX_OFFSET, False)


@given(st.binary(min_size=8, max_size=8))
def test_an_epoch_is_one_that_can_be_parsed(entropy: bytes) -> None:
    epoch = epoch_from(entropy)
    assert len(epoch) == EPOCH_LENGTH
    assert parse(f"{epoch}-7") == Presented(Position(epoch, 7), 7, False)


def test_different_entropy_gives_different_epochs() -> None:
    assert len({epoch_from(bytes([n]) * 8) for n in range(256)}) == 256

"""What a page's source was given, held against what was published: numbered events, and None for each gap."""

from __future__ import annotations

from collections.abc import Sequence

from tests.browsers.driving import Tab, call
from tests.integration.servers import wait_until

SECONDS = 40  # for what a network that is out of order holds up


def check_ledger(lines: Sequence[int | None], count: int) -> None:
    """All events up to `count` once and in order, or a gap stands where some are not."""
    expected, told = 0, False
    for number in lines:
        if number is None:
            told = True
            continue
        assert number >= expected, f"{number} came again, or late: {lines}"
        assert number == expected or told, f"{expected} to {number - 1} are missing, and no gap was told: {lines}"
        expected, told = number + 1, False
    assert expected == count or told, f"{expected} to {count - 1} are missing: {lines}"


def wait_for_last(tab: Tab, name: str, last: int, seconds: float = SECONDS) -> list[int | None]:
    """Wait until a source of the page has had an event; all it had."""

    def has_it() -> bool:
        return last in call(tab, "lines", name)

    try:
        wait_until(has_it, f"{name} has {last}", seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}; it had {call(tab, 'reader', name)}") from None
    lines: list[int | None] = call(tab, "lines", name)
    return lines


def wait_for_state(tab: Tab, name: str, state: str, reason: str | None = None, seconds: float = SECONDS) -> None:
    """Wait until a source of the page has been in a state, and for that reason."""

    def was() -> bool:
        statuses = call(tab, "reader", name)["statuses"]
        return any(said["state"] == state and reason in (None, said["reason"]) for said in statuses)

    wait_until(was, f"{name} is {state} ({reason})", seconds)


def wait_until_connected(tab: Tab, name: str, times: int = 1) -> None:
    """Wait until streams have said so often that they are there."""

    def is_connected() -> bool:
        statuses = call(tab, "reader", name)["statuses"]
        return sum(1 for said in statuses if said["mode"] is not None) >= times

    wait_until(is_connected, f"{name} was connected {times} times", SECONDS)

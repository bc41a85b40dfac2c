"""What a subscription asks for."""

from __future__ import annotations

from clarion.subscription import State, Subscription
from tests.unit.core import core


def test_a_reader_wants_its_topics_and_its_own_three() -> None:
    reader = core().reader("7", "news", "orders/*", user="ann")
    for topic in ("news", "orders/1", "@all", "@user/ann", "@client/7"):
        assert reader.wants(topic)
    for topic in ("other", "orders/1/2", "@user/bob", "@client/8", "@hub/kick"):
        assert not reader.wants(topic)


def test_a_reader_without_a_user_has_no_user_topic() -> None:
    reader = core().reader("7")
    assert reader.personal_topics == ("@client/7",)
    assert not reader.wants("@user/None")


def test_it_is_small() -> None:
    reader = core().reader("7")
    assert not hasattr(reader, "__dict__")
    assert reader.state is State.BEHIND
    assert isinstance(reader, Subscription)
    assert not reader.is_closed

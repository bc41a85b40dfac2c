"""Requests as they are made: which header wins, what stands in the URL, and what is refused without being told."""

from typing import Any

import pytest

from clarion.client.buffer import MAX_STATUSES, Buffer
from clarion.client.errors import RequestImpossible
from clarion.client.received import Item, Status
from clarion.client.request import Question, bearer, header_pairs
from clarion.client.states import State
from clarion.parser import Message


def headers_of(question: Question, *pairs: tuple[bytes, bytes], last_event_id: str = "") -> list[tuple[bytes, bytes]]:
    return list(question.request(pairs, last_event_id).headers)


def test_what_a_request_says_by_itself() -> None:
    assert headers_of(Question("http://host/", [])) == [
        (b"accept", b"text/event-stream"),
        (b"accept-encoding", b"identity"),
        (b"cache-control", b"no-store"),
    ]


def test_the_callers_headers_win_and_may_come_twice() -> None:
    sent = headers_of(Question("http://host/", []), (b"accept", b"x"), (b"cookie", b"a=1"), (b"cookie", b"b=2"))
    assert [value for name, value in sent if name == b"accept"] == [b"x"]
    assert [value for name, value in sent if name == b"cookie"] == [b"a=1", b"b=2"]


def test_the_last_event_id_is_the_sources() -> None:
    question = Question("http://host/", [])
    own = (b"last-event-id", b"mine")
    assert [pair for pair in headers_of(question, own, last_event_id="k3v9-4") if pair[0] == own[0]] == [
        (b"last-event-id", b"k3v9-4")
    ]
    assert own in headers_of(question, own)


def test_credentials_in_the_url_give_way_to_others() -> None:
    question = Question("http://ann:secret@host/", [])
    assert (b"authorization", b"Bearer x") in headers_of(question, (b"authorization", b"Bearer x"))
    assert sum(name == b"authorization" for name, _ in headers_of(question, (b"authorization", b"Bearer x"))) == 1


def test_topics_may_change_between_requests() -> None:
    question = Question("http://host/?a=b", ["x/*"])
    assert question.request((), "").url == "http://host/?a=b&topic=x%2F%2A"
    question.topics.append("y")
    assert question.request((), "").url == "http://host/?a=b&topic=x%2F%2A&topic=y"
    question.topics.clear()
    assert question.request((), "").url == "http://host/?a=b"


@pytest.mark.parametrize(
    ("method", "body", "expected"),
    [(None, None, "GET"), (None, "", "POST"), ("put", b"", "PUT"), ("report", None, "REPORT")],
)
def test_the_method(method: str | None, body: Any, expected: str) -> None:
    assert Question("http://host/", [], None, method, body).request((), "").method == expected


@pytest.mark.parametrize("secret", ["top\nsecret", "top\x00secret", "top\x7fsecret", "top\rsecret"])
def test_a_value_that_cannot_be_sent_is_not_told(secret: str) -> None:
    for make in (lambda: header_pairs({"authorization": secret}), lambda: bearer(secret)):
        with pytest.raises(RequestImpossible, match="header authorization") as refused:
            make()
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize("headers", [{"": "x"}, {"a b": "x"}, {"a:": "x"}, {"x": None}, [("x",)], 5])
def test_headers_that_are_none(headers: Any) -> None:
    with pytest.raises(RequestImpossible):
        header_pairs(headers)


def test_a_password_is_not_told() -> None:
    for url in (
        "http://ann:secret@/",
        "http://ann:secret@host:99999/",
        "ftp://ann:secret@host/",
        "http://a:secret@h /",
    ):
        with pytest.raises(ValueError) as refused:
            Question(url, [])
        assert "secret" not in str(refused.value)


# The buffer between what reads and what asks.


def status_item(number: int) -> Item:
    return Item("", status=Status(State.WAITING, delay_seconds=number))


def test_statuses_that_nobody_asks_for_are_bounded_and_the_newest_are_kept() -> None:
    buffer = Buffer(lambda: None, lambda call: call())
    for number in range(10 * MAX_STATUSES):
        buffer.put_status(status_item(number))
    assert len(buffer) == MAX_STATUSES
    taken = [buffer.pop() for _ in range(MAX_STATUSES)]
    assert taken[0] == status_item(0)
    assert taken[-1] == status_item(10 * MAX_STATUSES - 1)
    assert buffer.pop() is None
    buffer.put_status(status_item(1))
    buffer.put_status(status_item(2))
    assert len(buffer) == 2


def test_events_are_never_replaced() -> None:
    buffer = Buffer(lambda: None, lambda call: call())
    for number in range(MAX_STATUSES + 5):
        buffer.put_status(status_item(number))
    event = Item("k3v9-5", Message())
    buffer.put([event])
    buffer.put_status(status_item(1))
    assert event in [buffer.pop() for _ in range(len(buffer))]

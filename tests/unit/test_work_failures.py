import logging
import pickle

import pytest

from clarion.errors import ClarionError
from clarion.work.failures import (
    Cancelled,
    NotCancellable,
    PublicError,
    UnknownWork,
    failure_of,
    new_ref,
    report,
    shown,
)


def test_people_are_told_nothing_of_an_exception_but_a_reference_that_the_log_has(caplog):
    secret = "password=hunter2 at /srv/app/db.py"
    with caplog.at_level(logging.ERROR, "clarion.work"):
        try:
            raise RuntimeError(secret)
        except RuntimeError as error:
            told = report("import:42", error)
    assert told == {"code": "internal", "message": "Something went wrong.", "ref": told["ref"]}
    assert secret not in str(told)
    (record,) = caplog.records
    assert told["ref"] in record.getMessage()
    assert "import:42" in record.getMessage()
    assert secret in caplog.text


def test_a_public_error_is_told_as_it_is(caplog):
    told = report("import:42", PublicError("Row 7 has no date.", code="bad_row"))
    assert told == {"code": "bad_row", "message": "Row 7 has no date.", "ref": told["ref"]}
    assert told["ref"] in caplog.text


def test_a_public_error_has_a_code_of_its_own():
    assert failure_of(PublicError("No."), "r")["code"] == "error"


def test_an_exception_that_only_wraps_a_public_one_is_not_public():
    error = RuntimeError("x")
    error.__cause__ = PublicError("No.")
    assert failure_of(error, "r")["message"] == "Something went wrong."


def test_long_texts_are_cut():
    told = failure_of(PublicError("x" * 5_000, code="y" * 500), "r")
    assert len(told["message"]) == 1_000
    assert len(told["code"]) == 64


def test_references_do_not_repeat():
    assert len({new_ref() for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize(
    "error",
    [PublicError("No.", code="c"), Cancelled("a", "no_viewers"), UnknownWork("a"), NotCancellable("a")],
)
def test_errors_are_clarions_and_go_through_pickle(error):
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, ClarionError)
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_any_object_is_shown_as_text_that_json_can_say():
    assert shown("caf\xe9") == "caf\xe9"
    assert shown(7) == "7"
    assert shown("a\udcffb").encode()

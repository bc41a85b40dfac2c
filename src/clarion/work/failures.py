"""What a work can end in, and what people are told of it. An exception's own text is for the log only."""

from __future__ import annotations

import logging
import secrets
from typing import Any, Final, TypedDict

from clarion.errors import ClarionError

INTERNAL_CODE: Final = "internal"
INTERNAL_TEXT: Final = "Something went wrong."
PUBLIC_CODE: Final = "error"
MAX_CODE_CHARS: Final = 64  # a word for programs
MAX_TEXT_CHARS: Final = 1_000  # some lines for people; a value should not grow by an essay

logger = logging.getLogger("clarion.work")


class Failure(TypedDict):
    """What people are told of a failure. ref: stands in the server's log beside the exception."""

    code: str
    message: str
    ref: str


class PublicError(ClarionError):
    """Raise it in a task or a generation to have `text` shown to the people who watch it.

    code: a word for programs, such as "quota_exceeded".
    """

    def __init__(self, text: str, *, code: str = PUBLIC_CODE) -> None:
        self.text = text
        self.code = code
        super().__init__(text, code)

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[Any, ...]:
        return _public_error, (self.text, self.code)


def _public_error(text: str, code: str) -> PublicError:
    return PublicError(text, code=code)


class Cancelled(ClarionError):
    """Somebody asked the work to stop. Raised inside it, again and again until it ends.

    reason: "asked", "no_viewers" or "shutdown" (see `clarion.work.leases`).
    """

    status = 409

    def __init__(self, work_id: str, reason: str = "asked") -> None:
        self.work_id = work_id
        self.reason = reason
        super().__init__(work_id, reason)

    def __str__(self) -> str:
        return f"{self.work_id!r} was cancelled ({self.reason})"


class UnknownWork(ClarionError, LookupError):
    """No such work is under way, or it is not for who asks: strangers are not told which."""

    status = 404

    def __init__(self, work_id: str) -> None:
        self.work_id = work_id
        super().__init__(work_id)

    def __str__(self) -> str:
        return f"no task or generation {self.work_id!r} is under way"


class NotCancellable(ClarionError):
    """It was begun with `cancellable=False`."""

    status = 409

    def __init__(self, work_id: str) -> None:
        self.work_id = work_id
        super().__init__(work_id)

    def __str__(self) -> str:
        return f"{self.work_id!r} cannot be cancelled"


def new_ref() -> str:
    """A reference for a failure: short enough to read out, too long to meet twice in a log."""
    return secrets.token_hex(5)


def failure_of(error: BaseException, ref: str) -> Failure:
    """What people are told of `error`: the text of a `PublicError`, or that something went wrong."""
    if isinstance(error, PublicError):
        return {"code": shown(error.code)[:MAX_CODE_CHARS], "message": shown(error.text)[:MAX_TEXT_CHARS], "ref": ref}
    return {"code": INTERNAL_CODE, "message": INTERNAL_TEXT, "ref": ref}


def report(work_id: str, error: BaseException) -> Failure:
    """Log `error` with its traceback and a reference, and return what people are told."""
    ref = new_ref()
    logger.error("%s failed (ref %s)", work_id, ref, exc_info=error)
    return failure_of(error, ref)


def shown(text: Any) -> str:
    """Any object as text that JSON can say: file names may hold bytes that are not Unicode."""
    said = str(text)
    return said if said.isascii() else said.encode("utf-8", "replace").decode("utf-8")

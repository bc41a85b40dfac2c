"""What a source takes, and what it makes of it."""

from __future__ import annotations

import inspect
import random as random_module
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict

from clarion.client.places import is_sendable
from clarion.client.policy import MAX_DELAY_MS, Backoff
from clarion.client.received import Refusal
from clarion.client.request import Headers, Question, header_pairs
from clarion.client.stores import CursorStore
from clarion.client.transport import Transport
from clarion.clock import Clock
from clarion.parser import DEFAULT_MAX_EVENT_BYTES

DEFAULT_CONNECT_SECONDS: Final = 30.0  # for a server to begin its answer
DEFAULT_FRAME_SECONDS: Final = 60.0  # proxies cut streams that are silent for so long anyway
DEFAULT_MAX_VALUES_BYTES: Final = 256 * 1024 * 1024  # some thousand large documents, or a million small ones

HeadersSource = Headers | Callable[[], Any] | Callable[[Refusal | None], Any]
TokenSource = str | Callable[[], Any] | Callable[[Refusal | None], Any]
Decode = Literal["json", "text"] | Callable[[str, str], Any]


class SourceOptions(TypedDict, total=False):
    """What `AsyncSource` and `Source` take beside the URL.

    topics: topics and patterns to ask for, sent as `topic`. since: where to begin without a cursor: "live", "earliest",
    "5m", "last:10".
    headers: a mapping or pairs; or a function that gives them, asked before every attempt. token: the same for
    `Authorization: Bearer`. Such a function takes nothing, or one argument: a `Refusal` if the server answered 401 or
    403 (it is asked once more then), else None. Coroutine functions are awaited, others run in a thread.
    method, body: POST if there is a body, which is bytes, text, or else said in JSON.
    last_event_id: resume after this event. cursor: where to keep the place over the end of the program; what it holds
    wins over `last_event_id`. commit_interval_seconds: 0 stores the cursor after each event; more stores it so rarely,
    and after a crash the events of that time come again.
    decode: what becomes an event's `data`: "json", "text", or a function of its type and its text.
    values: whether to hold values. max_event_bytes: a larger event is passed over and reported, and a larger value is
    not held. max_values_bytes: of all values together.
    min_delay_seconds, max_delay_seconds: the bounds of the wait between attempts, though a stream may ask for longer.
    stable_seconds: a stream that was open for so long was no failure. connect_timeout_seconds: for an answer to begin.
    silence_timeout_seconds: after so long without a byte the stream is dead, where it says no interval of its own; None
    for streams that may be silent. frame_timeout_seconds: the same where the first frame was not begun or any was not
    ended, since servers write whole ones; None for those that do not.
    transport: what sends the requests, for example `HttpxTransport(client)`. clock, random: for tests.
    """

    topics: str | Iterable[str]
    since: str | None
    headers: HeadersSource | None
    token: TokenSource | None
    method: str | None
    body: Any
    last_event_id: str
    cursor: CursorStore | None
    commit_interval_seconds: float
    decode: Decode
    values: bool
    max_event_bytes: int
    max_values_bytes: int
    min_delay_seconds: float
    max_delay_seconds: float
    stable_seconds: float
    connect_timeout_seconds: float
    frame_timeout_seconds: float | None
    silence_timeout_seconds: float | None
    transport: Transport | None
    clock: Clock | None
    random: Callable[[], float]


@dataclass(frozen=True)
class Settings:
    """The options, checked and filled up. Times in milliseconds."""

    question: Question
    headers: HeadersSource | None
    token: TokenSource | None
    last_event_id: str
    cursor: CursorStore | None
    commit_interval_ms: int
    decode: Decode
    values: bool
    max_event_bytes: int
    max_values_bytes: int
    backoff: Backoff
    connect_timeout_ms: int
    frame_ms: int | None
    silence_ms: int | None
    transport: Transport | None
    clock: Clock | None
    random: Callable[[], float]


def settings_of(url: str, options: SourceOptions) -> Settings:
    """Check what a source is given. Raises `ValueError`, `TypeError`, `InvalidTopic` or `RequestImpossible`."""
    unknown = options.keys() - SourceOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"a source has no option {', '.join(sorted(unknown))}")
    topics = options.get("topics", ())
    headers, token = options.get("headers"), options.get("token")
    if headers is not None and not callable(headers):
        headers = header_pairs(headers)  # checked now, and an iterator is read only once
    last_event_id = options.get("last_event_id", "")
    if not is_sendable(last_event_id):
        raise ValueError("last_event_id is too long, or has control characters")
    decode = options.get("decode", "json")
    if decode not in ("json", "text") and not callable(decode):
        raise ValueError("decode must be 'json', 'text', or a function of an event's type and text")
    max_event_bytes = options.get("max_event_bytes", DEFAULT_MAX_EVENT_BYTES)
    if max_event_bytes < 1:
        raise ValueError(f"max_event_bytes must be at least 1, not {max_event_bytes}")
    return Settings(
        question=Question(
            url,
            [topics] if isinstance(topics, str) else list(topics),
            options.get("since"),
            options.get("method"),
            options.get("body"),
        ),
        headers=headers,
        token=token,
        last_event_id=last_event_id,
        cursor=options.get("cursor"),
        commit_interval_ms=_milliseconds("commit_interval_seconds", options.get("commit_interval_seconds", 0)),
        decode=decode,
        values=options.get("values", True),
        max_event_bytes=max_event_bytes,
        max_values_bytes=options.get("max_values_bytes", DEFAULT_MAX_VALUES_BYTES),
        backoff=Backoff(
            _milliseconds("min_delay_seconds", options.get("min_delay_seconds", Backoff().min_ms / 1000)),
            _milliseconds("max_delay_seconds", options.get("max_delay_seconds", Backoff().cap_ms / 1000)),
            _milliseconds("stable_seconds", options.get("stable_seconds", Backoff().stable_ms / 1000)),
        ),
        connect_timeout_ms=_milliseconds(
            "connect_timeout_seconds", options.get("connect_timeout_seconds", DEFAULT_CONNECT_SECONDS)
        ),
        frame_ms=_milliseconds_or_none(
            "frame_timeout_seconds", options.get("frame_timeout_seconds", DEFAULT_FRAME_SECONDS)
        ),
        silence_ms=_milliseconds_or_none("silence_timeout_seconds", options.get("silence_timeout_seconds")),
        transport=options.get("transport"),
        clock=options.get("clock"),
        random=options.get("random", random_module.random),
    )


async def asked(function: Callable[..., Any], refusal: Refusal | None, in_thread: Callable[..., Awaitable[Any]]) -> Any:
    """What a caller's function for headers or a token gives."""
    arguments = (refusal,) if _takes_one(function) else ()
    if inspect.iscoroutinefunction(function):
        return await function(*arguments)
    given = await in_thread(function, *arguments)
    return await given if inspect.isawaitable(given) else given


def _takes_one(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError):  # it takes none, or does not say
        return False
    return True


def _milliseconds_or_none(name: str, seconds: float | None) -> int | None:
    return None if seconds is None else _milliseconds(name, seconds)


def _milliseconds(name: str, seconds: float) -> int:
    if not 0 <= seconds * 1000 <= MAX_DELAY_MS:  # not for NaN either
        raise ValueError(f"{name} must be from 0 to {MAX_DELAY_MS / 1000:.0f} seconds, not {seconds}")
    return round(seconds * 1000)

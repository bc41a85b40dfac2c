"""What is asked for: the request of an attempt, and where a redirect leads it. Without I/O."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast
from urllib.parse import SplitResult, unquote, urlencode, urljoin, urlsplit

from clarion import json
from clarion.client.errors import RequestImpossible
from clarion.topics import check_pattern

MAX_REDIRECTS: Final = 20  # as fetch

Text = str | bytes
Headers = Mapping[str, str] | Iterable[tuple[Text, Text]]
HeaderPairs = tuple[tuple[bytes, bytes], ...]

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, "token"
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_IN_URL = re.compile("[\x00-\x20\x7f]")
_OF_BODY: Final = frozenset({b"content-encoding", b"content-language", b"content-location", b"content-type"})
_DEFAULTS: Final = (
    (b"accept", b"text/event-stream"),
    (b"accept-encoding", b"identity"),  # a compressed stream may be held back on its way
    (b"cache-control", b"no-store"),
)
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are in lower case.

    own: the names of headers that the caller gave, which are for the origin that it gave them for.
    """

    method: str
    url: str
    headers: HeaderPairs
    body: bytes | None = None
    own: frozenset[bytes] = field(default_factory=frozenset)

    def header(self, name: str) -> bytes | None:
        """The value of a header, None if it is not there."""
        wanted = name.encode()
        return next((value for found, value in self.headers if found == wanted), None)


@dataclass
class Question:
    """What a source asks again and again; the topics may change between two attempts.

    body: bytes and text go as they are, anything else as JSON. method: POST if there is a body, else GET.
    Raises `ValueError` for a URL that is none, and `InvalidTopic`.
    """

    url: str
    topics: list[str]
    since: str | None = None
    method: str | None = None
    body: Any = None

    def __post_init__(self) -> None:
        parts = split_url(self.url)
        self.topics = [check_pattern(topic) for topic in self.topics]
        host = parts.netloc.rpartition("@")[2]
        self._base = parts._replace(netloc=host, fragment="").geturl()
        self._basic: HeaderPairs = ()
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._basic = ((b"authorization", b"Basic " + b64encode(pair.encode())),)
        self._kind: HeaderPairs = ()
        self._body = self.body
        if isinstance(self.body, str):
            self._body = self.body.encode()
        elif self.body is not None and not isinstance(self.body, bytes):
            self._body, self._kind = json.encode(self.body), ((b"content-type", b"application/json"),)
        self._method = (self.method or ("GET" if self.body is None else "POST")).upper()
        if not _NAME.fullmatch(self._method.encode()):
            raise ValueError("method must be an HTTP method, such as GET or POST")

    def request(self, headers: Iterable[tuple[bytes, bytes]], last_event_id: str) -> Request:
        """The next request. headers: of this attempt; they win over all but the last event id."""
        own = list(headers)
        if all(name != b"authorization" for name, _ in own):
            own += self._basic
        if last_event_id:
            own = [pair for pair in own if pair[0] != b"last-event-id"]
        names = frozenset(name for name, _ in own)
        pairs = [pair for pair in (*_DEFAULTS, *self._kind) if pair[0] not in names] + own
        if last_event_id:
            pairs.append((b"last-event-id", last_event_id.encode()))
        return Request(self._method, self._url(), tuple(pairs), self._body, names)

    def _url(self) -> str:
        chosen = [("topic", topic) for topic in self.topics]
        if self.since is not None:
            chosen.append(("since", self.since))
        if not chosen:
            return self._base
        parts = urlsplit(self._base)
        return parts._replace(query="&".join(filter(None, (parts.query, urlencode(chosen))))).geturl()


def split_url(url: str) -> SplitResult:
    """The parts of a web address. Raises `ValueError`, without the address: it may hold a password."""
    if _IN_URL.search(url):
        raise ValueError("the URL has spaces or control characters")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("the URL must begin with http:// or https:// and a host")
    parts.port  # noqa: B018 - raises ValueError for a port that is none
    return parts


def header_pairs(headers: Headers | None) -> HeaderPairs:
    """Headers as they are sent, names in lower case. Raises `RequestImpossible`, without their values."""
    if headers is None:
        return ()
    pairs: list[tuple[bytes, bytes]] = []
    try:
        for name, value in _listed(headers):
            pairs.append((_as_bytes(name).lower(), _as_bytes(value).strip(b" \t")))
    except (TypeError, ValueError):
        raise RequestImpossible("headers must be a mapping, or pairs, of texts") from None
    for name, value in pairs:
        if not _NAME.fullmatch(name):
            raise RequestImpossible("a header's name must be a token, such as X-Name")
        if not _VALUE.fullmatch(value):
            raise RequestImpossible(f"the value of the header {name.decode()} has control characters")
    return tuple(pairs)


def _listed(headers: Headers) -> Iterable[tuple[Text, Text]]:
    if isinstance(headers, Mapping):
        return cast("Mapping[str, str]", headers).items()
    return headers


def bearer(token: str) -> HeaderPairs:
    """The header that says a token."""
    if not isinstance(token, str):
        raise RequestImpossible(f"a token must be text, not {type(token).__name__}")
    return header_pairs({"authorization": f"Bearer {token}"})


def redirected(request: Request, status: int, location: str) -> Request | None:
    """Where a redirect leads, as fetch does it (its section "HTTP-redirect fetch"). None if it leads nowhere.

    The caller's headers do not go to another origin, except from http to https of the same host. `Last-Event-ID` does.
    """
    if _IN_URL.search(location.strip(" ")):
        return None
    try:
        url = urljoin(request.url, location.strip(" "))
        parts, before = split_url(url), split_url(request.url)
    except ValueError:
        return None
    if parts.username is not None:  # credentials of somebody else's choice
        return None
    headers, method, body = request.headers, request.method, request.body
    if (status in (301, 302) and method == "POST") or (status == 303 and method not in ("GET", "HEAD")):
        method, body = "GET", None
        headers = tuple(pair for pair in headers if pair[0] not in _OF_BODY)
    own = request.own
    if not _may_have(before, parts):
        headers, own = tuple(pair for pair in headers if pair[0] not in own), frozenset()
    return replace(
        request, method=method, url=parts._replace(fragment="").geturl(), headers=headers, body=body, own=own
    )


def _may_have(before: SplitResult, parts: SplitResult) -> bool:
    """Whether what was for one origin is also for another: it is the same, or the same host made safe."""
    if before.hostname != parts.hostname:
        return False
    if (before.scheme, _port(before)) == (parts.scheme, _port(parts)):
        return True
    return (before.scheme, _port(before), parts.scheme, _port(parts)) == ("http", 80, "https", 443)


def _port(parts: SplitResult) -> int:
    return _PORTS[parts.scheme] if parts.port is None else parts.port


def _as_bytes(text: Text) -> bytes:
    if not isinstance(text, str | bytes):
        raise TypeError("not text")
    return text if isinstance(text, bytes) else text.encode()

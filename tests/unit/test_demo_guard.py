"""The door in front of the demo: what it lets in."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from clarion.demo.guard import refuse, refuse_host

JSON = {"content-type": "application/json", "content-length": "2", "host": "localhost:8000"}


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, None),
        ({"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}, None),
        ({"content-type": "Application/JSON; charset=utf-8"}, None),
        ({"origin": "http://localhost:8001"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-length": ""}, 411),
        ({"content-length": "-1"}, 411),
        ({"content-length": "16385"}, 413),
        ({"content-length": "9" * 5000}, 413),
    ],
)
def test_post_at_the_door(more: dict[str, str], status: int | None) -> None:
    refusal = refuse("POST", Headers({**JSON, **more}))
    assert (refusal and refusal[0]) == status
    assert refuse("GET", Headers(more)) is None


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "[::1]:8000", "127.0.0.1:1"])
def test_own_names_are_answered(host: str) -> None:
    assert refuse_host(host, {"localhost", "127.0.0.1", "::1"}) is None


@pytest.mark.parametrize("host", ["", "evil.example", "localhost.evil.example", "[", "localhost@evil.example"])
def test_other_names_are_not_answered(host: str) -> None:
    assert refuse_host(host, {"localhost", "127.0.0.1", "::1"}) is not None
    assert refuse_host(host, {"*"}) is None

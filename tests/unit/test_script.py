"""The client for pages, as the hub serves it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Route

import clarion
from clarion import Hub
from clarion.script import ClientScript

BUILT = (Path(clarion.__file__).parent / "static" / "clarion.js").read_bytes()


@pytest.fixture(params=["router", "prefix", "starlette"])
def served(request: pytest.FixtureRequest) -> tuple[httpx.AsyncClient, str]:
    hub = Hub()
    app: FastAPI | Starlette = FastAPI()
    if isinstance(app, FastAPI) and request.param != "starlette":
        app.include_router(hub.router(), prefix="/live" if request.param == "prefix" else "")
    else:
        app = Starlette(routes=[Route("/clarion.js", ClientScript())])
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")
    return client, "/live/clarion.js" if request.param == "prefix" else "/clarion.js"


async def test_pages_get_the_built_client(served: tuple[httpx.AsyncClient, str]) -> None:
    client, path = served
    answer = await client.get(path)
    assert (answer.status_code, answer.content) == (200, BUILT)
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-length"] == str(len(BUILT))
    assert b"createSource" in answer.content


async def test_head_says_the_same_without_it(served: tuple[httpx.AsyncClient, str]) -> None:
    client, path = served
    head, whole = await client.head(path), await client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == whole.headers


@pytest.mark.parametrize("said", ["{}", "W/{}", '"other", {}', '"other",W/{}', "*"])
async def test_who_has_it_is_told_so(served: tuple[httpx.AsyncClient, str], said: str) -> None:
    client, path = served
    etag = (await client.get(path)).headers["etag"]
    answer = await client.get(path, headers={"if-none-match": said.format(etag)})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == etag
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("said", ['"other"', '"', "", "W/", '"*"', "other, W/other"])
async def test_who_has_another_gets_it(served: tuple[httpx.AsyncClient, str], said: str) -> None:
    client, path = served
    assert (await client.get(path, headers={"if-none-match": said})).status_code == 200


async def test_nothing_can_be_done_to_it(served: tuple[httpx.AsyncClient, str]) -> None:
    client, path = served
    answer = await client.post(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_the_etag_is_that_of_the_content(served: tuple[httpx.AsyncClient, str]) -> None:
    client, path = served
    etag = (await client.get(path)).headers["etag"]
    assert etag == f'"{hashlib.sha256(BUILT).hexdigest()[:32]}"'


def test_it_stays_out_of_the_description() -> None:
    app = FastAPI()
    app.include_router(Hub().router())
    assert "/clarion.js" not in app.openapi()["paths"]

"""The built TypeScript package outside of browsers, against real hubs: its ledger is the hub's, or a gap is told."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from fastapi import FastAPI, HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from clarion import Hub
from clarion.values import MISSING
from tests.integration.faulty_proxy import FaultyProxy
from tests.integration.servers import Server, publish_in_bursts
from tests.integration.serving import served
from tests.integration.test_client_faults import LOSSLESS, SPEED, TOLD_AGAIN, Ledger, proxies
from tests.integration.test_client_values import SINKS, TOPICS, Truth, app_of
from tests.typescript import Built, Program

LEDGER: Final = Path(__file__).with_name("ledger.mjs")


class Readers:
    """Sources in one process, and what they were given. errors: all codes that were reported."""

    def __init__(
        self,
        built: Built,
        *sources: dict[str, Any],
        truth: Truth | None = None,
        speed: float = SPEED,
        runtime: str = "node",
    ) -> None:
        self.ledgers = [Ledger() for _ in sources]
        self.values: list[dict[str, Any]] = [{} for _ in sources]
        self.gaps: list[list[Any]] = [[] for _ in sources]
        self.reasons: list[list[str]] = [[] for _ in sources]
        self.asked: list[list[int | None]] = [[] for _ in sources]
        self.errors: list[str] = []
        self._truth = truth
        wanted = json.dumps({"speed": speed, "sources": sources})
        self.program = Program(built, built.program(LEDGER), wanted, hear=self._hear, runtime=runtime)

    def _hear(self, said: dict[str, Any]) -> None:
        number = said["source"]
        if "gap" in said:
            self.ledgers[number].lines.append(None)
            self.gaps[number].append(said["gap"])
        elif "event" in said and not said["change"]:
            data = said["data"]
            self.ledgers[number].lines.append(data if isinstance(data, int) else int(data.partition(":")[0]))
        elif "value" in said:
            topic, value = said["value"], said.get("is", MISSING)
            assert self._truth is None or value in self._truth.states[topic], f"{topic} never was {value!r}"
            self.values[number][topic] = value
        elif "error" in said:
            self.errors.append(said["error"])
        elif "asked" in said:
            self.asked[number].append(said["asked"])
        elif "reason" in said:
            self.reasons[number].append(said["reason"])

    def all_have(self, number: int) -> bool:
        return all(ledger.lines and ledger.lines[-1] == number for ledger in self.ledgers)


def sources_of(ways: list[FaultyProxy], path: str = "/events?since=earliest", **more: Any) -> list[dict[str, Any]]:
    return [{"url": f"http://127.0.0.1:{way.port}{path}", "seed": way.seed, **more} for way in ways]


@pytest.mark.parametrize(
    ("kind", "runtime"), [("uvicorn", "node"), ("protocol", "node"), ("protocol", "deno"), ("protocol", "bun")]
)
async def test_every_event_once_and_in_order_whatever_the_network_does(
    kind: str, runtime: str, tmp_path: Path, typescript: Built
) -> None:
    count, seeds = 60, range(400, 420)
    with Server(tmp_path, kind) as server, proxies(server, seeds, faults=TOLD_AGAIN, mean_bytes=2_500) as ways:
        readers = Readers(typescript, *sources_of(ways), runtime=runtime)
        async with readers.program as program:
            await asyncio.to_thread(publish_in_bursts, server, count, 7, 0.05)
            await program.until(lambda: readers.all_have(count - 1))
        for ledger in readers.ledgers:
            assert ledger.lines == list(range(count))
        assert sum(way.connections for way in ways) > 6 * len(seeds)
        assert {fault for way in ways for fault in way.seen} == set(TOLD_AGAIN)
        assert readers.errors == []


async def test_where_an_id_is_lost_on_the_way_a_gap_is_told(tmp_path: Path, typescript: Built) -> None:
    count, seeds = 200, range(440, 452)
    faults = ("cut", "reset", "lost-id", "lost-id")
    with (
        Server(tmp_path, "uvicorn") as server,
        proxies(server, seeds, faults=faults, mean_bytes=2_500) as ways,
    ):
        readers = Readers(typescript, *sources_of(ways, "/events"))
        async with readers.program as program:
            server.publish(first=0)  # before anybody comes: each begins with a `live` of its own
            await asyncio.to_thread(publish_in_bursts, server, count - 1, 7, 0.1)
            for way in ways:
                way.calm()

            async def say_the_last_again() -> None:
                # Whoever comes late begins late: the last one is for those, too.
                while not readers.all_have(count - 1):
                    server.publish(first=count - 1)
                    await asyncio.sleep(0.2)

            await asyncio.gather(say_the_last_again(), program.until(lambda: readers.all_have(count - 1)))
        for ledger in readers.ledgers:
            begun = Ledger()
            end = ledger.lines.index(count - 1) + 1  # others may have been told the last one again
            begun.lines = [None, *ledger.lines[:end]]  # where it begins is nobody's promise
            begun.check(count)
        assert {gap["reason"] for gaps in readers.gaps for gap in gaps} == {"unasked"}


@pytest.mark.parametrize("sink", SINKS)
async def test_values_over_cuts_are_those_of_the_hub(sink: str, typescript: Built) -> None:
    async with Hub() as hub, served(app_of(hub), **SINKS[sink]) as url:
        truth, port = Truth(hub, 6), int(url.rpartition(":")[2])
        with ExitStack() as stack:
            ways = [stack.enter_context(FaultyProxy(port, seed, faults=LOSSLESS)) for seed in range(500, 508)]
            wanted = sources_of(ways, topics=["a", "b/*"], values=TOPICS)
            readers = Readers(typescript, *wanted, truth=truth)
            async with readers.program as program:
                for _ in range(150):
                    await truth.change()
                    await asyncio.sleep(0.01)

                def all_are_complete() -> bool:
                    now = {topic: states[-1] for topic, states in truth.states.items()}
                    everything = list(range(truth.published))
                    return all(values == now for values in readers.values) and all(
                        ledger.lines == everything for ledger in readers.ledgers
                    )

                await program.until(all_are_complete)
            assert readers.errors == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_server_that_ends_and_is_started_again_on_its_journal(
    number: signal.Signals, tmp_path: Path, typescript: Built
) -> None:
    """A crash, and a deploy: then the hub says bye, and the client waits as told."""
    journal, count = f"sqlite:///{tmp_path / 'events.db'}", 80
    with ExitStack() as stack:
        server = stack.enter_context(Server(tmp_path, "protocol", journal=journal))
        way = stack.enter_context(FaultyProxy(server.port, faults=()))
        readers = Readers(typescript, *sources_of([way] * 3))
        async with readers.program as program:
            for start in range(0, count, 40):
                await asyncio.to_thread(server.publish, times=20, first=start)
                if number is signal.SIGTERM:
                    last = start + 19
                    await program.until(lambda last=last: readers.all_have(last))
                server.tell_group(number)
                await asyncio.to_thread(server.wait)
                server = await asyncio.to_thread(Server, tmp_path, "protocol", journal=journal)
                stack.enter_context(server)
                way.target_port = server.port
                await asyncio.to_thread(server.publish, times=20, first=start + 20)
            await program.until(lambda: readers.all_have(count - 1))
    for ledger, reasons in zip(readers.ledgers, readers.reasons, strict=True):
        assert ledger.lines == list(range(count))
        assert ("drain" in reasons) is (number is signal.SIGTERM)


async def test_a_journal_in_memory_that_is_gone_is_a_gap(tmp_path: Path, typescript: Built) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(Server(tmp_path, "uvicorn"))
        way = stack.enter_context(FaultyProxy(server.port, faults=()))
        readers = Readers(typescript, *sources_of([way]))
        async with readers.program as program:
            await asyncio.to_thread(server.publish, times=20)
            await program.until(lambda: readers.all_have(19))
            server.tell_group(signal.SIGKILL)
            await asyncio.to_thread(server.wait)
            server = await asyncio.to_thread(Server, tmp_path, "uvicorn")
            stack.enter_context(server)
            way.target_port = server.port
            await program.until(lambda: readers.gaps[0])
            await asyncio.to_thread(server.publish, times=20, first=20)
            await program.until(lambda: readers.all_have(39))
    assert readers.ledgers[0].lines == [*range(20), None, *range(20, 40)]
    assert [gap["reason"] for gap in readers.gaps[0]] == ["epoch"]


class Door:
    """An app whose tokens are changed now and then; the old one is not taken any more."""

    def __init__(self, hub: Hub) -> None:
        self.token = "t0"
        self.presented: list[str] = []
        self.app = FastAPI()
        self.app.get("/token")(self._give)
        self.app.include_router(hub.router(current_user=self._who, topics="news"))

    async def _give(self) -> PlainTextResponse:
        return PlainTextResponse(self.token)

    async def _who(self, request: Request) -> str:
        self.presented.append(request.headers.get("authorization", ""))
        if self.presented[-1] != f"Bearer {self.token}":
            raise HTTPException(401)
        return "ann"


async def test_a_token_that_is_old_is_refreshed_and_no_event_lost(typescript: Built) -> None:
    async with Hub() as hub:
        door = Door(hub)
        async with served(door.app) as url:
            with FaultyProxy(int(url.rpartition(":")[2]), faults=()) as way:
                wanted = {"token": f"{url}/token"}
                readers = Readers(typescript, *sources_of([way], "/events", **wanted), speed=5)
                async with readers.program as program:
                    await program.until(lambda: "open" in {said.get("state") for said in program.said})
                    for number in range(4):
                        await program.until(lambda: hub.client_count == 1)
                        await hub.publish("news", number * 2)
                        last = number * 2
                        await program.until(lambda last=last: readers.all_have(last))
                        door.token = f"t{number + 1}"
                        way.cut()
                        await hub.publish("news", number * 2 + 1)
                    await program.until(lambda: readers.all_have(7))
    assert readers.ledgers[0].lines == list(range(8))
    assert readers.asked[0] == [None, *[None, 401] * 4]
    assert door.presented == [f"Bearer t{number}" for number in (0, 0, 1, 1, 2, 2, 3, 3, 4)]
    assert readers.errors == []


def app_with_everything(hub: Hub) -> FastAPI:
    """What scripts/against-hub.mjs asks for."""

    async def who(request: Request) -> str:
        if request.headers.get("authorization") != "Bearer good":
            raise HTTPException(401)
        return "ann"

    app = FastAPI()
    everything: dict[str, Any] = {"can_subscribe": lambda user, topic: True, "can_publish": lambda user, topic: True}
    app.include_router(hub.router(current_user=who, **everything))

    @app.post("/values/{what}")
    async def change(what: str, said: dict[str, Any]) -> None:
        changes = {"set": hub.set, "append": hub.append, "merge": hub.merge}
        if what == "delete":
            await hub.delete(said["topic"])
        else:
            await changes[what](said["topic"], said["data"])

    return app


@pytest.mark.parametrize("sink", SINKS)
async def test_all_of_the_package_against_a_hub(sink: str, typescript: Built) -> None:
    """Reading, publishing and values: the package's own script says what should be."""
    script = typescript.package / "scripts" / "against-hub.mjs"
    async with Hub() as hub, served(app_with_everything(hub), **SINKS[sink]) as url:
        process = await asyncio.create_subprocess_exec(
            "node", str(script), url,
            env=typescript.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(40):
            said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert said.decode() == "all as it should be\n"

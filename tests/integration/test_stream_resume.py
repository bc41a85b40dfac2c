"""Resuming: every event once and in order, or a gap that says exactly what is missing. Through both sinks."""

from __future__ import annotations

import asyncio
import json
import random
import resource
from pathlib import Path
from typing import Any

import pytest

from clarion import Hub
from clarion.retention import Retention
from tests.integration.in_process import request, stream
from tests.integration.servers import Reader, Server, number_of, wait_until
from tests.integration.test_limits_answers import App

SINKS = ["uvicorn", "protocol"]


@pytest.mark.parametrize("kind", SINKS)
@pytest.mark.parametrize("journal", ["memory", "sqlite"])
def test_drops_and_resumes(kind: str, journal: str, tmp_path: Path) -> None:
    """A reader that is cut off anywhere, again and again, while others publish."""
    chance = random.Random(11)
    url = "memory://" if journal == "memory" else f"sqlite:///{tmp_path / 'events.db'}"
    with Server(tmp_path, kind, journal=url) as server:
        got: list[int] = []
        reader = Reader(server)
        reader.connected()
        published = 0
        while published < 1_500:
            times = chance.randrange(1, 120)
            server.publish(body="x" * chance.choice([1, 100, 3_000]), times=times, first=published)
            published += times
            unread = published - len(got)
            got += reader.numbers(unread - chance.choice([0, 1, min(2, unread), unread // 2, unread]))
            if chance.random() < 0.6:
                reader.close()
                reader = Reader(server, last_event_id=reader.last_event_id)
                said = reader.connected()
                assert said["mode"] == "resumed"
        got += reader.numbers(published - len(got))
        assert got == list(range(published))
        assert "Traceback" not in server.log


@pytest.mark.parametrize("kind", SINKS)
def test_resumes_from_before_the_log(kind: str, tmp_path: Path) -> None:
    """More than a process keeps in memory: the first part comes in pages from the journal."""
    journal = f"sqlite:///{tmp_path / 'events.db'}"
    with Server(tmp_path, kind, journal=journal) as server:
        reader = Reader(server)
        start = reader.connected()["from"]
        reader.close()
        for first in range(0, 450, 50):
            server.publish(body="x" * 50_000, times=50, first=first)  # 22 MB; the log has 16
        live = Reader(server)
        live.connected()
        again = Reader(server, last_event_id=start)
        assert again.connected()["mode"] == "resumed"
        assert again.numbers(450) == list(range(450))
        server.publish(first=450)
        assert again.numbers(1) == live.numbers(1) == [450]


async def test_an_expired_gap_is_exact(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'events.db'}"
    retention = Retention(max_count=10)
    async with Hub(url, retention=retention) as hub:
        ids = [(await hub.publish("news", n)).id for n in range(50)]
        await hub.publish("other", "not theirs")
        await _until_trimmed(hub)
    async with Hub(url, retention=retention) as hub:
        async with stream(App(hub), headers=[(b"last-event-id", ids[4].encode())]) as reader:
            said = await reader.connected()
            assert (said["mode"], said["from"]) == ("gap", ids[4])
            gap = await reader.next()
            assert gap is not None
            assert gap.type == "gap"
            told = json.loads(gap.data)
            await hub.publish("news", 50)
            kept = [json.loads((await reader.next() or gap).data) for _ in range(50 - told["missed"] - 5 + 1)]
            assert kept == list(range(5 + told["missed"], 51))
            assert (told["reason"], told["requested"]) == ("expired", ids[4])
            assert told["oldest"] == ids[kept[0]]
        async with stream(App(hub), headers=[(b"last-event-id", ids[48].encode())]) as reader:
            assert (await reader.connected())["mode"] == "resumed"
        async with stream(App(hub, topics=["quiet"]), headers=[(b"last-event-id", ids[4].encode())]) as reader:
            assert (await reader.connected())["mode"] == "resumed"  # nothing of its topics is missing


async def _until_trimmed(hub: Hub) -> None:
    async with asyncio.timeout(20):
        while (await hub.journal.bounds()).oldest <= 10:  # noqa: ASYNC110 - nothing tells when retention has worked
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", SINKS)
def test_a_memory_hub_that_began_anew(kind: str, tmp_path: Path) -> None:
    with Server(tmp_path, kind) as server:
        first = Reader(server)
        first.connected()
        server.publish(times=3)
        first.numbers(3)
    again = tmp_path / "again"
    again.mkdir()
    with Server(again, kind) as server:
        server.publish(times=2, first=10)
        reader = Reader(server, last_event_id=first.last_event_id)
        said = reader.connected()
        assert said["mode"] == "gap"
        gap = json.loads(reader.next().data)
        assert (gap["reason"], gap["requested"], gap["missed"]) == ("epoch", first.last_event_id, None)
        assert reader.numbers(2) == [10, 11]


@pytest.mark.parametrize("kind", SINKS)
def test_heartbeats_carry_the_cursor(kind: str, tmp_path: Path) -> None:
    """A reader of a quiet topic, gone and back after everything that was kept at its last event is lost."""
    journal = f"sqlite:///{tmp_path / 'events.db'}"
    with Server(tmp_path, kind, journal=journal, retention={"max_count": 5}) as server:
        reader = Reader(server, "/events?heartbeat_seconds=0.1")
        start = reader.connected()
        assert start["heartbeat"] == 100
        newest = server.publish("other", times=60)
        while (beat := reader.next(heartbeats=True)).last_event_id != newest:
            assert beat.type == "heartbeat"
        assert json.loads(beat.data)["timestamp"] > 1.7e12
        reader.close()
        server.publish("other", times=3)
        again = Reader(server, last_event_id=reader.last_event_id)
        assert again.connected()["mode"] == "resumed"
        server.publish()
        assert again.numbers(1) == [0]


@pytest.mark.parametrize("kind", SINKS)
def test_busy_streams_get_no_heartbeats(kind: str, tmp_path: Path) -> None:
    with Server(tmp_path, kind) as server:
        reader = Reader(server, "/events?heartbeat_seconds=3")
        reader.connected()
        for n in range(40):
            server.publish(first=n)
            assert reader.next(heartbeats=True).type == "message"


@pytest.mark.parametrize(("kind", "count"), [("protocol", 1_000), ("uvicorn", 300)])
def test_a_thousand_come_back_at_once(kind: str, count: int, tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Server(tmp_path, kind, "--backlog", "2048") as server:
        readers = [Reader(server) for _ in range(count)]
        for reader in readers:
            reader.connected()
        server.publish(times=30)
        for index, reader in enumerate(readers):
            assert reader.numbers(index % 30) == list(range(index % 30))  # each has read to somewhere else
        for reader in readers:
            reader.close()
        server.publish(times=20, first=30)
        again = [Reader(server, last_event_id=reader.last_event_id) for reader in readers]
        server.publish(times=10, first=50)  # while they come
        for index, reader in enumerate(again):
            assert reader.connected()["mode"] == "resumed"
            assert reader.numbers(60 - index % 30) == list(range(index % 30, 60))
        server.wait_for_clients(count)
        wait_until(lambda: len(server.gone) == count, "the first ones are counted out")
        server.publish(first=60)
        assert {number_of(reader.next()) for reader in again} == {60}
        assert "Traceback" not in server.log


@pytest.mark.parametrize("kind", SINKS)
def test_ends_on_purpose(kind: str, tmp_path: Path) -> None:
    with Server(tmp_path, kind) as server:
        expiring = Reader(server, "/events?expires_in=0.5")
        limited = Reader(server, "/events?max_age_seconds=0.5")
        ann = [Reader(server, "/events?user=ann") for _ in range(2)]
        ben = Reader(server, "/events?user=ben")
        for reader in (expiring, limited, *ann, ben):
            reader.connected()
        server.post("/tell/ann", "for ann")
        server.publish(times=2)
        assert expiring.bye()["reason"] == "expired"
        assert limited.bye()["reason"] == "limit"
        assert Reader(server, last_event_id=limited.last_event_id).connected()["mode"] == "resumed"
        for reader in ann:
            assert json.loads(reader.next().data) == "for ann"
            assert reader.numbers(2) == [0, 1]
        assert ben.numbers(2) == [0, 1]
        server.post("/kick", user="ann", reason="done")
        for reader in ann:
            bye = reader.bye()
            assert bye["reason"] == "done"
            assert bye["last_event_id"].endswith(".done")
            assert Reader(server, "/events?user=ann", last_event_id=bye["last_event_id"]).head().status == 204
        server.publish(first=2)
        assert ben.numbers(1) == [2]
        stolen = Reader(server, "/events?topic=**&user=ben", last_event_id=ann[0].last_event_id.removesuffix(".done"))
        stolen.connected()
        assert stolen.numbers(1) == [2]


async def test_done_comes_after_everything_said_before() -> None:
    async with Hub() as hub:
        start = (await hub.publish("news", "start")).id
        for n in range(3_000):
            await hub.publish("news", n)
        late = request(App(hub, user="ann"), headers=[(b"last-event-id", start.encode())])
        await late.connected()
        await hub.kick(user="ann", reason="done")
        messages = await late.until("bye")
        assert [json.loads(message.data) for message in messages[:-1]] == list(range(3_000))
        await late.end()


async def test_ids_of_others_give_only_own_topics() -> None:
    async with Hub() as hub:
        start = (await hub.publish("news", 0)).id
        await hub.send_to_user("ann", "secret")
        private = (await hub.publish("private", "secret")).id
        await hub.publish("news", 1)

        async def first_after(presented: str, **options: Any) -> str:
            async with stream(App(hub, **options), headers=[(b"last-event-id", presented.encode())]) as reader:
                await reader.connected()
                message = await reader.next()
                assert message is not None
                return message.data

        assert await first_after(start, user="ben") == "1"
        assert await first_after(private, user="ben") == "1"
        assert await first_after(start, user="ann") == '"secret"'
        assert await first_after(start, topics=["**"]) == '"secret"'  # of "private": a topic that it may have

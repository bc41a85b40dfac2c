"""A model of a hub, and a network that cuts at any byte, stalls, delays, repeats, refuses and loses headers.

Whatever happens, a source gives every event once and in order, or a gap is told; each value that it holds is one that
the topic had, and at the end it is the hub's. Everything that happens comes from a seed, and time is made up.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest

from clarion.client import AsyncSource, MemoryCursor, ReceivedEvent, Refusal, TransportFailed
from clarion.client.places import place_of
from clarion.testing import ManualClock
from clarion.values import MISSING
from tests.model.client_hub import TOPICS, ModelHub, Stream
from tests.model.client_wire import Answer, Wire

RUNS: Final = int(os.environ.get("CLARION_CLIENT_RUNS", "2000"))
SHARDS: Final = 4  # for as many cores
TOGETHER: Final = 50  # runs in one loop: they share its turns, and nothing else
STEPS: Final = 60
QUIET_TURNS: Final = 25
CALM_STEPS: Final = 2_000
Line = tuple[str, int] | None  # an event's epoch and offset; None for a gap


class Run:
    """One source, one hub, one network, and what comes of them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.hub = ModelHub()
        self.clock = ManualClock()
        self.network = Wire()
        self.cursor = MemoryCursor()
        self.ledger: list[Line] = []
        self.errors: list[Exception] = []
        self.refused: list[int | None] = []
        self.lost_ids = 0
        # A hub that is asked with an older id folds what the client has with what it has not.
        self.folds = self.random.random() < 0.5
        self._answer: Answer | None = None  # the stream that is open, as far as the network knows
        self._stream: Stream | None = None
        self._since: list[Answer] = []  # streams, since the last 401
        self._asked: list[str] = []
        self._tokens = 0
        self._hand = asyncio.Event()  # the user of the source has a hand free
        self._hand.set()

    async def open(self) -> None:
        self.source = AsyncSource(
            "http://hub.test/",
            transport=self.network,
            clock=self.clock,
            cursor=self.cursor,
            token=self._token,
            random=self.random.random,
            max_delay_seconds=5,
        )
        self.source.on_error(self.errors.append)
        await self.source.open()
        self._reading = asyncio.ensure_future(self._read())

    async def _token(self, refusal: Refusal | None) -> str:
        self.refused.append(None if refusal is None else refusal.status_code)
        self._tokens += 1
        return str(self._tokens)

    async def _read(self) -> None:
        while True:
            event = await anext(self.source)
            await self._hand.wait()
            # Who is stopped before here gets the event again, in the next process.
            self._enter(event)

    def _enter(self, event: ReceivedEvent) -> None:
        if event.change is not None:
            assert event.topic is not None
            value = self.source.value(event.topic, MISSING)
            assert value in self.hub.had[event.topic], f"{event.topic} never was {value!r}"
        elif event.type == "gap":
            self.ledger.append(None)
        else:
            epoch, _, place = event.id.partition("-")
            assert event.data == [epoch, int(place.partition("~")[0])]
            self.ledger.append((epoch, event.data[1]))

    async def close(self) -> None:
        """The process ends."""
        self._reading.cancel()
        await asyncio.wait((self._reading,))
        if not self._reading.cancelled():
            self._reading.result()
        await self.source.aclose()

    def chance(self, of: float) -> bool:
        return self.random.random() < of

    def below(self, count: int) -> int:
        return self.random.randrange(count)

    def publish(self) -> None:
        topic = self.random.choice(TOPICS)
        value, number = self.hub.value(topic), self.hub.head
        kind = self.random.choice(("", "", "", "", "set", "append", "append", "merge", "merge", "delete"))
        if not kind:
            self.hub.publish(topic, "", [self.hub.epoch, number + 1])
        elif kind == "set" or value is MISSING:
            self.hub.publish(topic, "set", {"text": "\u20ac" * self.below(4), "m": {}})
        elif kind == "append":
            self.hub.publish(topic, kind, {"text": f"{number} "})
        elif kind == "merge":
            self.hub.publish(topic, kind, {f"m{self.below(3)}": None if self.chance(0.3) else number})
        else:
            self.hub.publish(topic, kind, None)

    def answer(self, *, faults: bool) -> None:
        """Answer a request that waits."""
        waiting = self.network.next()
        if waiting is None:
            return
        request, answered = waiting
        assert request.header("authorization") == b"Bearer %d" % self._tokens, "an old token"
        fault = self.random.choice(("refused", "5xx", "401", "", "", "", "", "")) if faults else ""
        if fault == "refused":
            answered.set_exception(TransportFailed("connection refused"))
        elif fault == "5xx":
            headers = {"retry_after": str(self.below(4))} if self.chance(0.5) else {}
            answered.set_result(gone := Answer(self.random.choice((429, 500, 502, 503, 504)), **headers))
            gone.say(None)
        elif fault == "401" and any(answer.was_read for answer in self._since):
            self._since.clear()  # two without a stream between them are final
            answered.set_result(gone := Answer(401))
            gone.say(None)
        else:
            self._open(answered, (request.header("last-event-id") or b"").decode(), faults=faults)

    def _open(self, answered: asyncio.Future[Answer], last_event_id: str, *, faults: bool) -> None:
        asked = last_event_id
        # That nothing is missed by it is a case of its own.
        often = 0.4 if asked == self.hub.id_of(self.hub.head, self.hub.head) else 0.08
        if faults and asked and self.chance(often):
            asked = ""
            self.lost_ids += 1
        elif faults and not self.folds and self.chance(0.1):
            asked = self.random.choice([last_event_id, *filter(partial(is_older, last_event_id), self._asked)])
        if last_event_id:
            self._asked.append(last_event_id)
        else:
            self.ledger.append(None)  # it begins with what is new, and has lost nothing
        self._answer = Answer(200, content_type="text/event-stream")
        self._since.append(self._answer)
        answered.set_result(self._answer)
        self._stream = Stream(self.hub, asked)
        for said in self._stream.begin():
            if not self._say(said, faults=faults):
                return

    @property
    def is_open(self) -> bool:
        return self._answer is not None and not self._answer.closed and self._stream is not None

    def tell(self, *, faults: bool) -> None:
        """The stream goes on by a frame, or by all that there is."""
        if not self.is_open:
            return
        stream = self._stream
        assert stream is not None
        if faults and stream.frames and self.chance(0.1):
            for said in stream.frames[-1 - self.below(6) :]:
                if not self._say(said, faults=True):
                    return
        if stream.sent < self.hub.trimmed:
            frames = stream.fall_behind()
        elif stream.sent == self.hub.head:
            frames = iter([stream.heartbeat()] if self.chance(0.2) else [])
        elif self.folds and self.chance(0.5):
            frames = stream.folded()
        else:
            frames = iter((stream.one(),))
        for said in frames:
            if not self._say(said, faults=faults):
                return

    def _say(self, said: bytes, *, faults: bool) -> bool:
        """Bytes, cut anywhere; or the connection ends in them. Whether it goes on."""
        answer = self._answer
        assert answer is not None
        if faults and self.chance(0.06):
            answer.say(said[: self.below(len(said) + 1)])
            self.hang_up()
            return False
        cut = self.below(len(said)) if self.chance(0.3) else len(said)
        for part in (said[:cut], said[cut:]):
            if part:
                answer.say(part)
        return True

    def hang_up(self) -> None:
        if self._answer is not None:
            self._answer.say(TransportFailed("reset") if self.chance(0.5) else None)
        self._answer = self._stream = None

    def bye(self) -> None:
        if self.is_open and self._stream is not None and self._say(self._stream.bye(self.below(3_000)), faults=False):
            self.hang_up()

    async def reload(self) -> None:
        """Another process goes on."""
        await self.close()
        await self.open()

    async def interrupt(self) -> None:
        """Who waits for an event stops, and waits again."""
        self._reading.cancel()
        await asyncio.wait((self._reading,))
        if not self._reading.cancelled():
            self._reading.result()
        self._reading = asyncio.ensure_future(self._read())

    def restart(self) -> None:
        self.hub.restart(f"e{self.below(10**6):06}")
        self.hang_up()

    async def step(self) -> None:
        kind = self.below(100)
        if kind < 36:
            self.publish()
        elif kind < 60:
            self.tell(faults=True)
        elif kind < 76:
            self.answer(faults=True)
        elif kind < 84:
            self.clock.advance(self.below(30_000) / 1000)
        elif kind < 85:
            self.hub.trim(self.hub.head - self.below(15))
        elif kind < 88:
            self._hand.clear() if self._hand.is_set() else self._hand.set()
        elif kind < 90:
            self.source.reconnect()
        elif kind < 92:
            await self.reload()
        elif kind < 94:
            self.bye()
        elif kind < 96:
            self.source.resume() if self.source.status.state == "paused" else self.source.pause()
        elif kind < 98 and self._hand.is_set():
            await self.interrupt()
        elif kind == 99:
            self.restart()
        for _ in range(self.random.choice((0, 0, 1, 2, 5, 12))):
            await asyncio.sleep(0)

    async def calm(self) -> None:
        """The faults are over: until there is nothing left to tell."""
        self._hand.set()
        self.source.resume()
        quiet = 0
        for _ in range(CALM_STEPS):
            self.answer(faults=False)
            self.tell(faults=False)
            await asyncio.sleep(0)
            if self._reading.done():
                self._reading.result()
            if self.source.status.state == "waiting":
                self.clock.advance(self.source.status.delay_seconds or 0)
            is_there = self.source.last_event_id == self.hub.id_of(self.hub.head, self.hub.head)
            quiet = quiet + 1 if is_there else 0
            if quiet == QUIET_TURNS:
                return
        raise AssertionError(f"it does not come to rest: {self.source.status}")

    def check(self) -> None:
        assert self.errors == []
        before: Line = None
        for line in self.ledger:
            if line is not None and before is not None:
                assert line[0] == before[0], f"{line} follows {before} without a gap"
                assert line[1] > before[1], f"{line} came again, or late"
                self._nothing_between(before, line[1])
            before = line
        if before is not None and before[0] == self.hub.epoch:
            self._nothing_between(before, self.hub.head + 1)
        for topic in TOPICS:
            assert self.source.value(topic, MISSING) == self.hub.value(topic)

    def _nothing_between(self, before: tuple[str, int], offset: int) -> None:
        lost = [n for n in range(before[1] + 1, offset) if (before[0], n) in self.hub.plain]
        assert not lost, f"after {before} {lost} were lost in silence"


def is_older(last_event_id: str, other: str) -> bool:
    """Whether who comes with the other id is told the same of values, and events again."""
    place, before = place_of(last_event_id), place_of(other)
    if place is None or before is None or before.epoch != place.epoch or "~" in last_event_id + other:
        return False
    return before.offset <= place.offset


async def play(seed: int) -> Run:
    run = Run(seed)
    try:
        await run.open()
        for _ in range(STEPS):
            await run.step()
        await run.calm()
        run.check()
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    finally:
        await run.close()
    return run


async def play_all(seeds: range, then: Callable[[Run], Any]) -> None:
    for first in range(seeds.start, seeds.stop, TOGETHER):
        for run in await asyncio.gather(*map(play, range(first, min(first + TOGETHER, seeds.stop)))):
            then(run)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("shard", range(SHARDS))
async def test_every_event_once_and_in_order_or_a_gap(shard: int) -> None:
    each = RUNS // SHARDS
    runs: list[Run] = []
    await play_all(range(shard * each, (shard + 1) * each), runs.append)
    # Something did happen.
    lines = [line for run in runs for line in run.ledger]
    assert len(lines) > 4 * len(runs)
    assert lines.count(None) > len(runs)
    assert sum(run.lost_ids for run in runs) > 0
    assert any(401 in run.refused for run in runs)

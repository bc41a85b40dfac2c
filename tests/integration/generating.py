"""A hub with generations, put together as `Hub` does it."""

from __future__ import annotations

from typing import Any

from clarion import Hub, LocalStream
from clarion.generation.calls import GenerationCalls
from clarion.generation.feed import Feeds
from clarion.generation.running import Generations
from clarion.retention import parse_since
from clarion.topics import TopicSet
from clarion.work.supervisor import Supervisor


class GeneratingHub(GenerationCalls, Hub):
    """Until `Hub` has it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.supervisor = Supervisor(self, self._clock)
        self._generations = Generations(self, self._clock, self._limits.max_event_bytes)
        self._feeds = Feeds(self._follow, lambda topic, user: self.get(topic, user=user), self._clock)

    async def open(self) -> None:
        await super().open()
        await self.supervisor.start()

    async def close(self) -> None:
        await self.supervisor.close()
        await self._generations.close(self._feeds)
        await super().close()

    def _follow(self, topic: str, user: str | None) -> LocalStream:
        stream = LocalStream(
            self._open_engine(),
            TopicSet((topic,) if user is None else ()),
            parse_since(None, self._clock.wall_ms()),
        )
        stream._reader.user = user
        return stream

    async def cancel(self, work_id: str, *, user: str | None = None) -> None:
        await self.supervisor.cancel(work_id, user=user)

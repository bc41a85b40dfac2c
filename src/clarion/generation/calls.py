"""The calls of a hub that concern generated text."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Literal, Unpack

from clarion.errors import InvalidTopic
from clarion.generation.feed import Feeds
from clarion.generation.formats.ai_sdk import UIMessageStream
from clarion.generation.formats.base import Encoder
from clarion.generation.formats.openai import ChatCompletion
from clarion.generation.options import GenerationOptions, Produce, Started
from clarion.generation.response import REPLAY_ENDED_SECONDS, GenerationResponse, Wanted
from clarion.generation.running import Generations
from clarion.generation.writer import GenerationWriter
from clarion.limits import check_seconds
from clarion.stream import refuse
from clarion.topics import check_id, check_topic

if TYPE_CHECKING:
    from starlette.responses import Response

    from clarion.engine import Engine

Format = Literal["openai", "ai-sdk"]

logger = logging.getLogger("clarion.hub")


class GenerationCalls:
    """`Hub` has these. They need `_generations` and `_feeds`, which it makes."""

    _engine: Engine | None
    _generations: Generations
    _feeds: Feeds
    _heartbeat_seconds: float

    async def generate(
        self, topic: str, produce: Produce | AsyncIterable[str], **options: Unpack[GenerationOptions]
    ) -> Started:
        """Have a text generated on a topic, detached from who asked for it. Returns when its start is in the journal.

        produce: a coroutine function that is given the writer and writes (`await out.write(text)`), one of the ready
        producers (`clarion.generation`), or an async iterable of text. It runs in a task of its own until it is done.
        options: see `clarion.generation.GenerationOptions`. What is returned is fit to be a route's answer.

        The topic's value, event type `generation`, ends with status `completed`, `failed` (what the producer raised is
        logged, and told as a safe error), `cancelled` or `lost`, always. `hub.cancel(topic)` stops it.

        Raises `GenerationRunning` if one is under way on the topic, `InvalidTopic`, `JournalError`.
        """
        return await self._generations.generate(topic, produce, **options)

    def generation(
        self, topic: str, **options: Unpack[GenerationOptions]
    ) -> AbstractAsyncContextManager[GenerationWriter]:
        """The same for code of your own: `async with hub.generation(topic) as out: await out.write("...")`.

        It ends with the block: `completed`, or `failed` with what the block raises, which goes on to the caller. A
        request to stop cancels the task that is in the block, and the `async with` raises `Cancelled`. It is left when
        its end is in the journal, however long that takes.

        Raises what `generate` raises, and at the end what could not be told (`ValueTooLarge`, `JournalError`).
        """
        return self._generations.generation(topic, **options)

    def generation_stream(
        self,
        topic: str,
        *,
        format: Format,  # noqa: A002
        user: str | None = None,
        sdk_version: int = 5,
        model: str | None = None,
        include_usage: bool = False,
        replay_ended_seconds: float | None = REPLAY_ENDED_SECONDS,
        keep_alive_seconds: float | None = None,
        meta: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """A response that streams a generation in the format of a front end that is there already: the whole so far,
        joined, and then the rest. The same for who asked for it, who comes later, and who comes back.

        format: "openai" (chat completion chunks) or "ai-sdk" (UI message stream, for `useChat`).
        user: whose generation it is, as it was begun. sdk_version: the major version of the `ai` package, 5 to 7.
        model, include_usage: for "openai": the model to name, and whether a last chunk tells the usage.
        replay_ended_seconds: for so long after its end it is still told; then, and where there is none, the answer is
        204. None: for as long as the value is kept. keep_alive_seconds: a comment is sent into a silence of so long; 0
        for never, None: the hub's heartbeat. meta: kept for `clients`. headers: more response headers.

        Who may see the topic is decided before this call. A topic that cannot be is answered 422.
        Raises `ValueError` for formats and times that cannot be, and `InvalidTopic` for a user id.
        """
        encoder: Encoder
        if format == "openai":
            encoder = ChatCompletion(model, include_usage)
        elif format == "ai-sdk":
            encoder = UIMessageStream(sdk_version)
        else:
            raise ValueError(f'format must be "openai" or "ai-sdk", not {format!r}')
        if user is not None:
            user = check_id("user", user)
        if replay_ended_seconds is not None:
            replay_ended_seconds = check_seconds("replay_ended_seconds", replay_ended_seconds)
        if keep_alive_seconds is None:
            keep_alive_seconds = self._heartbeat_seconds
        try:
            topic = check_topic(topic)
        except InvalidTopic as error:
            logger.info("a stream is refused: %s", error)
            return refuse(422, f"the topic that was asked for cannot be: it {error.why}")
        wanted = Wanted(
            topic,
            user,
            encoder,
            None if replay_ended_seconds is None else round(replay_ended_seconds * 1000),
            round(check_seconds("keep_alive_seconds", keep_alive_seconds) * 1000),
            meta,
        )
        return GenerationResponse(self._engine, self._feeds, wanted, headers)

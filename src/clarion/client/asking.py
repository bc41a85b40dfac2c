"""One attempt's question: with fresh headers, and wherever redirects lead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from clarion.client.errors import HeadersFailed, RedirectFailed, StreamRefused, TransportFailed
from clarion.client.options import Settings, asked
from clarion.client.policy import Action, Answer, action_for
from clarion.client.received import Refusal
from clarion.client.request import MAX_REDIRECTS, HeaderPairs, bearer, header_pairs, redirected

if TYPE_CHECKING:
    from clarion.client.transport import Response, Transport

REFUSAL_BYTES: Final = 64 * 1024  # read of a refusal's body


class Answered(NamedTuple):
    """What came, and what is to be done about it."""

    answer: Answer
    action: Action
    response: Response


class Asking:
    """Asks, one question at a time, and remembers whether the credentials were refused."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        self._has_function = callable(settings.headers) or callable(settings.token)
        self._asked_again = False  # after the last answer
        self._refusal: Refusal | None = None  # for which fresh headers are asked next

    @asynccontextmanager
    async def ask(self, last_event_id: str) -> AsyncIterator[Answered]:
        """The answer to one attempt, never a redirect; its connection is let go of afterwards.

        Raises `HeadersFailed`, `RedirectFailed`, and what `Transport.send` raises.
        """
        request = self._settings.question.request(await self._headers(), last_event_id)
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._transport.send(request)
            try:
                answer = _head_of(response)
                action = action_for(answer, fresh_credentials=self._has_function and not self._asked_again)
                if action is not Action.REDIRECT:
                    self._note(action, answer)
                    yield Answered(answer, action, response)
                    return
            finally:
                await _let_go(response)
            following = redirected(request, answer.status, answer.location or "")
            if following is None:
                raise RedirectFailed("the server redirects to what is no web address")
            request = following
        raise RedirectFailed(f"the server redirects more than {MAX_REDIRECTS} times")

    def _note(self, action: Action, answer: Answer) -> None:
        self._asked_again = action is Action.ASK_AGAIN
        if self._asked_again:
            self._refusal = Refusal(answer.status)

    async def _headers(self) -> HeaderPairs:
        refusal, self._refusal = self._refusal, None
        headers, token = self._settings.headers, self._settings.token
        try:
            if callable(headers):
                headers = await asked(headers, refusal, asyncio.to_thread)
            if callable(token):
                token = await asked(token, refusal, asyncio.to_thread)
            pairs = header_pairs(headers)
            if token is None:
                return pairs
            return (*(pair for pair in pairs if pair[0] != b"authorization"), *bearer(token))
        except Exception as error:  # the caller's functions may raise anything
            raise HeadersFailed("the headers or the token could not be had") from error


async def read_beginning(response: Response, error: StreamRefused) -> None:
    """What a server says about its refusal, as far as it comes: the status counts in any case."""
    try:
        async with aclosing(response.chunks()) as chunks:
            async for data in chunks:
                error.body = (error.body + data)[:REFUSAL_BYTES]
                if len(error.body) == REFUSAL_BYTES:
                    return
    except TransportFailed:
        pass


def _head_of(response: Response) -> Answer:
    return Answer(
        response.status,
        response.header("content-type") or "",
        response.header("retry-after") or "",
        response.header("location"),
    )


async def _let_go(response: Response) -> None:
    try:
        await response.aclose()
    except TransportFailed:  # it is gone in any case
        pass

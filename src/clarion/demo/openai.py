"""Text from an OpenAI-compatible endpoint: streaming chat completions, read with httpx and Clarion's own parser.

An app that has the vendor's client gives its stream to `openai_producer` and needs none of this.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx

from clarion.generation import GenerationWriter, IncompleteStream, Produce, openai_producer
from clarion.parser import Parser
from clarion.work.failures import PublicError

DEFAULT_MODEL = "gpt-4o-mini"
TOKENS_MAX = 500  # a paragraph or three: enough to watch, cheap to pay for
TIMEOUT = httpx.Timeout(60, connect=10)  # seconds; a model may think for a while before its first word

_log = logging.getLogger("clarion.demo")

_SENTENCES = {
    400: "The text service did not accept the request; is OPENAI_MODEL right?",
    401: "The text service refused the key.",
    403: "The text service refused the key.",
    404: "The text service does not know this address or model.",
    429: "The text service is busy, or its quota is used up. Please try again later.",
}


class OpenAISource:
    """Asks one model. Failures become sentences for people; details go to the log."""

    def __init__(self, base_url: str, key: str | None, model: str) -> None:
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._model = model
        self.label = f"{model} at {httpx.URL(base_url).host or 'an OpenAI-compatible endpoint'}"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> OpenAISource | None:
        """The source that the ``OPENAI_`` variables ``BASE_URL``, ``API_KEY`` and ``MODEL`` describe.

        None without a URL, or with one that cannot be one (which is logged).
        """
        base_url = environment.get("OPENAI_BASE_URL", "").strip()
        if not base_url:
            return None
        model = environment.get("OPENAI_MODEL") or DEFAULT_MODEL
        try:
            return cls(base_url, environment.get("OPENAI_API_KEY"), model)
        except httpx.InvalidURL:
            _log.warning("OPENAI_BASE_URL is not a URL; the local generator writes instead")
            return None

    def producer(self, prompt: str) -> Produce:
        """Writes the model's answer as it arrives; stopping it ends the request."""
        write = openai_producer(lambda: self._chunks(prompt))

        async def produce(out: GenerationWriter) -> None:
            try:
                await write(out)
            except IncompleteStream as error:
                raise PublicError("The text service stopped before the text was complete.") from error

        return produce

    async def _chunks(self, prompt: str) -> AsyncGenerator[dict[str, Any], None]:
        """The chunks of a completion, as JSON objects. Raises `PublicError`."""
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": TOKENS_MAX,
            "stream": True,
        }
        parser = Parser()
        try:
            async with (
                httpx.AsyncClient(timeout=TIMEOUT) as client,
                client.stream("POST", self._url, json=body, headers=self._headers) as response,
            ):
                if response.status_code != 200:
                    _log.warning("the text service answered with status %d", response.status_code)
                    raise PublicError(_SENTENCES.get(response.status_code, "The text service has a problem."))
                async for received in response.aiter_bytes():
                    for message in parser.feed(received):
                        if message.data == "[DONE]":
                            return
                        yield chunk_of(message.data)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PublicError("The text service could not be reached, or went away.") from error


def chunk_of(data: str) -> dict[str, Any]:
    """One chunk of a completion. Raises `PublicError` for what is none, and for an error in its place."""
    try:
        chunk: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise PublicError("The text service sent something that is not a chat completion.") from error
    if not isinstance(chunk, dict) or not isinstance(chunk.get("choices", []), list):
        raise PublicError("The text service sent something that is not a chat completion.")
    if chunk.get("error") is not None:
        raise PublicError("The text service broke off with an error.")
    return chunk

"""Text from an OpenAI-compatible endpoint: streaming chat completions, read with Clarion's own parser."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx

from clarion.demo.texts import SourceFailed
from clarion.parser import Parser

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

    async def write(self, prompt: str) -> AsyncGenerator[str, None]:
        """Yield the answer's pieces as they arrive. Raises `SourceFailed`; closing it ends the request."""
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
                    raise SourceFailed(_SENTENCES.get(response.status_code, "The text service has a problem."))
                async for chunk in response.aiter_bytes():
                    for message in parser.feed(chunk):
                        if message.data == "[DONE]":
                            return
                        if piece := _piece(message.data):
                            yield piece
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            _log.warning("the text service failed: %s", type(error).__name__)
            raise SourceFailed("The text service could not be reached, or went away.") from error


def _piece(data: str) -> str:
    """The text in one chunk of a completion; empty for chunks that carry none."""
    try:
        chunk: Any = json.loads(data)
        if "error" in chunk:
            raise SourceFailed("The text service broke off with an error.")
        choices = chunk["choices"]
        content = choices[0]["delta"].get("content") if choices else ""
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise SourceFailed("The text service sent something that is not a chat completion.") from error
    return content if isinstance(content, str) else ""

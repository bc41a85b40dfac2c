"""Text without a model: a Markov chain over a page of prose, for machines with no text service at hand."""

from __future__ import annotations

import asyncio
import random
import re
from collections import defaultdict
from functools import cache
from importlib.resources import files
from itertools import pairwise

from clarion.generation import GenerationWriter, Produce

WORDS_MIN = 110
WORDS_MAX = 220
WORD_SECONDS = (0.015, 0.07)  # the pace of a real model


class MarkovSource:
    """Writes words that may follow each other; it understands nothing and says so."""

    label = "a local Markov chain, not a language model"

    def producer(self, prompt: str) -> Produce:
        """Writes a text word by word, at a readable pace, beginning near a word of the prompt where it can."""

        async def produce(out: GenerationWriter) -> None:
            choose = random.Random()
            for word in await asyncio.to_thread(words, prompt, choose):  # the first time it reads a file
                await out.write(word)
                await asyncio.sleep(choose.uniform(*WORD_SECONDS))

        return produce


def words(prompt: str, choose: random.Random) -> list[str]:
    """The words of one text, each after the first with the space before it. Whole sentences."""
    starts, follow = _chain()
    asked = {word.lower() for word in re.findall(r"\w{4,}", prompt)}
    written: list[str] = [choose.choice([word for word in follow if word.lower() in asked] or starts)]
    while len(written) < WORDS_MAX:
        word = written[-1]
        if word.endswith("."):
            if len(written) >= WORDS_MIN:
                break
            written.append(choose.choice(starts))
        else:
            written.append(choose.choice(follow[word]))
    return [written[0].capitalize(), *(f" {word}" for word in written[1:])]


@cache
def _chain() -> tuple[list[str], dict[str, list[str]]]:
    """The words that begin a sentence, and for each other word those that followed it somewhere."""
    follow: defaultdict[str, list[str]] = defaultdict(list)
    starts: list[str] = []
    for sentence in (files("clarion.demo") / "corpus.txt").read_text("utf-8").replace(". ", ".\n").splitlines():
        prose = sentence.split()
        starts.append(prose[0])
        for word, after in pairwise(prose):
            follow[word].append(after)
    return starts, dict(follow)

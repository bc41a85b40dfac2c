"""A text of 2,000 tokens at 100 tokens a second: what it costs the journal, and what a late joiner gets of it."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks.contenders import ROOT
from benchmarks.outcome import Check, Outcome, Settings
from benchmarks.updates import token
from benchmarks.viewer import Viewer, join, values_server

TOKENS: Final = 2_000
TOKENS_PER_SECOND: Final = 100.0
TOPIC: Final = "text"

LIVE_VIEWERS: Final = 5
LATE_JOINERS: Final = 5

ENTRIES_PER_TOKEN: Final = 0.4
TIMES_THE_TEXT: Final = 1.2

JOURNALS: Final = ("memory", "SQLite, durable")


def run(settings: Settings) -> Outcome:
    """Some read along from the beginning, others come when it is written; all must show the hub's text."""
    outcome = Outcome("A generated text")
    tokens = TOKENS // 5 if settings.quick else TOKENS
    folder = ROOT / "benchmarks" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    for journal in JOURNALS:
        with tempfile.TemporaryDirectory(dir=folder, prefix="journal-") as name:
            url = "memory://" if journal == "memory" else f"sqlite:///{Path(name) / 'events.db'}"
            found = generate(url, tokens, journal, outcome)
        outcome.rows.append({"journal": journal, **found})
        outcome.checks += [
            Check(
                f"journal entries per token, {journal}",
                found["entries per token"],
                "",
                ENTRIES_PER_TOKEN,
                at_least=False,
            ),
            Check(
                f"bytes of a late joiner, {journal}", found["times the text"], "times the text", TIMES_THE_TEXT, False
            ),
        ]
        settings.say(f"generated {journal}: {found['entries per token']:.2f} entries per token")
    outcome.notes.append(
        f"{tokens:,} tokens, {TOKENS_PER_SECOND:.0f} a second, by `out.write`; every entry that the journal took from "
        "before the start until after the end is counted, with the generation's lease"
    )
    outcome.notes.append(
        "late joiners' bytes are counted on the socket after the response head, with all framing; the most of "
        f"{LATE_JOINERS}. {LIVE_VIEWERS} others read along from the beginning"
    )
    if tokens < TOKENS:
        outcome.notes.append(f"quick run: {tokens:,} tokens instead of {TOKENS:,}, so frames weigh more than usual")
    return outcome


def generate(url: str, tokens: int, journal: str, outcome: Outcome) -> dict[str, Any]:
    """Generate one text on a journal; return the columns of its row."""
    text = "".join(token(number) for number in range(tokens))
    with values_server(url) as server, ExitStack() as stack:
        outcome.versions |= server.ready["versions"]
        along = [stack.enter_context(Viewer(server.port, TOPIC)) for _ in range(LIVE_VIEWERS)]
        for viewer in along:
            viewer.is_connected()
        generated = server.ask("generate", topic=TOPIC, count=tokens, rate=TOKENS_PER_SECOND)
        value = server.ask("value", topic=TOPIC)["value"]
        joined = [join(server.port, TOPIC, value) for _ in range(LATE_JOINERS)]
        for viewer in along:
            viewer.shown_ns(value)
            outcome.agree(f"{journal}, read along", viewer.value, value)
            outcome.reconcile(f"{journal}, read along", {"faults": viewer.faults})
    for one in joined:
        outcome.agree(f"{journal}, late joiner", one.value, value)
        outcome.reconcile(f"{journal}, late joiner", {"faults": one.faults})
    outcome.agree(f"{journal}, the hub's text", value["text"], text)
    size = len(text.encode())
    received = max(one.received_bytes for one in joined)
    return {
        "tokens": tokens,
        "entries": generated["entries"],
        "entries per token": generated["entries"] / tokens,
        "tokens/s": tokens / generated["seconds"],
        "text bytes": size,
        "late joiner's bytes": received,
        "times the text": received / size,
        "read along, bytes": max(viewer.received_bytes for viewer in along),
    }

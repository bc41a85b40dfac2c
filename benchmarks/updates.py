"""What the scenarios of values change, numbered: each kind of update says the same for the same number."""

from typing import Any, Final

from clarion.bench.payload import event_data, json_text

OBJECT_BYTES: Final = 100
"""Of an object that is set again and again, as compact JSON."""

MEMBERS: Final = 8
"""Members of an object that is merged into, one after the other: about 100 bytes of JSON with six-digit numbers."""

LINES: Final = 20
"""Of a text that is appended to before it begins anew: about 250 bytes, which go over a slow link in half a second."""

PIECES: Final = (
    ' the| of| and| to| in| is| that| it|,|.| a| tokens| stream|s|ing| reader| who| comes| late| gets| "all|"| so| far|'
    ".\n\n| caf\u00e9| \u2013| 42| one| frame| then| rest|ed|ly| if|'s| model| writes|\n|:| net| un| with"
).split("|")
"""Tokens as a model writes them: about four bytes each, some with what JSON has to escape or UTF-8 has to spell out."""


def token(number: int) -> str:
    """Return a token of a generated text."""
    return PIECES[(number * 7919 + number // 29 * 13) % len(PIECES)]


def update(kind: str, number: int, size: int = OBJECT_BYTES) -> tuple[str, Any]:
    """Return the change, as its method of a hub is called, and its data.

    kind: "set": an object of `size` bytes; "merge": two members of an object; "append": a line of a text that begins
    anew every LINES lines; "grow": `size` bytes more of a text; "token": a token more of a text.
    """
    if kind == "set":
        return "set", event_data(number, size)
    if kind == "merge":
        return "merge", {"n": number, f"m{number % MEMBERS}": number}
    if kind == "append":
        return ("append" if number % LINES else "set"), {"text": f"line {number}\n"}
    if kind == "grow":
        bare = len(json_text({"text": mark(number)}))
        return "append", {"text": mark(number) + "x" * (size - bare)}
    if kind == "token":
        return "append", {"text": token(number)}
    raise ValueError(f"no kind of update is called {kind!r}")


def mark(number: int) -> str:
    """Return what a piece of a growing text begins with; no other piece holds it."""
    return f"#{number} "

"""What the page may post. Everything that arrives is input from a stranger, so every field has a bound."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from clarion.demo.jobs import Choice

NAME_CHARS = 32  # fits the page's columns and, as `@user/NAME`, the hub's 255 bytes per topic in any script
TEXT_CHARS = 500  # a message is read at a glance
PROMPT_CHARS = 300

_NAME_PATTERN = r"^\w[\w .'\-]*$"

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=NAME_CHARS, pattern=_NAME_PATTERN)
]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_CHARS)]
Prompt = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=PROMPT_CHARS)]
Tab = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Said(Body):
    """A line for the feed."""

    user: Name
    text: Text


class Note(Body):
    """A notification from one user to another."""

    user: Name
    to: Name
    text: Text


class JobOrder(Body):
    """A job to start."""

    user: Name
    scope: Choice = "library"


class TextOrder(Body):
    """A text to have written."""

    user: Name
    prompt: Prompt


class Drop(Body):
    """A tab that wants its connection dropped, and kept away for ``seconds``."""

    tab: Tab
    seconds: Literal[0, 5] = 0


_FIELDS = {"user": "Name", "to": "Recipient", "text": "Message", "prompt": "Prompt", "scope": "Scope"}


def explain(errors: list[Any]) -> str:
    """One sentence for a person, from pydantic's list of errors. Never repeats what was sent."""
    error = errors[0]
    location = [part for part in error["loc"] if isinstance(part, str) and part not in ("body", "query")]
    field = _FIELDS.get(location[0], "Request") if location else "Request"
    context = error.get("ctx", {})
    match error["type"]:
        case "string_too_long":
            return f"{field}: at most {context['max_length']} characters, please."
        case "string_too_short":
            return f"{field}: please write something."
        case "string_pattern_mismatch":
            return f"{field}: letters, digits, spaces and . ' - _ only, beginning with a letter or digit."
        case "missing":
            return f"{field}: is missing."
        case _:
            return f"{field}: is not what was expected."

"""What the ready-made routes of `clarion.fastapi` take and give. The one file of the core that names pydantic."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clarion.event import MAX_KEY_BYTES, MAX_TYPE_BYTES
from clarion.topics import MAX_TOPIC_BYTES


class Said(BaseModel):
    """An event that somebody asks to have published: `data` (any JSON) or `text`."""

    model_config = ConfigDict(extra="forbid")

    data: Annotated[Any, Field(description="Any JSON; null counts if it is written.")] = None
    text: Annotated[str | None, Field(description="Raw text, instead of data.")] = None
    event: Annotated[
        str | None,
        Field(min_length=1, max_length=MAX_TYPE_BYTES, description="The SSE event type; without one, `message`."),
    ] = None
    key: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_KEY_BYTES,
            description="An idempotency key: publishing to the topic again with it within a day adds nothing.",
        ),
    ] = None
    ttl: Annotated[
        float | None, Field(gt=0, allow_inf_nan=False, description="Seconds after which it is not replayed any more.")
    ] = None
    ephemeral: Annotated[bool, Field(description="Only for readers who are connected now.")] = False

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if (self.text is None) == ("data" not in self.model_fields_set):
            raise ValueError("give data or text, and not both")
        return self


class Publication(Said):
    """An event for a topic."""

    topic: Annotated[str, Field(min_length=1, max_length=MAX_TOPIC_BYTES)]


class Published(BaseModel):
    """The acknowledgement: the event is in the journal."""

    id: Annotated[str, Field(description="Its position; readers get it as the event's id.")]
    sent: Annotated[int, Field(description="Readers in the process that answered whose topics match.")]
    duplicate: Annotated[bool, Field(description="The key was seen before: nothing was added, the id is the first's.")]


class Refusal(BaseModel):
    """Why not."""

    detail: str

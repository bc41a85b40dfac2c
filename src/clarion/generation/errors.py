"""What can be wrong with a generation."""

from __future__ import annotations

from clarion.errors import ClarionError


class GenerationRunning(ClarionError):
    """A generation, or a task, is under way on this topic already. Nothing was changed.

    Cancel it first, or begin with `replace=True`.
    """

    status = 409

    def __init__(self, topic: str) -> None:
        self.topic = topic
        super().__init__(topic)

    def __str__(self) -> str:
        return f"a generation is under way on {self.topic!r}; cancel it first, or begin with replace=True"


class IncompleteStream(ClarionError):
    """A model's stream ended, or said that it failed, before it said that its text is complete."""

    status = 502

    def __init__(self, vendor: str, why: str) -> None:
        self.vendor = vendor
        self.why = why
        super().__init__(vendor, why)

    def __str__(self) -> str:
        return f"the {self.vendor} stream is not complete: {self.why}"

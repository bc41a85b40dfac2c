"""What readers of values are told, taken apart, folded and compared. No I/O."""

from typing import Any, Final

from clarion import json
from clarion.bench.ledger import end_of_frames, numbers_in, unchunk
from clarion.changes import NAMES
from clarion.errors import ClarionError
from clarion.parser import Parser
from clarion.values import MISSING, Change, applied

CONNECTED: Final = b"event: connected\n"
SET: Final = b"\nchange: set\n"
"""What the first frame of a stream, and the frame of a whole value, hold."""

NEW_VALUES: Final = '"values":"all"'
"""What `connected` says to a reader that is told each value by `set`."""


class Body:
    """A chunked response as it comes in. `received_bytes`: what came after its head, the framing included."""

    def __init__(self) -> None:
        self.head: bytes | None = None
        self.text = bytearray()
        self.received_bytes = 0
        self._begun = b""
        self._due, self._line = 0, b""

    def feed(self, run: bytes) -> bytes:
        """Take what was received; return what of it belongs to the body. Raises `ValueError` for another answer."""
        if self.head is None:
            head, end, run = (self._begun + run).partition(b"\r\n\r\n")
            if not end:
                self._begun = head
                return b""
            if not head.startswith(b"HTTP/1.1 200") or b"transfer-encoding: chunked" not in head.lower():
                raise ValueError(f"no chunked stream was answered: {head[:200]!r}")
            self.head = head
        self.received_bytes += len(run)
        body, self._due, self._line = unchunk(self._due, self._line, run)
        self.text += body
        return body

    @property
    def is_whole(self) -> bool:
        """Whether it ends with a whole frame, and a whole chunk."""
        return self._due == 0 and not self._line and self.text.endswith(b"\n\n")

    def has(self, what: bytes) -> bool:
        """Whether it is whole, and one of its frames holds `what`."""
        return self.is_whole and what in self.text


class View:
    """The values of one stream, as a client shows them that does what spec/stream.md, section 10, says.

    `faults` counts what may not be: `gaps` (also `bye`), and `unfit` changes, which do not fit what was told before.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.changes = 0
        self.faults = {"gaps": 0, "unfit": 0}
        self._told_all = False
        self._parser = Parser()

    def feed(self, body: bytes) -> bool:
        """Take more of the body; return whether a value was changed."""
        before = self.changes
        for message in self._parser.feed(body):
            if message.type == "connected":
                self._told_all = NEW_VALUES in message.data.replace(" ", "")
            elif message.type in ("gap", "bye"):
                self.faults["gaps"] += 1
            elif message.change is not None and message.topic is not None:
                self._carry_out(message.topic, NAMES[message.change], message.data)
        return self.changes > before

    def _carry_out(self, topic: str, change: Change, data: str) -> None:
        self.changes += 1
        if change is Change.DELETE:
            self.values.pop(topic, None)
            return
        try:
            if change is not Change.SET and topic not in self.values and not self._told_all:
                raise ValueError("the change of a value that was not told")
            self.values[topic] = applied(self.values.get(topic, MISSING), change, json.decode(data))
        except (ClarionError, ValueError):
            self.faults["unfit"] += 1


class Stray:
    """One of many readers that received something else than the others from some place on.

    before: all that it received until there, from the response head on.
    """

    def __init__(self, before: bytes) -> None:
        self._body = Body()
        self._view = View()
        self.feed(before)

    def feed(self, run: bytes) -> None:
        """Take what it received."""
        self._view.feed(self._body.feed(run))

    def has(self, mark: bytes) -> bool:
        """Whether it is at the end of a frame, and received `mark` in one."""
        return self._body.has(mark)

    def agrees(self, values: dict[str, Any], numbers: tuple[int, ...]) -> bool:
        """Whether it shows these values, and received the events of these numbers, each once and in order."""
        faulty = any(self._view.faults.values())
        return not faulty and self._view.values == values and numbers_in(bytes(self._body.text))[0] == numbers


class Transcript:
    """What the readers of one stream received, byte for byte the same for all of them; each is at some place in it."""

    def __init__(self) -> None:
        self.text = bytearray()

    def take(self, place: int, run: bytes) -> int:
        """Return where a reader is that received `run` at `place`; -1 if others received something else there."""
        end = place + len(run)
        known = self.text[place:end]
        if known == run:
            return end
        if end <= len(self.text) or not run.startswith(known):
            return -1
        self.text += run[len(known) :]
        return end

    def end_of(self, mark: bytes, after: int) -> int:
        """Return where the first frame ends that holds `mark` and ends after that place; -1 if it is not there yet."""
        at = self.text.find(mark, max(0, after))
        end = self.text.find(b"\n\n", at) if at >= 0 else -1
        return end + 2 if end >= 0 else -1

    def frames(self, start: int, end: int) -> int:
        """Return how many frames end between two places."""
        return self.text.count(b"\n\n", start, end)

    def body(self) -> bytes:
        """Return the whole frames in it, without the framing of chunks."""
        body, _, _ = unchunk(0, b"", bytes(self.text))
        return body[: end_of_frames(body)]

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of the benchmarks' plain events in it."""
        return numbers_in(self.body())[0]

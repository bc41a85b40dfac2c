"""Memory that the processes of one machine share, so that a task's children count without any I/O.

The process that owns a task makes a folder with a head file, in which it says that the task is to stop or has ended.
Each other process has a file of its own there: its counters, its message, and which steps they are of. Files are
mapped, so what a process has counted is seen at once, and is there when the process was killed. One writer per file.
"""

from __future__ import annotations

import mmap
import os
import secrets
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from clarion import json

try:
    import fcntl
except ImportError:  # not on this system: what was left behind is the system's to clean up

    def _lock(descriptor: int) -> bool:
        return False
else:

    def _lock(descriptor: int) -> bool:
        """Lock a file for as long as it is open anywhere; False if somebody else has."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


RUNNING: Final = 0  # the first byte of the head file; any other says why to stop
ENDED: Final = 255  # ... but this one: what is counted now goes nowhere

MEMORY_FOLDER: Final = Path("/dev/shm")  # noqa: S108 - what is made there is private
MAX_NODES: Final = 512  # steps of one process, the task itself included
MESSAGE_BYTES: Final = 1_024  # more than is told of a message
PART_BYTES: Final = 512 * 1024  # of one process; what is not written takes no memory

_HEAD_BYTES: Final = 16
_SEQUENCE: Final = struct.Struct("<Q")  # at 0: odd while the description is being written
_LENGTHS: Final = struct.Struct("<IIQ")  # at 8: of the description, of the message, and the number of the message
_COUNT_BYTES: Final = 8  # a double, in the machine's own order: nobody else reads it
_MESSAGE_AT: Final = 24
_COUNTS_AT: Final = _MESSAGE_AT + MESSAGE_BYTES
_NODES_AT: Final = _COUNTS_AT + MAX_NODES * _COUNT_BYTES
_PREFIX: Final = "clarion-progress-"
_PART: Final = "part-"
HEAD: Final = "head"


class Node(NamedTuple):
    """A step as a process describes it.

    parent: the index of the step it belongs to; -1 for what the owner knows by `key`.
    """

    parent: int
    key: int
    name: str
    weight: float
    total: float | None
    status: str


class Part(NamedTuple):
    """What one process has said: its steps, what each has counted, and its newest message with its number."""

    nodes: tuple[Node, ...]
    counts: tuple[float, ...]
    message: str
    message_number: int


class Head:
    """The head file, and the folder around it.

    Concurrency: methods may be called from any thread; only the owner's process writes.
    """

    def __init__(self, folder: Path, memory: mmap.mmap, descriptor: int | None = None) -> None:
        self.folder = folder
        self._memory = memory
        self._descriptor = descriptor  # of the owner, who holds the lock that says it lives

    @classmethod
    def make(cls) -> Head:
        """A new folder, in memory where the system has such a place. Raises `OSError`."""
        place = MEMORY_FOLDER
        parent = place if place.is_dir() and os.access(place, os.W_OK) else Path(tempfile.gettempdir())
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        memory, descriptor = _made(folder / HEAD, _HEAD_BYTES)
        _lock(descriptor)
        return cls(folder, memory, descriptor)

    @classmethod
    def open(cls, folder: Path) -> Head:
        """The one that another process made. Raises `OSError` if it is not there any more."""
        return cls(folder, _opened(folder / HEAD, _HEAD_BYTES))

    @property
    def memory(self) -> mmap.mmap:
        """Its first byte is RUNNING, ENDED, or why to stop."""
        return self._memory

    def say(self, state: int) -> None:
        """Say it to all processes."""
        self._memory[0] = state

    def remove(self) -> None:
        """Say that the task has ended, and remove the folder. Who has mapped a file of it keeps that. Twice is once."""
        self.say(ENDED)
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class PartWriter:
    """The file of this process. The caller sees to it that one thread writes at a time, but to `counts`.

    counts: what each step has counted in this process, by its index.
    """

    def __init__(self, folder: Path) -> None:
        self._memory, descriptor = _made(folder / f"{_PART}{os.getpid()}-{secrets.token_hex(4)}", PART_BYTES)
        os.close(descriptor)
        self.counts = memoryview(self._memory)[_COUNTS_AT:_NODES_AT].cast("d")
        self._sequence = 0
        self._nodes_length = 0
        self._message_length = 0
        self._message_number = 0

    def describe(self, nodes: list[Node]) -> None:
        """Which steps there are. Raises `ValueError` for more than fit, which a task's own bounds do not allow."""
        data = json.encode(nodes)
        if len(nodes) > MAX_NODES or _NODES_AT + len(data) > PART_BYTES:
            raise ValueError(f"a process can have at most {MAX_NODES} steps of a task, with short names")
        self._begin()
        self._memory[_NODES_AT : _NODES_AT + len(data)] = data
        self._nodes_length = len(data)
        self._end()

    def say(self, message: str) -> None:
        """The newest message of this process."""
        data = message.encode("utf-8", "replace")[:MESSAGE_BYTES]
        self._begin()
        self._memory[_MESSAGE_AT : _MESSAGE_AT + len(data)] = data
        self._message_length = len(data)
        self._message_number += 1
        self._end()

    def _begin(self) -> None:
        self._sequence += 1
        _SEQUENCE.pack_into(self._memory, 0, self._sequence)

    def _end(self) -> None:
        _LENGTHS.pack_into(self._memory, 8, self._nodes_length, self._message_length, self._message_number)
        self._sequence += 1
        _SEQUENCE.pack_into(self._memory, 0, self._sequence)


class PartReader:
    """The file of another process."""

    def __init__(self, path: Path) -> None:
        self._memory = _opened(path, PART_BYTES)
        self._sequence = 0
        self._nodes: tuple[Node, ...] = ()
        self._message = ""
        self._message_number = 0

    def read(self) -> Part:
        """What it says now; of what is just being written, what it said before."""
        (sequence,) = _SEQUENCE.unpack_from(self._memory, 0)
        if sequence != self._sequence and not sequence % 2:
            nodes_length, message_length, number = _LENGTHS.unpack_from(self._memory, 8)
            nodes = bytes(self._memory[_NODES_AT : _NODES_AT + nodes_length])
            message = bytes(self._memory[_MESSAGE_AT : _MESSAGE_AT + message_length])
            if _SEQUENCE.unpack_from(self._memory, 0)[0] == sequence:
                self._sequence = sequence
                self._nodes = tuple([Node(*node) for node in json.decode(nodes)]) if nodes else ()
                self._message = message.decode("utf-8", "replace")
                self._message_number = number
        counts = struct.unpack_from(f"={len(self._nodes)}d", self._memory, _COUNTS_AT)
        return Part(self._nodes, counts, self._message, self._message_number)


class Parts:
    """The files of all other processes of one task."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._readers: dict[Path, PartReader] = {}

    def discover(self) -> None:
        """Look for processes that came since. Blocks for as long as a look into a folder takes."""
        try:
            paths = sorted(self._folder.glob(f"{_PART}*"))
        except OSError:  # removed by somebody who cleans up: what is mapped stays
            return
        for path in paths:
            if path not in self._readers:
                try:
                    self._readers[path] = PartReader(path)
                except (OSError, ValueError):  # it has no size yet
                    continue

    def read(self) -> list[Part]:
        """What each of them says now, those that are gone as well. In the order in which they were found."""
        return [reader.read() for reader in list(self._readers.values())]


def _made(path: Path, size: int) -> tuple[mmap.mmap, int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    os.ftruncate(descriptor, size)
    return mmap.mmap(descriptor, size), descriptor


def _opened(path: Path, size: int) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def _sweep(parent: Path) -> None:
    """Remove what owners that were killed have left behind."""
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            descriptor = os.open(folder / HEAD, os.O_RDWR)
        except OSError:  # somebody else's, or none of ours
            continue
        try:
            if _lock(descriptor):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)

"""A kit for tests: read streams in process, turn the clock by hand, see what each reader got.

`read_events` reads an event stream of any ASGI app without a server. `running` starts an app as a server would.
`ManualClock` is a clock for `Hub(clock=...)`. `RecordingSink` stands in for a sink. Those who write a journal find its
contract as a test suite in `clarion.testing.journal_contract`, which needs pytest; nothing else here does.
"""

from clarion.local import Received
from clarion.testing.clock import ManualClock, ManualTimer
from clarion.testing.lifespan import running
from clarion.testing.reading import Events, StreamEnded, read_events
from clarion.testing.sink import RecordingReader, RecordingSink

__all__ = [
    "Events",
    "ManualClock",
    "ManualTimer",
    "Received",
    "RecordingReader",
    "RecordingSink",
    "StreamEnded",
    "read_events",
    "running",
]

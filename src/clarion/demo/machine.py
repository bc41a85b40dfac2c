"""This machine's figures, read with psutil."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading. Percentages are 0 to 100, rates bytes per second, ``at`` is Unix time in milliseconds."""

    at: int
    cpu: float
    cores: list[float]
    memory_percent: float
    memory_used: int
    memory_total: int
    received_rate: float
    sent_rate: float
    load: list[float]


class Meter:
    """Reads the machine; rates and CPU are averages since the reading before.

    The first reading covers the time since construction, so let about a second pass. Not for several threads
    at once.
    """

    def __init__(self) -> None:
        psutil.cpu_percent(percpu=True)  # psutil's first answer is meaningless by its own documentation
        self._read_at = time.monotonic()
        self._received, self._sent = _network_bytes()

    def read(self) -> Sample:
        """Take one sample; blocks for about a millisecond."""
        now = time.monotonic()
        elapsed = max(now - self._read_at, 1e-3)
        received, sent = _network_bytes()
        cores = psutil.cpu_percent(percpu=True)
        memory = psutil.virtual_memory()
        sample = Sample(
            at=time.time_ns() // 1_000_000,
            cpu=round(sum(cores) / max(len(cores), 1), 1),
            cores=cores,
            memory_percent=memory.percent,
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            # A counter may wrap or an interface may vanish: then the difference is negative and says nothing.
            received_rate=round(max(received - self._received, 0) / elapsed),
            sent_rate=round(max(sent - self._sent, 0) / elapsed),
            load=[round(load, 2) for load in psutil.getloadavg()],
        )
        self._read_at, self._received, self._sent = now, received, sent
        return sample


def _network_bytes() -> tuple[int, int]:
    counters = psutil.net_io_counters()
    return (counters.bytes_recv, counters.bytes_sent) if counters else (0, 0)

"""Figures for Prometheus: `Hub(observer=PrometheusObserver())`. The one file that names prometheus-client.

How long a stream lasts is a figure of its own here. Leave the streams' route out of your HTTP server's request
durations: one stream of an hour outweighs a million requests there.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from clarion.observer import Observer
from clarion.subscription import BYE_REASONS, DISCONNECTED, STALLED

# The reasons that there are, so that each has a figure before it happens: a rate needs the zero.
CLOSE_REASONS: Final = (*sorted(BYE_REASONS), DISCONNECTED, STALLED)
GAP_REASONS: Final = ("expired", "unknown", "epoch", "limit")
REFUSAL_REASONS: Final = ("hub", "user", "address", "topics", "draining", "journal")
START_MODES: Final = ("live", "resumed", "gap")

LATENCY_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
STREAM_SECONDS: Final = (1, 10, 60, 300, 1_800, 3_600, 14_400, 43_200, 86_400)


class PrometheusObserver(Observer):
    """Counts what a hub does.

    registry: where the figures are kept; None for prometheus-client's own. prefix: of their names. Two hubs of one
    process need two prefixes or two registries; `ValueError` otherwise.

        PREFIX_readers                            gauge: readers connected now
        PREFIX_stream_starts_total{mode}          streams begun: live, resumed, or gap (something was missed)
        PREFIX_stream_closes_total{reason}        streams ended: drain, expired, kicked, done, limit, disconnected, ...
        PREFIX_stream_refusals_total{reason}      streams refused: hub, user, address, topics, draining, journal
        PREFIX_stream_duration_seconds            how long streams lasted
        PREFIX_published_events_total, PREFIX_published_bytes_total
        PREFIX_delivered_events_total, PREFIX_delivered_bytes_total     all readers counted
        PREFIX_delivery_latency_seconds           from an event's publishing to the end of its pass over the readers
        PREFIX_gaps_total{reason}                 gaps told to readers: expired, unknown, epoch, limit
        PREFIX_missed_events_total{reason}        events in those gaps, where their number is known
        PREFIX_lag_entries                        gauge: entries of the log that wait for their pass
    """

    def __init__(self, registry: CollectorRegistry | None = None, prefix: str = "clarion") -> None:
        into = REGISTRY if registry is None else registry

        def counter(name: str, text: str, label: str | None = None) -> Counter:
            return Counter(f"{prefix}_{name}", text, [label] if label else [], registry=into)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"{prefix}_{name}", text, registry=into, buckets=buckets)

        self._readers = Gauge(f"{prefix}_readers", "Readers connected now", registry=into, multiprocess_mode="livesum")
        self._starts = counter("stream_starts", "Streams begun", "mode")
        self._closes = counter("stream_closes", "Streams ended", "reason")
        self._refusals = counter("stream_refusals", "Streams refused", "reason")
        self._durations = histogram("stream_duration_seconds", "How long streams lasted", STREAM_SECONDS)
        self._published_events = counter("published_events", "Events published from this process")
        self._published_bytes = counter("published_bytes", "Bytes of the events published from this process")
        self._delivered_events = counter("delivered_events", "Events written to readers, all readers counted")
        self._delivered_bytes = counter("delivered_bytes", "Bytes written to readers")
        self._latencies = histogram(
            "delivery_latency_seconds", "From an event's publishing to the end of its pass", LATENCY_SECONDS
        )
        self._gaps = counter("gaps", "Gaps told to readers", "reason")
        self._missed = counter("missed_events", "Events in gaps, where their number is known", "reason")
        self._lag = Gauge(
            f"{prefix}_lag_entries",
            "Entries of the log that wait for their pass over the readers",
            registry=into,
            multiprocess_mode="livemax",
        )
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        for counter, values in (
            (self._starts, START_MODES),
            (self._closes, CLOSE_REASONS),
            (self._refusals, REFUSAL_REASONS),
            (self._gaps, GAP_REASONS),
            (self._missed, GAP_REASONS),
        ):
            for value in values:
                counter.labels(value)

    def connected(self, readers: int) -> None:
        self._readers.set(readers)

    def disconnected(self, readers: int, reason: str, seconds: float) -> None:
        self._readers.set(readers)
        self._closes.labels(reason).inc()
        self._durations.observe(seconds)

    def refused(self, reason: str) -> None:
        self._refusals.labels(reason).inc()

    def published(self, events: int, size_bytes: int) -> None:
        self._published_events.inc(events)
        self._published_bytes.inc(size_bytes)

    def delivered(self, events: int, size_bytes: int) -> None:
        self._delivered_events.inc(events)
        self._delivered_bytes.inc(size_bytes)

    def latency(self, seconds: float) -> None:
        self._latencies.observe(seconds)

    def replayed(self, mode: str) -> None:
        self._starts.labels(mode).inc()

    def gap(self, reason: str, missed: int | None) -> None:
        self._gaps.labels(reason).inc()
        if missed:
            self._missed.labels(reason).inc(missed)

    def lag(self, entries: int) -> None:
        self._lag.set(entries)

"""The observer for Prometheus, by the text that a scrape gets: names, units, labels, and a real hub's figures."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.routing import Route

from clarion import Hub, Limits, Observer
from clarion.prometheus import PrometheusObserver
from clarion.testing import ManualClock, read_events


def figures(registry: CollectorRegistry) -> dict[str, float]:
    """What a scrape says, by name and labels, without the moments of creation."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    found = {}
    for family in families:
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return {name: value for name, value in found.items() if "_created" not in name}


def changed(registry: CollectorRegistry, before: dict[str, float]) -> dict[str, float]:
    now = figures(registry)
    return {
        name: value - before.get(name, 0)
        for name, value in now.items()
        if value != before.get(name, 0) and "_bucket" not in name
    }


def test_each_call_is_counted_under_its_name_and_unit() -> None:
    registry = CollectorRegistry()
    observer = PrometheusObserver(registry)
    before = figures(registry)
    observer.connected(2)
    observer.disconnected(1, "kicked", 30.0)
    observer.refused("user")
    observer.published(3, 300)
    observer.delivered(6, 600)
    observer.latency(0.002)
    observer.replayed("resumed")
    observer.gap("expired", 40)
    observer.gap("unknown", None)
    observer.lag(5)
    assert changed(registry, before) == {
        "clarion_readers": 1,
        "clarion_stream_closes_total{reason=kicked}": 1,
        "clarion_stream_duration_seconds_count": 1,
        "clarion_stream_duration_seconds_sum": 30,
        "clarion_stream_refusals_total{reason=user}": 1,
        "clarion_published_events_total": 3,
        "clarion_published_bytes_total": 300,
        "clarion_delivered_events_total": 6,
        "clarion_delivered_bytes_total": 600,
        "clarion_delivery_latency_seconds_count": 1,
        "clarion_delivery_latency_seconds_sum": 0.002,
        "clarion_stream_starts_total{mode=resumed}": 1,
        "clarion_gaps_total{reason=expired}": 1,
        "clarion_gaps_total{reason=unknown}": 1,
        "clarion_missed_events_total{reason=expired}": 40,
        "clarion_lag_entries": 5,
    }


def test_what_has_not_happened_yet_is_zero_and_not_absent() -> None:
    registry = CollectorRegistry()
    PrometheusObserver(registry)
    found = figures(registry)
    for name in (
        "clarion_gaps_total{reason=epoch}",
        "clarion_stream_closes_total{reason=stalled}",
        "clarion_stream_refusals_total{reason=address}",
        "clarion_stream_starts_total{mode=gap}",
        "clarion_published_events_total",
    ):
        assert found[name] == 0


def test_every_event_of_an_observer_is_counted() -> None:
    promised = {name for name, value in vars(Observer).items() if callable(value) and not name.startswith("_")}
    assert promised - vars(PrometheusObserver).keys() == set()


def test_two_hubs_have_two_prefixes() -> None:
    registry = CollectorRegistry()
    PrometheusObserver(registry)
    PrometheusObserver(registry, prefix="other")
    assert "other_readers" in figures(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        PrometheusObserver(registry)


async def test_a_hub_tells_it_what_happens() -> None:
    registry = CollectorRegistry()
    clock = ManualClock()
    hub = Hub(
        observer=PrometheusObserver(registry),
        limits=Limits(max_readers_per_user=1),
        clock=clock,
    )

    async def stream(request: object) -> object:
        return hub.stream(topics="news", user="ann")

    app = Starlette(routes=[Route("/events", stream)], lifespan=hub.lifespan)
    before = figures(registry)
    async with read_events(app, "/events") as events:
        for number in range(3):
            await hub.publish("news", number)
        await hub.settle()
        assert [(await events.next()).data for _ in range(3)] == [0, 1, 2]
        async with read_events(app, "/events") as second:
            assert second.status == 429
        found = changed(registry, before)
        assert found["clarion_readers"] == 1
        assert "clarion_lag_entries" not in found  # nothing waits any more
        assert found["clarion_published_events_total"] == 3
        assert found["clarion_delivered_events_total"] == 3
        assert found["clarion_delivered_bytes_total"] > found["clarion_published_bytes_total"] > 3 * len("data: 0")
        assert found["clarion_delivery_latency_seconds_count"] >= 1
        assert found["clarion_stream_starts_total{mode=live}"] == 1
        assert found["clarion_stream_refusals_total{reason=user}"] == 1
        clock.advance(90)
        await hub.kick(user="ann", reason="enough")
        await events.end()
        found = changed(registry, before)
        assert "clarion_readers" not in found  # back at zero
        assert found["clarion_stream_closes_total{reason=kicked}"] == 1
        assert found["clarion_stream_duration_seconds_sum"] == 90
        async with read_events(app, "/events", last_event_id="strange") as stranger:
            assert (await stranger.next()).type == "gap"
        found = changed(registry, before)
        assert found["clarion_gaps_total{reason=unknown}"] == 1
        assert found["clarion_stream_starts_total{mode=gap}"] == 1

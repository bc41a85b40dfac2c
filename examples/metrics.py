"""Figures for Prometheus at /metrics.

clarion run examples.metrics:app
curl http://127.0.0.1:8000/metrics
"""

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from clarion import Hub
from clarion.prometheus import PrometheusObserver

registry = CollectorRegistry()
hub = Hub(observer=PrometheusObserver(registry))
app = FastAPI(lifespan=hub.lifespan)
app.include_router(hub.router(topics=["news"], can_publish=lambda user, topic: topic == "news"))


@app.get("/metrics")
def metrics() -> Response:
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

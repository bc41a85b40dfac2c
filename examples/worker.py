"""A worker without a hub, such as a job of a task queue: it publishes to the journal that the web app's hub follows.

EVENTS=sqlite:///events.db clarion run examples.worker:app
EVENTS=sqlite:///events.db python examples/worker.py 42
"""

import os
import sys
import time

from fastapi import FastAPI

from clarion import Hub, Publisher

EVENTS = os.environ.get("EVENTS", "sqlite:///events.db")

hub = Hub(EVENTS)
app = FastAPI(lifespan=hub.lifespan)


@app.get("/tasks/{task_id}/events")
async def events(task_id: str):
    return hub.stream(topics=[f"tasks/{task_id}"], since="earliest")  # also for who comes late


def work(task_id: str, steps: int = 5, seconds: float = 0.5) -> None:
    """The job; it knows nothing of who watches."""
    with Publisher(EVENTS) as publisher:
        for step in range(1, steps + 1):
            time.sleep(seconds)
            publisher.publish(
                f"tasks/{task_id}",
                {"step": step, "of": steps},
                event="done" if step == steps else "progress",
                key=f"{task_id}/{step}",  # a job that is run again says nothing twice
                ttl=3600,
            )


if __name__ == "__main__":
    work(sys.argv[1])

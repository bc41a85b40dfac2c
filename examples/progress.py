"""Long work that tells how far it is: in the app, and in a worker that has no hub.

EVENTS=sqlite:///events.db clarion run examples.progress:app
curl -N 'localhost:8000/events?user=ann' &
curl -X POST 'localhost:8000/imports?user=ann'                      # answers {"taskId": ...}
curl -X POST 'localhost:8000/tasks/TASK_ID/cancel?user=ann'
EVENTS=sqlite:///events.db python examples/progress.py import:42 ann
"""

import asyncio
import os
import sys
import time

from fastapi import Depends, FastAPI

from clarion import Hub, Progress

EVENTS = os.environ.get("EVENTS", "sqlite:///events.db")

hub = Hub(EVENTS)
app = FastAPI(lifespan=hub.lifespan)


def current_user(user: str) -> str:
    return user  # your own session or token goes here


app.include_router(hub.router(current_user=current_user))  # the stream, and POST /tasks/{id}/cancel


@hub.task(title="Import orders", steps={"Read": 1, "Load": 4})
async def import_orders(task: Progress, rows: int, seconds: float = 0.01) -> int:
    with task.step("Read", total=rows) as read:
        orders = [number async for number in read.iter(range(rows))]
    with task.step("Load", total=rows) as load:
        for order in orders:
            await asyncio.sleep(seconds)
            load.advance(message=f"order {order}")
    return len(orders)


@app.post("/imports", status_code=202)
async def start_import(rows: int = 1000, user: str = Depends(current_user)) -> dict[str, str]:
    task = import_orders.using(user=user).start(rows)  # returns at once
    return {"taskId": task.id}


def work(task_id: str, user: str, rows: int = 1000, seconds: float = 0.01) -> None:
    """The same in a process without a hub. The app's hub shows it, cancels it, and notices if it dies."""
    with Progress(task_id, to=EVENTS, title="Import orders", unit="orders", user=user) as task:
        for order in task.iter(range(rows)):
            time.sleep(seconds)
            task.advance(0, message=f"order {order}")


if __name__ == "__main__":
    work(*sys.argv[1:3])

"""A live dashboard: a made-up shop, whose figures are values, whose orders are events, and which closes its books.

(cd examples/react-dashboard && npm ci && npm run build)
clarion run --app-dir examples/react-dashboard app:app
"""

import asyncio
import os
import random
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query
from starlette.staticfiles import StaticFiles

from clarion import Hub, Progress
from clarion.presence import Client

PAGE = Path(os.environ.get("PAGE", Path(__file__).parent / "dist"))
HISTORY = 60  # points of a curve, one a second
GOODS = {"Lamp": 79, "Chair": 149, "Kettle": 45, "Clock": 62, "Rug": 189, "Vase": 28, "Desk": 329, "Mirror": 95}
PLACES = ("Aarhus", "Bergen", "Cork", "Ghent", "Graz", "Leeds", "Lyon", "Porto", "Turin", "Utrecht")

hub = Hub(os.environ.get("EVENTS", "sqlite:///dashboard.db"))


class Shop:
    """People look around, and some of them buy."""

    def __init__(self) -> None:
        self._visitors = 140.0
        self._orders: deque[tuple[float, int]] = deque()  # of the last minute: when, and for how much
        self._curves: dict[str, dict[str, Any]] = {}
        self._number = 1000

    async def open(self) -> None:
        """Go on from the values that were told before the last end."""
        for name in ("visitors", "orders", "basket", "revenue"):
            self._curves[name] = await hub.get(f"metrics/{name}") or {"now": 0, "history": []}
        self._number += int(time.time()) % 1_000_000 * 10

    async def run(self) -> None:
        while True:
            await self._one_second(time.monotonic())
            await asyncio.sleep(1)

    async def _one_second(self, now: float) -> None:
        self._visitors = max(20.0, self._visitors + random.gauss((140 - self._visitors) / 40, 4))
        while self._orders and self._orders[0][0] < now - 60:
            self._orders.popleft()
        sold = [await self._sell(now) for _ in range(3) if random.random() < self._visitors / 400]
        amounts = [amount for _, amount in self._orders]
        await self._tell("visitors", round(self._visitors))
        await self._tell("orders", len(amounts))
        await self._tell("basket", round(sum(amounts) / len(amounts)) if amounts else 0)
        await self._tell("revenue", self._curves["revenue"]["now"] + sum(sold))

    async def _sell(self, now: float) -> int:
        count, (goods, price) = random.choice((1, 1, 1, 2, 3)), random.choice(list(GOODS.items()))
        self._number += 1
        self._orders.append((now, count * price))
        order = {
            "number": self._number,
            "what": f"{count} \N{MULTIPLICATION SIGN} {goods}",
            "where": random.choice(PLACES),
            "amount": count * price,
            "at": round(time.time() * 1000),
        }
        await hub.publish("orders", order, event="order", ttl=3600)
        return count * price

    async def _tell(self, name: str, now: int) -> None:
        """A figure and how it came to that: what a page needs that is opened now."""
        curve = self._curves[name]
        curve["now"], curve["history"] = now, [*curve["history"], now][-HISTORY:]
        await hub.set(f"metrics/{name}", curve, event="metric")


@hub.task(title="Close the books", steps={"Count the stock": 2, "Match the payments": 3, "Write the report": 1})
async def close_books(task: Progress, seconds: float) -> None:
    """Work of so many seconds."""
    for name, rows, share in (
        ("Count the stock", 240, 1 / 3),
        ("Match the payments", 360, 1 / 2),
        ("Write the report", 60, 1 / 6),
    ):
        with task.step(name, total=rows) as step:
            for row in range(rows):
                await asyncio.sleep(seconds * share / rows)
                step.advance(message=f"{name.lower()}: {row + 1} of {rows}")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with hub:
        shop = Shop()
        await shop.open()
        selling = asyncio.create_task(shop.run())
        yield
        selling.cancel()
        with suppress(asyncio.CancelledError):
            await selling


app = FastAPI(lifespan=lifespan)
# Everybody may look, and stop the work. examples/auth.py has users.
app.include_router(
    hub.router(
        topics=["metrics/*", "orders", "viewers", "books"],
        since="1m",  # of the feed; values are told to everyone who comes
        can_cancel=lambda user, task_id: task_id == "books",
    )
)


@hub.on_connect
@hub.on_disconnect
async def count_viewers(client: Client) -> None:
    await hub.set("viewers", hub.client_count)


@app.post("/books", status_code=202)
async def begin(seconds: Annotated[float, Query(gt=0, le=60)] = 12) -> dict[str, str]:
    books = await hub.get("books")
    if books is not None and books["status"] in ("pending", "running"):
        raise HTTPException(409, "the books are being closed")
    return {"taskId": close_books.using(task_id="books").start(seconds).id}


if not PAGE.is_dir():
    raise SystemExit("build the page first: npm ci && npm run build, in examples/react-dashboard")
app.mount("/", StaticFiles(directory=PAGE, html=True))

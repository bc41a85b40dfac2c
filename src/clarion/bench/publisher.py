"""Publishes inside one process as fast as it can: `python -m clarion.bench.publisher JOURNAL-URL`."""

import asyncio
import sys
import time

from clarion import Hub
from clarion.bench.orders import Order, Reply, serve
from clarion.bench.payload import event_data


async def rate(url: str, callers: int, seconds: float) -> Reply:
    """Let `callers` tasks publish one event after the other; return the rate, and how many positions were
    not new."""
    async with Hub(url) as hub:
        data = event_data(1_000_000)
        deadline = time.monotonic() + seconds
        offsets: list[int] = []

        async def caller() -> None:
            while time.monotonic() < deadline:
                for _ in range(20):
                    data["n"] = len(offsets)
                    receipt = await hub.publish("bench", data)
                    offsets.append(receipt.position.offset)
                # A memory journal answers at once; without this, one caller would never let another in.
                await asyncio.sleep(0)

        began = time.monotonic()
        await asyncio.gather(*(caller() for _ in range(callers)))
        took = time.monotonic() - began
    return {"per_second": len(offsets) / took, "faults": faults(offsets)}


def faults(offsets: list[int]) -> int:
    """Return how many positions are missing or doubled: all are to be different, and without a hole."""
    return len(offsets) - len(set(offsets)) + (max(offsets) - min(offsets) + 1 - len(offsets) if offsets else 0)


def main() -> None:
    def publish(order: Order) -> Reply:
        return asyncio.run(rate(sys.argv[1], int(order["callers"]), float(order["seconds"])))

    serve({"publish": publish})


if __name__ == "__main__":
    main()

"""Thousands of viewers of one stream, a process of its own (Linux): all have to get the same bytes.

It takes orders as `clarion.bench.client` does: `open`, then `collect`. What the first of the readers receives is the
transcript; what the others receive is compared with it, which costs a slice and a comparison. So it is folded once,
and what it adds up to is what every one of them shows. Who receives something else (a server folds what waits for a
reader that could not take it) is counted, and folded by itself: it has to show the same in the end.
"""

import os
import select
import socket
import time
from typing import Final

from benchmarks.viewing import Body, Stray, Transcript, View
from clarion.bench.client import POLLED, READ_BYTES, request
from clarion.bench.machine import raise_descriptor_limit
from clarion.bench.orders import Order, Reply, serve

OPEN_SECONDS: Final = 20.0
"""In which one reader must have been answered, with its value if it is to have one."""

REREAD_BYTES: Final = 4_096
"""The most that a frame here has: where its mark was received, and not yet its end, is looked at again."""


class Audience:
    """All readers of this process. One thread."""

    def __init__(self) -> None:
        self.transcript = Transcript()
        self.poll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        self.places: dict[int, int] = {}
        self.strays: dict[int, Stray] = {}
        self.faults = {"closed": 0, "behind": 0, "astray": 0}
        self.opening = b""
        self.view = View()
        self.folded = 0

    def open(self, order: Order) -> Reply:
        """Connect `count` readers to `path` at `port`; each until it was told a frame that holds `awaits`."""
        for index in range(int(order["count"])):
            connection = socket.create_connection(("127.0.0.1", int(order["port"])), timeout=OPEN_SECONDS)
            connection.sendall(request(order, index))
            body, opening, view = Body(), b"", View()
            while not body.has(order["awaits"].encode()):
                run = connection.recv(READ_BYTES)
                if not run:
                    raise ConnectionError("the server closed a stream")
                opening += run
                body.feed(run)
            view.feed(bytes(body.text))
            if not self.sockets:
                self.opening, self.view = opening, view
            self.faults["astray"] += view.values != self.view.values
            connection.setblocking(False)
            self.sockets[connection.fileno()] = connection
            self.places[connection.fileno()] = 0
            self.poll.register(connection.fileno(), select.EPOLLIN)
        return {"readers": len(self.sockets)}

    def collect(self, order: Order) -> Reply:
        """Read until all readers have the frame that holds `mark`, or `timeout` seconds have gone.

        Replies with what was counted, the values that all of them show, the numbers of all plain events so far, and how
        many readers got other bytes than most.
        """
        mark, pause = order["mark"].encode(), float(order.get("pause", 0.0))
        start = scanned = len(self.transcript.text)
        goal, finished_ns = -1, 0
        began, cpu = time.monotonic(), time.process_time()
        deadline = began + float(order["timeout"])
        while not finished_ns and self.sockets and time.monotonic() < deadline:
            time.sleep(pause)
            self._turn()
            if goal < 0:
                goal = self.transcript.end_of(mark, max(start, scanned - REREAD_BYTES))
                scanned = len(self.transcript.text)
            if goal >= 0 and not self._behind(goal, mark):
                finished_ns = time.monotonic_ns()
        cpu, seconds = time.process_time() - cpu, time.monotonic() - began
        end = len(self.transcript.text)
        if not finished_ns:
            self.faults["behind"] += self._behind(goal, mark) if goal >= 0 else len(self.sockets)
        values, numbers = self._shown(), self.transcript.numbers()
        self.faults["astray"] += sum(not stray.agrees(values, numbers) for stray in self.strays.values())
        if finished_ns:  # nothing comes after the goal, to nobody
            self.faults["astray"] += sum(self.transcript.frames(place, end) > 0 for place in self.places.values())
        return {
            "readers": len(self.sockets),
            "frames": self.transcript.frames(start, end),
            "bytes": end - start,
            "seconds": seconds,
            "cpu_seconds": cpu,
            "finished_ns": finished_ns,
            "faults": self._counted(),
            "values": values,
            "numbers": numbers,
            "others": len(self.strays),
        }

    def _turn(self) -> None:
        """Read once from every reader that has something. The hot loop."""
        places, take, read = self.places, self.transcript.take, os.read
        for fd, _ in self.poll.poll(0.5, POLLED):
            try:
                run = read(fd, READ_BYTES)
            except ConnectionError:
                run = b""
            if not run:
                self._forget(fd)
            elif fd in self.strays:
                self.strays[fd].feed(run)
            elif (place := take(places[fd], run)) >= 0:
                places[fd] = place
            else:
                self.strays[fd] = Stray(self.opening + self.transcript.text[: places.pop(fd)])
                self.strays[fd].feed(run)

    def _behind(self, goal: int, mark: bytes) -> int:
        """How many readers have not got to a place, or what they get instead."""
        behind = sum(place < goal for place in self.places.values())
        return behind + sum(not stray.has(mark) for stray in self.strays.values())

    def _shown(self) -> dict[str, object]:
        body = self.transcript.body()
        self.view.feed(body[self.folded :])
        self.folded = len(body)
        return self.view.values

    def _counted(self) -> dict[str, int]:
        counted = {**self.faults, **self.view.faults}
        self.faults = dict.fromkeys(self.faults, 0)
        return counted

    def _forget(self, fd: int) -> None:
        self.faults["closed"] += 1
        self.poll.unregister(fd)
        self.sockets.pop(fd).close()
        self.places.pop(fd, None)
        self.strays.pop(fd, None)


def main() -> None:
    raise_descriptor_limit()
    audience = Audience()
    serve({"open": audience.open, "collect": audience.collect})


if __name__ == "__main__":
    main()

"""A Celery app on its filesystem transport. `CELERY_FOLDER` names its folder, `EVENTS_URL` the journal of the hubs."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES, filesystem

from clarion.integrations.celery import CeleryProgress, current_progress
from clarion.publisher import Publisher
from clarion.work.failures import PublicError

folder = Path(os.environ["CELERY_FOLDER"])
for name in ("in", "processed", "control"):
    (folder / name).mkdir(parents=True, exist_ok=True)


class Whole(filesystem.Channel):
    """Celery's filesystem transport, but that a message is there as a whole or not at all: its reader does not wait."""

    def _put(self, queue: str, payload: Any, **options: Any) -> None:
        desk = folder / f"desk-{os.getpid()}-{threading.get_ident()}"
        desk.mkdir(exist_ok=True)
        self.data_folder_out = str(desk)
        super()._put(queue, payload, **options)
        for path in desk.iterdir():
            path.rename(folder / "in" / path.name)


class Transport(filesystem.Transport):
    Channel = Whole


TRANSPORT_ALIASES["whole"] = f"{__name__}:Transport"
app = Celery("shop", broker="whole://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": str(folder / "in"),
        "data_folder_out": str(folder / "in"),
        "processed_folder": str(folder / "processed"),
        "control_folder": str(folder / "control"),
        "store_processed": False,
        "polling_interval": 0.05,
    },
    broker_connection_retry_on_startup=True,
    result_backend=f"file://{folder / 'processed'}",
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
)


class RecordingPublisher(Publisher):
    """Notes all that is told in a file: readers get the state, in which changes may be folded."""

    def change_many(self, changes: Any) -> Any:
        changes = list(changes)
        with (folder / "told").open("a") as file:
            file.writelines(json.dumps([one.topic, one.user, one.data]) + "\n" for one in changes)
        return super().change_many(changes)


def told(task_id: str) -> list[dict[str, Any]]:
    """All that was told of a task, by whatever process."""
    lines = [json.loads(line) for line in (folder / "told").read_text().splitlines()]
    return [value for topic, _, value in lines if topic == task_id]


def options_of(name: str, args: Any, kwargs: Any) -> dict[str, Any] | None:
    if name == "shop.silent":
        return None
    return {"user": kwargs["user"]} if "user" in kwargs else {}


progress = CeleryProgress(app, RecordingPublisher(os.environ["EVENTS_URL"]), options=options_of)


@app.task(name="shop.plain")
def plain(number: int, user: str | None = None) -> int:
    """Knows nothing of progress."""
    return 2 * number


@app.task(name="shop.silent")
def silent() -> None:
    """Is not to be told."""


@app.task(name="shop.counting")
def counting(number: int) -> None:
    task = current_progress()
    assert task is not None
    for _ in task.iter(range(number)):
        pass


@app.task(name="shop.failing")
def failing() -> None:
    raise ValueError("secret")


@app.task(name="shop.public")
def public() -> None:
    raise PublicError("Row 7 has no date.", code="bad_row")


@app.task(name="shop.retrying", bind=True, max_retries=3, default_retry_delay=0)
def retrying(self: Any) -> str:
    task = current_progress()
    assert task is not None
    task.update(total=3, current=self.request.retries + 1)
    if self.request.retries < 2:
        try:
            raise ConnectionError("secret")
        except ConnectionError as error:
            raise self.retry(exc=error) from None
    return "at last"


@app.task(name="shop.endless")
def endless() -> None:
    task = current_progress()
    assert task is not None
    task.update(total=10, current=4, message="under way")
    while True:
        task.advance(0)
        time.sleep(0.01)


@app.task(name="shop.dying")
def dying() -> None:
    task = current_progress()
    assert task is not None
    task.update(total=10, current=4)
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)

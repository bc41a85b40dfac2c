"""Orders: what hubs that share a journal say to each other, on topics of their own that no reader is told of."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from clarion import json
from clarion.changes import said
from clarion.event import Entry
from clarion.values import Change

Listener = Callable[[str, Any], None]

logger = logging.getLogger("clarion.hub")


class Orders:
    """Who listens to what. Belongs to the event loop."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}

    def listen(self, topic: str, listener: Listener) -> Callable[[], None]:
        """Have `listener(subject, data)` called for each entry of a control topic. Returns what ends it; twice is once.

        subject: of a value; of an order it is the topic. data: None for a value that was deleted.
        """
        listeners = self._listeners.setdefault(topic, [])
        listeners.append(listener)

        def end() -> None:
            if listener in listeners:
                listeners.remove(listener)

        return end

    def tell(self, entry: Entry) -> None:
        """Call those who listen. What one of them raises is logged, and harms no other."""
        listeners = self._listeners.get(entry.topic)
        if not listeners:
            return
        subject, data = entry.topic, None
        try:
            if entry.change:
                _, _, subject, line = said(entry.frame)
            else:
                line = entry.frame.partition(b"data: ")[2].strip()
            if entry.change is not Change.DELETE:
                data = json.decode(line)
        except (KeyError, ValueError):  # KeyError: a change that is not known here
            logger.warning("an order on %s is not understood; is another version at work?", entry.topic)
            return
        for listener in list(listeners):
            try:
                listener(subject, data)
            except Exception:
                logger.exception("an order on %s could not be carried out", entry.topic)

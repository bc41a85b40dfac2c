"""Who is here: the names of the connected readers, told to everybody when they change."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass

from clarion import Client, Hub, JournalError

NAMES_SHOWN = 100  # a list longer than that is not read
SETTLE_SECONDS = 0.1  # a reload is a disconnect and a connect; a restart is everybody at once

_log = logging.getLogger("clarion.demo")


@dataclass(frozen=True, slots=True)
class Person:
    """A name and how many streams (tabs) it has open."""

    user: str
    tabs: int


@dataclass(frozen=True, slots=True)
class People:
    """The first ``NAMES_SHOWN`` people by name, and how many streams there are in all."""

    people: list[Person]
    streams: int


class Presence:
    """Publishes `People` on the topic ``people`` shortly after somebody came or left. Run `run` as a task."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._changed = asyncio.Event()
        hub.on_connect(self._note_change)
        hub.on_disconnect(self._note_left)

    async def run(self) -> None:
        """Publish each change until cancelled."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._changed.clear()
            # Only who is here now cares, so nothing of this is kept.
            try:
                await self._hub.publish("people", self.people(), event="people", ephemeral=True)
            except JournalError as error:
                _log.warning("who is here was not published: %s", error)

    def people(self) -> People:
        """Who is here now."""
        tabs = Counter(client.user for client in self._hub.clients() if client.user is not None)
        names = sorted(tabs, key=str.casefold)[:NAMES_SHOWN]
        return People([Person(name, tabs[name]) for name in names], sum(tabs.values()))

    def _note_change(self, client: Client) -> None:
        self._changed.set()

    def _note_left(self, client: Client, reason: str) -> None:
        self._changed.set()

"""The follower: reads the journal as it grows and is the only one who adds to the log. One for each process."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import Final

from clarion.delivery import Delivery
from clarion.errors import JournalError, JournalOverrun
from clarion.journals.base import Journal
from clarion.log import WINDOW_BYTES, WINDOW_ENTRIES, Log

MAX_UNPLANNED_ENTRIES: Final = 8_192  # in the log and not offered yet: then it waits, so the log keeps what is needed
RETRY_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)  # after the journal failed again and again

logger = logging.getLogger("clarion.follower")


async def prime(log: Log, journal: Journal) -> None:
    """Fill the log with the newest entries of the journal."""
    floor, entries = await journal.tail(max_entries=WINDOW_ENTRIES // 2, max_bytes=WINDOW_BYTES // 2)
    log.last_change = max(log.last_change, await journal.last_change())  # before anybody sees the new head
    log.reset(floor, entries)


async def _begin_again(journal: Journal, delivery: Delivery) -> None:
    """Leave out what is gone: live readers fall behind to where they were, and are told the gap by their next page."""
    try:
        await prime(delivery.fanout.log, journal)
        delivery.wake()
    except JournalError as error:
        logger.error("the journal cannot be read: %s", error)
        await asyncio.sleep(RETRY_SECONDS[-1])


async def follow(journal: Journal, delivery: Delivery) -> None:
    """Follow the journal until cancelled. When it fails: say so, wait, and go on from where the log ends."""
    failures = 0
    while True:
        try:
            # Nothing may be left out: a failure makes it begin again after the last entry that the log has.
            async with aclosing(journal.follow(delivery.fanout.log.head)) as batches:  # type: ignore[type-var]
                async for batch in batches:
                    failures = 0
                    delivery.extend(batch)
                    await delivery.room(MAX_UNPLANNED_ENTRIES)
        except JournalOverrun as error:
            logger.warning("%s; readers go on from the journal", error)
            await _begin_again(journal, delivery)
        except Exception as error:  # whatever it is, readers must not wait for ever in silence
            seconds = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
            failures += 1
            expected = isinstance(error, JournalError)
            logger.error(
                "the journal cannot be followed, trying again in %s s: %s", seconds, error, exc_info=not expected
            )
            await asyncio.sleep(seconds)

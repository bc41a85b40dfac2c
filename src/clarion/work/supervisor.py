"""The supervisor: an open hub's knowledge of the works that are under way, its own and those of all other processes.

It renews the leases of the works that run in its process, tells those that nobody renews as `lost`, passes on what is
asked to stop, and cancels what nobody looks at. Every hub watches all leases, so any of them may die.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, Protocol

from clarion.clock import Clock, Timer
from clarion.errors import ClarionError, JournalError
from clarion.work.endings import end_for, forget
from clarion.work.failures import NotCancellable, UnknownWork
from clarion.work.leases import (
    ASKED,
    CANCEL,
    LEASE,
    NO_VIEWERS,
    RECORD_SECONDS,
    SHUTDOWN,
    VIEWERS,
    Lease,
    LeaseTable,
    lease_from_json,
)
from clarion.work.lookout import Lookout
from clarion.work.ports import HubPort, Stop
from clarion.work.status import CANCELLED, LOST

STALL_MS: Final = 5_000  # a timer that is so late: this process was stopped, and heard nobody meanwhile
RETRY_MS: Final = 1_000  # after the journal failed
CLOSE_GRACE_SECONDS: Final = 2.0  # for works to tell their end when the hub closes

logger = logging.getLogger("clarion.work")


class Stoppable(Protocol):
    """A work that runs in this process."""

    def cancel(self, reason: str) -> None:
        """Begin to stop, for `ASKED`, `NO_VIEWERS` or `SHUTDOWN`. Called in the loop, perhaps more than once."""
        ...


class _Held:
    """A lease of this process, and when to renew it."""

    __slots__ = ("lease", "renew_ms", "work")

    def __init__(self, lease: Lease, work: Stoppable) -> None:
        self.lease = lease
        self.work = work
        self.renew_ms: int | None = None


class Supervisor:
    """Belongs to the hub's event loop, from `start` until `close`. Times are those of the hub's clock."""

    def __init__(self, hub: HubPort, clock: Clock) -> None:
        self._hub = hub
        self._clock = clock
        self._table = LeaseTable()
        self._held: dict[str, _Held] = {}
        self._lookout = Lookout(hub, clock)
        self._stops: list[Stop] = []
        self._timer: Timer | None = None
        self._armed_ms = 0
        self._resting_until_ms = 0
        self._turn: asyncio.Task[None] | None = None
        self._released = asyncio.Event()
        self._closed = True

    async def start(self) -> None:
        """Begin to watch; the hub is open. Raises `JournalError`."""
        self._closed = False
        self._released = asyncio.Event()
        self._table = LeaseTable()
        self._lookout = Lookout(self._hub, self._clock)
        hub = self._hub
        self._stops = [
            hub.on_control(LEASE, self._lease_changed),
            hub.on_control(CANCEL, self._cancel_changed),
            hub.on_control(VIEWERS, self._lookout.heard),
        ]
        try:
            for subject, said in (await hub.control_values(LEASE)).items():
                if self._table.get(subject) is None:  # else it was renewed since
                    self._learn(subject, said, fresh=False)
            for subject, said in (await hub.control_values(VIEWERS)).items():
                self._lookout.heard(subject, said)
        except BaseException:
            self._closed = True
            self._stop_listening()
            raise
        self._arm()

    async def close(self) -> None:
        """Cancel the works of this process, wait a little for their last words, and watch no more. Twice is once."""
        if self._closed:
            return
        for held in list(self._held.values()):
            held.work.cancel(SHUTDOWN)
        try:
            async with asyncio.timeout(CLOSE_GRACE_SECONDS):
                while self._held:
                    self._released.clear()
                    await self._released.wait()
        except TimeoutError:
            logger.warning("%d works did not stop in time; they will be told as lost", len(self._held))
        self._closed = True
        self._stop_listening()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._turn is not None:
            self._turn.cancel()
            await asyncio.gather(self._turn, return_exceptions=True)
        await self._lookout.close()
        self._held.clear()

    # Works of this process.

    def announce(self, lease: Lease, work: Stoppable) -> None:
        """A work of this process is about to begin: `cancel` finds it from now on."""
        self._held[lease.id] = _Held(lease, work)

    async def hold(self, lease: Lease, work: Stoppable) -> None:
        """Give a lease to a work of this process, and renew it until `release`. Another lease replaces it.

        Call it before the work's value is told. Raises `JournalError`; the lease is tried again, all the same.
        """
        self.announce(lease, work)
        try:
            await self._renew(self._held[lease.id])
        finally:
            self._arm()

    async def leave(self, lease: Lease) -> None:
        """A work waits in a queue from now on, in nobody's hands. Its lease has no seconds. Raises `JournalError`."""
        self._held.pop(lease.id, None)
        await self._hub.control_set(LEASE, lease.id, lease.to_json(self._clock.wall_ms()), ttl=RECORD_SECONDS)

    async def release(self, lease: Lease, *, told: bool = True) -> None:
        """The work has ended: take away its lease and what was asked of it. Raises nothing.

        told: whether its end was told. If not, its lease stays, so that it is found lost.
        """
        held = self._held.get(lease.id)
        if held is not None and held.lease.run == lease.run:
            del self._held[lease.id]
            held = None
        known = self._table.get(lease.id)
        if told and held is None and (known is None or known.run == lease.run):  # else another run has begun
            self._lookout.forget(lease.id)
            await forget(self._hub, lease.id)
        self._released.set()

    @property
    def clock(self) -> Clock:
        """The hub's clock."""
        return self._clock

    def working(self, work_id: str) -> bool:
        """Whether a work runs in this process."""
        return work_id in self._held

    # Cancelling.

    async def find(self, work_id: str) -> Lease:
        """The lease of a work that is under way anywhere. Raises `UnknownWork` and `JournalError`."""
        if (held := self._held.get(work_id)) is not None:
            return held.lease
        lease = self._table.get(work_id)
        if lease is None:  # it may have begun in another process a moment ago
            said = (await self._hub.control_values(LEASE)).get(work_id)
            lease = None if said is None else self._learn(work_id, said, fresh=False)
            self._arm()
        if lease is None:
            raise UnknownWork(work_id)
        return lease

    async def cancel(self, work_id: str, *, user: str | None = None, reason: str = ASKED) -> None:
        """Ask a work to stop, in whatever process it is. It tells that it was asked, and then how it ended.

        user: who asks, if only that user's own works may be stopped; None for an app that has checked that itself.

        Raises `UnknownWork` for one that is not under way or not that user's, `NotCancellable`, and `JournalError`.
        """
        lease = await self.find(work_id)
        if user is not None and lease.owner != user:
            raise UnknownWork(work_id)
        if not lease.cancellable and reason == ASKED:
            raise NotCancellable(work_id)
        await self._request(lease, reason)

    async def _request(self, lease: Lease, reason: str) -> None:
        if (held := self._held.get(lease.id)) is not None:
            held.work.cancel(reason)
            return
        request = {"run": lease.run, "reason": reason}
        await self._hub.control_set(CANCEL, lease.id, request, ttl=RECORD_SECONDS)
        if lease.seconds is None:  # it waits in a queue, where nobody can tell its end; who takes it finds the request
            await self._end(lease, CANCELLED, (LEASE,))

    # What is heard.

    def _lease_changed(self, subject: str, said: Any) -> None:
        if said is None:
            self._drop(subject)
        else:
            self._learn(subject, said, fresh=True)
        self._arm()

    def _learn(self, subject: str, said: Any, *, fresh: bool) -> Lease | None:
        try:
            lease, until_ms = lease_from_json(said)
        except (ValueError, ClarionError):
            logger.warning("the lease of %s is not understood; is another version at work?", subject)
            self._drop(subject)
            return None
        left_ms = None if fresh or until_ms is None else until_ms - self._clock.wall_ms()
        self._table.renewed(lease, self._clock.monotonic_ms(), left_ms)
        self._lookout.begin(lease)
        return lease

    def _drop(self, work_id: str) -> None:
        self._table.gone(work_id)
        self._lookout.forget(work_id)

    def _cancel_changed(self, subject: str, said: Any) -> None:
        held = self._held.get(subject)
        if held is not None and (reason := held.lease.asked(said)) is not None:
            held.work.cancel(reason)

    # What is due.

    def _arm(self) -> None:
        """Set the timer to what is due next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed or self._turn is not None:
            return  # a turn arms it at its end
        dues = [held.renew_ms for held in self._held.values() if held.renew_ms is not None]
        if (overdue_ms := self._table.next_due_ms()) is not None:
            dues.append(overdue_ms)
        if self._watched():
            dues.append(self._lookout.due_ms)
        if dues:
            now_ms = self._clock.monotonic_ms()
            self._armed_ms = max(now_ms, self._resting_until_ms, min(dues))
            self._timer = self._clock.call_later(self._armed_ms - now_ms, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now_ms = self._clock.monotonic_ms()
        if now_ms - self._armed_ms > STALL_MS:
            self._table.postpone(now_ms)
        self._turn = self._hub.loop.create_task(self._take_turn(), name="clarion supervisor")

    async def _take_turn(self) -> None:
        try:
            now_ms = self._clock.monotonic_ms()
            late = [one for one in self._held.values() if one.renew_ms is not None and one.renew_ms <= now_ms]
            for failure in await asyncio.gather(*map(self._renew, late), return_exceptions=True):
                if isinstance(failure, Exception):
                    logger.warning("a lease could not be renewed: %s", failure)
            if overdue := self._table.overdue(self._clock.monotonic_ms()):
                await self._tell_lost(overdue)
            if (watched := self._watched()) and self._clock.monotonic_ms() >= self._lookout.due_ms:
                for lease in await self._lookout.look(watched):
                    logger.info("%s is cancelled: nobody has looked at it", lease.id)
                    await self._request(lease, NO_VIEWERS)
        except Exception as error:
            level = logging.WARNING if isinstance(error, JournalError) else logging.ERROR
            logger.log(level, "works could not be looked after", exc_info=error)
            self._resting_until_ms = self._clock.monotonic_ms() + RETRY_MS
        finally:
            self._turn = None
            self._arm()

    def _watched(self) -> list[Lease]:
        return [lease for lease in self._table if lease.no_viewers_seconds is not None]

    async def _renew(self, held: _Held) -> None:
        lease, now_ms = held.lease, self._clock.monotonic_ms()
        if self._held.get(lease.id) is not held:
            return
        held.renew_ms = None if lease.renew_ms is None else now_ms + lease.renew_ms
        value = lease.to_json(self._clock.wall_ms())
        await self._hub.control_set(LEASE, lease.id, value, ttl=RECORD_SECONDS)

    async def _tell_lost(self, overdue: list[Lease]) -> None:
        """Tell those lost whose lease has really run out: the journal may know of a renewal that was not heard yet."""
        stored = await self._hub.control_values(LEASE)
        for lease in overdue:
            held = self._held.get(lease.id)
            if held is not None and held.lease.run == lease.run:  # a renewal of our own, in a slow journal
                self._table.renewed(lease, self._clock.monotonic_ms())
                continue
            said = stored.get(lease.id)
            known = None if said is None else self._learn(lease.id, said, fresh=False)
            if known is None:
                self._drop(lease.id)
            elif known in self._table.overdue(self._clock.monotonic_ms()):
                await self._end(known, LOST, (LEASE, CANCEL))
                logger.warning("%s is lost: nobody renewed its lease of %s s", known.id, known.seconds)

    async def _end(self, lease: Lease, status: str, forgotten: tuple[str, ...]) -> None:
        try:
            await end_for(self._hub, lease, status, self._clock.wall_ms())
        except JournalError:
            raise
        except ClarionError as error:  # what it told cannot be told again: a bound was lowered meanwhile
            logger.error("%s is %s, but its value cannot say so: %s", lease.id, status, error)
        self._drop(lease.id)
        await forget(self._hub, lease.id, forgotten)

    def _stop_listening(self) -> None:
        for stop in self._stops:
            stop()
        self._stops.clear()

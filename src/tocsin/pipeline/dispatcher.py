"""Sending: what was just accepted at once, everything else as it falls due, each destination in its own lane."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
import structlog

from tocsin.core.clock import Clock
from tocsin.core.delivery import (
    LIVE,
    Delivered,
    Delivery,
    DeliveryState,
    Lease,
    Outcome,
    Rejected,
)
from tocsin.core.destination import Destination, Transport
from tocsin.core.errors import TocsinError
from tocsin.core.identifiers import DeliveryId, DestinationId, OrganisationId
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import Finished, RetryAt, Settlement
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.lane import Lane, LaneLimits
from tocsin.pipeline.settling import Settler, settlement_of
from tocsin.pipeline.vault import Vault
from tocsin.telemetry import Metrics
from tocsin.transports import protocol
from tocsin.transports.protocol import Shipment, Target

_log = structlog.get_logger("tocsin.dispatcher")


class Health(Protocol):
    """Who keeps an eye on destinations over days."""

    def succeeded(self, destination: Destination) -> None:
        """Note that something arrived."""
        ...

    def failed(self, destination: Destination, *, dead: bool) -> None:
        """Note that an attempt failed; ``dead`` when the remote said that nothing will ever be taken there."""
        ...


class DispatchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of sending.

    Attributes:
        sending_max: attempts under way at once, over all destinations.
        held_max: deliveries leased by this process, sent or waiting.
        claim_max: deliveries in one claim.
        claim_per_destination: of these, for one destination.
        lease_ms: longer than any attempt.
        poll_s: how often due work is looked for when nothing hints at any.
        lane: bounds of each destination.
    """

    sending_max: int = 512
    held_max: int = 4096
    claim_max: int = 256
    claim_per_destination: int = 64
    lease_ms: int = 90_000
    poll_s: float = 1.0
    lane: LaneLimits = LaneLimits()


_LEASE_MARGIN_MS = 2_000


class Dispatcher:
    """Leases deliveries and makes their attempts.

    Args:
        transports: the ways out that are there.
        random: uniform numbers in [0, 1), for jitter.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        catalog: Catalog,
        vault: Vault,
        transports: Mapping[Transport, protocol.Transport],
        health: Health,
        clock: Clock,
        random: Callable[[], float],
        metrics: Metrics,
        limits: DispatchLimits,
    ) -> None:
        self._engine = engine
        self._catalog = catalog
        self._vault = vault
        self._transports = transports
        self._health = health
        self._clock = clock
        self._random = random
        self._metrics = metrics
        self._limits = limits
        self._lanes: dict[DestinationId, Lane] = {}
        self._targets: dict[DestinationId, Target] = {}
        self._held = 0
        self._sending = 0
        self._starved: dict[DestinationId, None] = {}
        self._settler = Settler(engine, on_settled=metrics.settled)
        self._claim_wanted = asyncio.Event()
        self._watched: dict[DeliveryId, asyncio.Future[bool]] = {}
        self._stopping = False
        self._idle = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # -- life -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the transports and begin to look for due work."""
        for transport in self._transports.values():
            await transport.open()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._listen()), loop.create_task(self._claim_for_ever())]
        self._claim_wanted.set()

    async def stop(self, patience_s: float) -> None:
        """Finish the attempts under way, give back what was not begun, record everything.

        Args:
            patience_s: attempts still under way after that are abandoned; their leases run out by themselves.
        """
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        now_ms = self._clock.now_ms()
        for lane in self._lanes.values():
            self._give_back(lane, now_ms)
        try:
            async with asyncio.timeout(patience_s):
                while self._sending:
                    self._idle.clear()
                    await self._idle.wait()
                await self._settler.drain()
        except TimeoutError:
            _log.warning("shutdown_abandoned_attempts", attempts=self._sending)
        for transport in self._transports.values():
            await transport.close()

    # -- what was just accepted -------------------------------------------------------------------------

    def reserve(self, destination: Destination) -> bool:
        """Return whether one more delivery can be sent soon; a place is then kept for it."""
        lane = self._lane(destination.id)
        if (
            self._stopping
            or destination.paused
            or self._held >= self._limits.held_max
            or not lane.has_room(self._clock.monotonic_s())
        ):
            lane.backlogged = True
            return False
        lane.reserved += 1
        self._held += 1
        return True

    def release(self, destination_id: DestinationId) -> None:
        """Give a reserved place back."""
        self._lane(destination_id).reserved -= 1
        self._held -= 1

    def lease_until_ms(self) -> int:
        """Return until when what is leased now belongs to this process."""
        return self._clock.now_ms() + self._limits.lease_ms

    def take(self, leases: Sequence[Lease]) -> None:
        """Send these; each has a reserved place."""
        touched = []
        for lease in leases:
            lane = self._lane(lease.destination_id)
            lane.reserved -= 1
            lane.queue.append(lease)
            touched.append(lease.destination_id)
        for destination_id in dict.fromkeys(touched):
            self._pump(destination_id)

    async def first_attempts(
        self, organisation_id: OrganisationId, deliveries: Sequence[DeliveryId], timeout_s: float
    ) -> bool:
        """Wait until each delivery's first attempt ended; return whether all were delivered.

        Args:
            timeout_s: an attempt that has not ended by then counts as not delivered.
        """
        loop = asyncio.get_running_loop()
        futures = {each: self._watched.setdefault(each, loop.create_future()) for each in deliveries}
        for found in await self._engine.find(Delivery, organisation_id, list(deliveries)):
            if found is not None and (found.attempts_made or found.state not in LIVE):
                self._tell(found.id, delivered=found.state is DeliveryState.DELIVERED)
        if futures:
            await asyncio.wait(futures.values(), timeout=timeout_s)
        verdict = all(future.done() and future.result() for future in futures.values())
        for each in deliveries:
            self._watched.pop(each, None)
        return verdict

    # -- what falls due ---------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            await self._engine.wait(self._limits.poll_s)
            self._claim_wanted.set()

    async def _claim_for_ever(self) -> None:
        while True:
            await self._claim_wanted.wait()
            self._claim_wanted.clear()
            try:
                await self._claim()
            except TocsinError as error:
                _log.warning("claim_failed", error=error.detail)
                await asyncio.sleep(self._limits.poll_s)

    async def _claim(self) -> None:
        room = min(self._limits.held_max - self._held, self._limits.claim_max)
        if room <= 0:
            return
        leases = await self._engine.claim(
            limit=room,
            per_destination=self._limits.claim_per_destination,
            lease_until_ms=self.lease_until_ms(),
            skip=self._unable(),
        )
        for lease in leases:
            self._lane(lease.destination_id).queue.append(lease)
        self._held += len(leases)
        for destination_id in dict.fromkeys(lease.destination_id for lease in leases):
            self._pump(destination_id)
        if len(leases) == room:
            self._claim_wanted.set()

    def _unable(self) -> frozenset[DestinationId]:
        """Return the destinations that cannot take anything now."""
        now_s = self._clock.monotonic_s()
        unable = {each.id for each in self._catalog.all_destinations() if each.paused or not each.enabled}
        for destination_id, lane in self._lanes.items():
            if not lane.has_room(now_s):
                lane.backlogged = True
                unable.add(destination_id)
        return frozenset(unable)

    # -- sending ----------------------------------------------------------------------------------------

    def _lane(self, destination_id: DestinationId) -> Lane:
        lane = self._lanes.get(destination_id)
        if lane is None:
            lane = self._lanes[destination_id] = Lane(self._limits.lane)
        return lane

    def _pump(self, destination_id: DestinationId) -> None:
        """Start what this destination may be sent now."""
        lane = self._lanes[destination_id]
        destination = self._catalog.any_destination(destination_id)
        if destination is None:
            self._cancel_all(lane)
            return
        if self._stopping or destination.paused or not destination.enabled:
            self._give_back(lane, self._clock.now_ms())
            return
        now_s = self._clock.monotonic_s()
        enough_ms = self._clock.now_ms() + round(destination.timeout_s * 1000) + _LEASE_MARGIN_MS
        while lane.queue and self._sending < self._limits.sending_max and lane.may_send(destination, now_s):
            if lane.queue[0].until_ms < enough_ms:
                # Too little of the lease is left; it runs out by itself, and the delivery is claimed anew.
                lane.queue.popleft()
                self._held -= 1
                continue
            wait_s = lane.token_wait_s(destination, now_s)
            if wait_s > 0:
                self._pump_later(destination_id, lane, wait_s)
                return
            self._start(destination, lane, lane.queue.popleft())
        if lane.queue and self._sending >= self._limits.sending_max:
            self._starved[destination_id] = None

    def _pump_later(self, destination_id: DestinationId, lane: Lane, wait_s: float) -> None:
        def pump() -> None:
            lane.timer_set = False
            self._pump(destination_id)

        if not lane.timer_set:
            lane.timer_set = True
            asyncio.get_running_loop().call_later(wait_s, pump)

    def _start(self, destination: Destination, lane: Lane, lease: Lease) -> None:
        target = self._targets.get(destination.id)
        if target is None or target.destination is not destination:
            target = self._targets[destination.id] = self._vault.target(destination)
        lane.sending += 1
        self._sending += 1
        self._transports[destination.transport].start(Shipment(lease, target), self._done)

    def _done(self, shipment: Shipment, outcome: Outcome) -> None:
        lease, destination = shipment.lease, shipment.target.destination
        lane = self._lanes[destination.id]
        lane.sending -= 1
        self._sending -= 1
        self._held -= 1
        settlement = settlement_of(
            lease, outcome, destination.retry, now_ms=self._clock.now_ms(), jitter=self._random()
        )
        self._settler.add(settlement)
        self._metrics.attempted(destination.transport, outcome)
        self._judge(destination, lane, outcome)
        if isinstance(settlement.then, RetryAt):
            self._claim_at(settlement.then.due_ms)
        if lease.delivery_id in self._watched:
            self._tell(lease.delivery_id, delivered=isinstance(outcome, Delivered))
        if lane.queue:
            self._pump(destination.id)
        elif lane.backlogged:
            lane.backlogged = False
            self._claim_wanted.set()
        if self._starved:
            starved = next(iter(self._starved))
            del self._starved[starved]
            self._pump(starved)
        if self._stopping and not self._sending:
            self._idle.set()

    def _judge(self, destination: Destination, lane: Lane, outcome: Outcome) -> None:
        """Let the breaker and the watch over days know how it went."""
        if isinstance(outcome, Delivered):
            if lane.failures or destination.failing_since_ms is not None:
                lane.succeeded()
                self._health.succeeded(destination)
            return
        attempt = outcome.attempt
        dead = isinstance(outcome, Rejected) and outcome.disable
        _log.info(
            "attempt_failed",
            destination=destination.id.hex(),
            status_code=attempt.status_code,
            error_class=attempt.error_class,
            error=attempt.error,
        )
        self._health.failed(destination, dead=dead)
        now_s = self._clock.monotonic_s()
        if lane.failed(now_s):
            self._metrics.breaker_opened()
            wait_s = lane.open_until_s - now_s
            self._give_back(lane, self._clock.now_ms())
            asyncio.get_running_loop().call_later(wait_s, self._claim_wanted.set)

    def _claim_at(self, due_ms: int) -> None:
        """Look for due work at that time, if it is near; the poll finds what is farther away."""
        wait_s = (due_ms - self._clock.now_ms()) / 1000
        if wait_s < 2 * self._limits.poll_s:
            asyncio.get_running_loop().call_later(max(0.0, wait_s) + 0.001, self._claim_wanted.set)

    def _tell(self, delivery_id: DeliveryId, *, delivered: bool) -> None:
        future = self._watched.get(delivery_id)
        if future is not None and not future.done():
            future.set_result(delivered)

    def _give_back(self, lane: Lane, now_ms: int) -> None:
        """Return what was not begun to the queue, without an attempt."""
        for lease in lane.queue:
            self._settler.add(Settlement(lease, None, RetryAt(now_ms)))
        self._held -= len(lane.queue)
        lane.queue.clear()

    def _cancel_all(self, lane: Lane) -> None:
        """Give up what waits for a destination that is gone."""
        for lease in lane.queue:
            self._settler.add(Settlement(lease, None, Finished(DeliveryState.CANCELLED)))
        self._held -= len(lane.queue)
        lane.queue.clear()

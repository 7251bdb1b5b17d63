"""Sending: what was just accepted at once, everything else as it falls due, each destination in its own lane."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import structlog

from tocsin.core.clock import Clock
from tocsin.core.delivery import Delivered, DeliveryState, Lease, Outcome
from tocsin.core.destination import Destination, Transport
from tocsin.core.errors import TocsinError
from tocsin.core.identifiers import DestinationId
from tocsin.core.quiet_hours import may_wait, quiet_until_ms
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import Finished, RetryAt, Settlement
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.first_attempts import FirstAttempts
from tocsin.pipeline.judging import Health, Judge, Learned
from tocsin.pipeline.lane import Lane, LaneLimits
from tocsin.pipeline.lanes import Lanes
from tocsin.pipeline.letting_go import Stragglers
from tocsin.pipeline.reporting import AttemptReports
from tocsin.pipeline.room import Room
from tocsin.pipeline.settling import Settler, broken, settlement_of
from tocsin.pipeline.under_way import UnderWay
from tocsin.pipeline.vault import Vault
from tocsin.telemetry import Metrics
from tocsin.transports import protocol
from tocsin.transports.protocol import Shipment, Target

_log = structlog.get_logger("tocsin.dispatcher")


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


LEASE_MARGIN_MS = 2_000
"""By how much a lease must be longer than an attempt; with less of it left none is begun."""
_OUTCOME_MARGIN_MS = 1_000
"""How long before its lease is over an attempt must have told its outcome, so that this still counts."""
_TOO_SHORT_WAIT_MS = 1_000
"""When a delivery is claimed anew whose lease was too short; not at once, lest settings that never fit spin."""


class Dispatcher:
    """Leases deliveries and makes their attempts.

    Args:
        transports: the ways out that are there.
        random: uniform numbers in [0, 1), for jitter.
        reports: who is told of each attempt; None tells the metrics and, of failed ones, the log.
        on_verdicts: called with what was recorded, and of each whether its lease still stood.
        on_learned: called with what a remote told of a destination's address.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        catalog: Catalog,
        vault: Vault,
        transports: Mapping[Transport, protocol.Transport],
        health: Health,
        first_attempts: FirstAttempts,
        clock: Clock,
        random: Callable[[], float],
        metrics: Metrics,
        limits: DispatchLimits,
        reports: AttemptReports | None = None,
        on_verdicts: Callable[[Sequence[Settlement], Sequence[bool]], None] | None = None,
        on_learned: Learned | None = None,
    ) -> None:
        self._engine = engine
        self._catalog = catalog
        self._transports = transports
        self._judge = Judge(health=health, clock=clock, metrics=metrics, on_learned=on_learned)
        self._clock = clock
        self._random = random
        self._metrics = metrics
        self._reports = AttemptReports(metrics) if reports is None else reports
        self._limits = limits
        self._lanes = Lanes(catalog, vault, limits.lane)
        self._room = Room(held_max=limits.held_max, sending_max=limits.sending_max)
        self._under_way = UnderWay()
        self._settler = Settler(engine, on_settled=metrics.settled, on_verdicts=self._recorded)
        self._on_verdicts = on_verdicts
        self._stragglers = Stragglers(engine, catalog, clock)
        self._claim_wanted = asyncio.Event()
        self._first_attempts = first_attempts
        self._stopping = False
        self._idle = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        metrics.held.follow(lambda: self._room.held)
        metrics.sending.follow(lambda: self._room.sending)
        metrics.settling.follow(lambda: self._settler.waiting)
        metrics.breakers_open.follow(lambda: self._lanes.breakers_open(clock.monotonic_s()))

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
        now_ms = self._clock.now_ms()
        for _, lane in self._lanes.all():
            self._give_back(lane, lane.queue, now_ms)
        self._claim_wanted.set()
        try:
            async with asyncio.timeout(patience_s):
                # A claim on its way is waited for: what it leased is given back too.
                await asyncio.gather(*self._tasks[1:], return_exceptions=True)
                while self._room.sending:
                    self._idle.clear()
                    await self._idle.wait()
                await self._settler.drain()
        except TimeoutError:
            _log.warning("shutdown_abandoned_attempts", attempts=self._room.sending)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for transport in self._transports.values():
            await transport.close()

    # -- what was just accepted -------------------------------------------------------------------------

    def reserve(self, destination: Destination) -> bool:
        """Return whether one more delivery can be sent soon; a place is then kept for it."""
        lane = self._lanes.of(destination.id)
        if (
            self._stopping
            or destination.paused
            or not self._room.may_hold(lane)
            or not lane.has_room(self._clock.monotonic_s())
        ):
            lane.backlogged = True
            return False
        lane.reserved += 1
        self._room.held += 1
        return True

    def release(self, destination_id: DestinationId) -> None:
        """Give a reserved place back."""
        self._lanes.of(destination_id).reserved -= 1
        self._room.held -= 1
        self._lanes.drop_if_gone(destination_id)

    def lease_until_ms(self) -> int:
        """Return until when what is leased now belongs to this process."""
        return self._clock.now_ms() + self._limits.lease_ms

    def take(self, leases: Sequence[Lease]) -> None:
        """Send these; each has a reserved place."""
        touched = []
        for lease in leases:
            lane = self._lanes.of(lease.destination_id)
            lane.reserved -= 1
            lane.queue.append(lease)
            touched.append(lease.destination_id)
        for destination_id in dict.fromkeys(touched):
            self._pump(destination_id)

    # -- what falls due ---------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            await self._engine.wait(self._limits.poll_s)
            self._claim_wanted.set()
            self._give_up_silent_ones()
            try:
                await self._stragglers.let_go(settled=self._settler.is_idle)
            except TocsinError as error:
                _log.warning("held_back_not_let_go", error=error.detail)

    async def _claim_for_ever(self) -> None:
        while not self._stopping:
            await self._claim_wanted.wait()
            self._claim_wanted.clear()
            try:
                await self._claim()
            except Exception as error:  # noqa: BLE001  without claims nothing that failed is ever tried again
                known = isinstance(error, TocsinError)
                _log.warning("claim_failed", error=str(error), exc_info=None if known else error)
                await asyncio.sleep(self._limits.poll_s)

    async def _claim(self) -> None:
        room = 0 if self._stopping else self._room.claimable(self._limits.claim_max)
        if not room:
            return
        leases = await self._engine.claim(
            limit=room,
            per_destination=self._limits.claim_per_destination,
            lease_until_ms=self.lease_until_ms(),
            skip=self._unable(),
        )
        leases = await self._known(leases)
        new = [lease for lease in leases if not self._under_way.adopt(lease)]
        for lease in new:
            self._lanes.of(lease.destination_id).came(lease)
        self._room.held += len(new)
        for destination_id, count in Counter(lease.destination_id for lease in new).items():
            lane, destination = self._lanes.of(destination_id), self._catalog.any_destination(destination_id)
            if count >= self._limits.claim_per_destination:
                lane.backlogged = True
            if destination is not None and destination.concurrency == 1:
                lane.line_up()
            self._pump(destination_id)
        if len(leases) == room:
            self._claim_wanted.set()

    async def _known(self, leases: list[Lease]) -> list[Lease]:
        """Return the leases of which it is known where they go, or that this is gone; the others are given back."""
        unknown = [lease for lease in leases if self._catalog.any_destination(lease.destination_id) is None]
        if not unknown:
            return leases
        try:
            # Another process may have made it a moment ago. What is unknown after this is gone, and is cancelled.
            await self._catalog.refresh()
        except TocsinError as error:
            _log.warning("claim_failed", error=str(error), exc_info=None)
            due_ms = self._clock.now_ms() + _TOO_SHORT_WAIT_MS
            for lease in unknown:
                self._settler.add(Settlement(lease, None, RetryAt(due_ms)))
            return [lease for lease in leases if lease not in unknown]
        return leases

    def _unable(self) -> frozenset[DestinationId]:
        """Return the destinations that cannot take anything now."""
        now_s = self._clock.monotonic_s()
        unable = set(self._catalog.idle_destinations)
        for destination_id, lane in self._lanes.all():
            if not lane.has_room(now_s) or not self._room.may_hold(lane):
                lane.backlogged = True
                unable.add(destination_id)
        return frozenset(unable)

    # -- sending ----------------------------------------------------------------------------------------

    def _pump(self, destination_id: DestinationId) -> None:
        """Start what this destination may be sent now."""
        lane, destination = self._lanes.of(destination_id), self._catalog.any_destination(destination_id)
        if destination is None:
            self._cancel_all(lane)
            self._lanes.drop_if_gone(destination_id)
            return
        now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        if self._stopping or destination.paused or not destination.enabled or lane.is_open(now_s):
            self._give_back(lane, lane.queue, now_ms)
            return
        quiet_ms = quiet_until_ms(destination.quiet_hours, now_ms)
        enough_ms = now_ms + round(destination.timeout_s * 1000) + LEASE_MARGIN_MS
        while lane.queue and lane.may_send(destination, now_s):
            if quiet_ms is not None and may_wait(lane.queue[0].event):
                self._give_back(lane, [lane.queue[0]], quiet_ms)
                continue
            if lane.queue[0].until_ms < enough_ms:
                self._give_back(lane, [lane.queue[0]], now_ms + _TOO_SHORT_WAIT_MS)
                continue
            if not self._room.may_send(lane):
                self._room.queue_up(destination_id)
                return
            wait_s = lane.token_wait_s(destination, now_s)
            if wait_s > 0:
                self._pump_later(destination_id, lane, wait_s)
                return
            self._start(destination, lane, lane.queue.popleft())

    def _pump_later(self, destination_id: DestinationId, lane: Lane, wait_s: float) -> None:
        def pump() -> None:
            lane.timer_set = False
            self._pump(destination_id)

        if not lane.timer_set:
            lane.timer_set = True
            asyncio.get_running_loop().call_later(wait_s, pump)

    def _start(self, destination: Destination, lane: Lane, lease: Lease) -> None:
        lane.sending += 1
        self._room.sending += 1
        shipment = Shipment(lease, Target(destination))
        left_ms = lease.until_ms - _OUTCOME_MARGIN_MS - self._clock.now_ms()
        self._under_way.begin(shipment, until_s=self._clock.monotonic_s() + left_ms / 1000)
        try:
            shipment = Shipment(lease, self._lanes.target(destination))
            self._transports[destination.transport].start(shipment, self._done)
        except Exception as fault:  # noqa: BLE001  a fault of ours in one attempt must not stop the others
            _log.error("attempt_broke", destination=destination.id.hex(), exc_info=fault)
            outcome = broken(self._clock.now_ms(), f"internal error: {type(fault).__name__}")
            asyncio.get_running_loop().call_soon(self._done, shipment, outcome)

    def _done(self, shipment: Shipment, outcome: Outcome) -> None:
        destination = shipment.target.destination
        lease = self._under_way.end(shipment)
        if lease is None:
            return  # told twice, or too late: by a transport that broke after it had told once, or was silent
        lane = self._lanes.of(destination.id)
        lane.sending -= 1
        self._room.sending -= 1
        self._room.held -= 1
        settlement = settlement_of(
            lease, outcome, destination.retry, now_ms=self._clock.now_ms(), jitter=self._random()
        )
        self._settler.add(settlement)
        self._reports.note(destination, settlement, outcome)
        away_s = self._judge.heed(destination, lane, outcome)
        if away_s:
            self._give_back(lane, lane.queue, self._clock.now_ms() + round(away_s * 1000))
            asyncio.get_running_loop().call_later(away_s, self._claim_wanted.set)
        if isinstance(settlement.then, RetryAt):
            self._claim_at(settlement.then.due_ms)
            if outcome.rest_s and not away_s and destination.concurrency == 1:
                lane.expect(lease.delivery_id, self._clock.monotonic_s(), outcome.rest_s)
        self._first_attempts.tell(lease.delivery_id, delivered=isinstance(outcome, Delivered))
        if self._room.waiting:
            if lane.queue:
                self._room.queue_up(destination.id)
            self._pump_waiting()
        elif lane.queue:
            self._pump(destination.id)
        if not lane.queue and lane.backlogged:
            lane.backlogged = False
            self._claim_wanted.set()
        self._lanes.drop_if_gone(destination.id)
        if self._room.eased():
            self._claim_wanted.set()
        if self._stopping and not self._room.sending:
            self._idle.set()

    def _pump_waiting(self) -> None:
        """Give a place that has become free to the destination that waited longest and can use it."""
        sending = self._room.sending
        for _ in range(self._room.waiting):
            self._pump(self._room.next_waiting())
            if self._room.sending > sending:
                return

    def _give_up_silent_ones(self) -> None:
        """End attempts of which no outcome was told although their leases are all but over: no place is lost."""
        for shipment in self._under_way.overdue(self._clock.monotonic_s()):
            _log.error("attempt_without_outcome", destination=shipment.target.destination.id.hex())
            self._done(shipment, broken(self._clock.now_ms(), "internal error: no outcome was told"))

    def _recorded(self, settlements: Sequence[Settlement], verdicts: Sequence[bool]) -> None:
        self._reports.recorded(settlements, verdicts)
        if self._on_verdicts is not None:
            self._on_verdicts(settlements, verdicts)

    def _claim_at(self, due_ms: int) -> None:
        """Look for due work at that time, if it is near; the poll finds what is farther away."""
        wait_s = (due_ms - self._clock.now_ms()) / 1000
        if wait_s < 2 * self._limits.poll_s:
            asyncio.get_running_loop().call_later(max(0.0, wait_s) + 0.001, self._claim_wanted.set)

    def _give_back(self, lane: Lane, leases: Iterable[Lease], due_ms: int) -> None:
        """Return the first of a lane's queue, which were not begun, to the store, without an attempt."""
        for lease in list(leases):
            self._settler.add(Settlement(lease, None, RetryAt(due_ms)))
            lane.queue.popleft()
            self._room.held -= 1

    def _cancel_all(self, lane: Lane) -> None:
        """Give up what waits for a destination that is gone."""
        for lease in lane.queue:
            self._settler.add(Settlement(lease, None, Finished(DeliveryState.CANCELLED)))
        self._room.held -= len(lane.queue)
        lane.queue.clear()

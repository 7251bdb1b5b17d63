"""Accepting events: give each an id, find its destinations, store it with all its conditions in one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import structlog

from tocsin.core.audit import AuditRecord
from tocsin.core.clock import Clock
from tocsin.core.delivery import Lease, NewDelivery
from tocsin.core.destination import Destination, Transport
from tocsin.core.errors import Conflict, InvalidRequest, NotFound, QuotaExhausted, TocsinError, Unavailable
from tocsin.core.event import Draft, Event, bucket_for
from tocsin.core.identifiers import DeliveryId, DestinationId, EventId, IdSequence, bucket_of
from tocsin.core.incident import IncidentRefusal
from tocsin.core.quiet_hours import may_wait, quiet_until_ms, urgent_lane
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import (
    Acceptance,
    Accepted,
    IncidentRefused,
    KeyConflict,
    NewEvent,
    QuotaExceeded,
    Repeated,
)
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.conditions import Conditions
from tocsin.pipeline.turns import Turns
from tocsin.telemetry import Metrics

_log = structlog.get_logger("tocsin.ingest")


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A request's event is stored.

    Attributes:
        event_id: this request's event, or the first one's when ``repeated``.
        event: as stored; None when ``repeated``.
        deliveries: the ids of what was queued for it.
    """

    event_id: EventId
    event: Event | None
    repeated: bool = False
    deliveries: tuple[DeliveryId, ...] = ()


class Sender(Protocol):
    """Who sends what was just stored, without a claim."""

    def reserve(self, destination: Destination) -> bool:
        """Return whether one more delivery to it can be sent soon; a place is then kept for it."""
        ...

    def release(self, destination_id: DestinationId) -> None:
        """Give a reserved place back."""
        ...

    def lease_until_ms(self) -> int:
        """Return until when what is stored now is leased to this sender."""
        ...

    def take(self, leases: Sequence[Lease]) -> None:
        """Send these; each has a reserved place."""
        ...


class IntakeTraces(Protocol):
    """Who traces requests."""

    def current(self) -> str | None:
        """Return the ``traceparent`` of the request that is under way, or None."""
        ...

    def committed(self, event: Event, result: str, batch: int, now_ms: int) -> None:
        """Tell that the commit of an event, one of so many, has returned."""
        ...


class IngestLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the intake.

    Attributes:
        batch_max: events in one call of the engine.
        waiting_max: events that wait to be stored; above it clients are asked to come back.
        batches_at_once: calls of the engine under way at the same time.
        turn_steps_max: what routing one organisation's events takes in one turn of the event loop before the rest of
            them waits for the next; a step takes about a microsecond.
    """

    batch_max: int = 256
    waiting_max: int = 10_000
    batches_at_once: int = 2
    turn_steps_max: int = 5000


_RESULTS = {
    Accepted: "stored",
    Repeated: "repeated",
    KeyConflict: "refused",
    QuotaExceeded: "refused",
    IncidentRefused: "refused",
    Unavailable: "unavailable",
}
"""What the metrics call a result; any other is a fault."""

_Waiting = tuple[NewEvent, "asyncio.Future[Receipt]"]


class Ingest:
    """Stores drafts in batches: what comes in while one batch is committed makes up the next.

    Args:
        transports: those that are there; a destination of another one gets nothing.
        on_stored: called after each batch of which something was stored; where no answer came, nobody knows.

    Attributes:
        conditions: of destinations on the data.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        catalog: Catalog,
        conditions: Conditions,
        sender: Sender,
        clock: Clock,
        ids: IdSequence,
        transports: frozenset[Transport],
        limits: IngestLimits,
        metrics: Metrics | None = None,
        traces: IntakeTraces | None = None,
        on_stored: Callable[[], None] | None = None,
    ) -> None:
        self._engine = engine
        self._catalog = catalog
        self.conditions = conditions
        self._sender = sender
        self._clock = clock
        self._ids = ids
        self._transports = transports
        self._limits = limits
        self._turns = Turns(limits.turn_steps_max)
        self._on_stored = on_stored
        self._traces = traces
        self._metrics = Metrics() if metrics is None else metrics
        self._metrics.accept_waiting.follow(lambda: len(self._waiting))
        self._waiting: list[_Waiting] = []
        self._flush_scheduled = False
        self._batches: set[asyncio.Task[None]] = set()

    async def accept(
        self, draft: Draft, *, only: Destination | None = None, record: AuditRecord | None = None
    ) -> Receipt:
        """Store the draft's event and queue its deliveries; return once that is durable.

        Args:
            only: send it there and nowhere else, whatever the filters say.
            record: kept in the same commit, where the event is stored by hand.

        Raises:
            Conflict: ``idempotency_conflict`` (the key was used for another request) or ``event_closed``.
            InvalidRequest: ``attrs_too_large``, the incident's.
            NotFound: ``event_not_found``, the incident.
            QuotaExhausted: the draft's quota is used up.
            Unavailable: nothing was stored; a repeat with the same key is safe.
        """
        if self._turns.are_taken(draft.organisation_id):
            await self._turns.wait(draft.organisation_id)
        if len(self._waiting) >= self._limits.waiting_max:
            raise Unavailable("too many events wait to be stored", retry_after_s=1)
        new = self._prepare(draft, only, record)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Receipt] = loop.create_future()
        self._waiting.append((new, future))
        if not self._flush_scheduled and len(self._batches) < self._limits.batches_at_once:
            self._flush_scheduled = True
            loop.call_soon(self._flush)
        return await future

    def _prepare(self, draft: Draft, only: Destination | None, record: AuditRecord | None) -> NewEvent:
        now_ms = self._clock.now_ms()
        bucket = bucket_for(draft)
        event_id = EventId(self._ids.make(now_ms, bucket))
        bucket = bucket_of(event_id)
        opens_incident = draft.incident is not None and draft.incident.incident_id is None
        subject = event_id.hex() if opens_incident else draft.subject
        event = Event(
            id=event_id,
            organisation_id=draft.organisation_id,
            dialect=draft.dialect,
            source=draft.source,
            type=draft.type,
            time_ms=draft.time_ms,
            data=draft.data,
            subject=subject,
            severity=draft.severity,
            environment=draft.environment,
            extension=draft.extension,
            replay_of=draft.replay_of,
            trace=None if self._traces is None else self._traces.current(),
        )
        destinations = [only] if only is not None else self._route(event)
        deliveries = tuple(
            NewDelivery(
                id=DeliveryId(self._ids.make(now_ms, bucket)),
                destination_id=destination.id,
                lane=_lane_of(destination, event, now_ms),
                leased=not destination.ordered and self._sender.reserve(destination),
            )
            for destination in destinations
            if destination.transport in self._transports
        )
        return NewEvent(
            event=event,
            deliveries=deliveries,
            idempotency=draft.idempotency,
            incident=draft.incident,
            quota=draft.quota,
            mailbox_channel=draft.mailbox_channel,
            mailbox_expires_ms=draft.mailbox_expires_ms,
            record=record,
        )

    def _route(self, event: Event) -> list[Destination]:
        table = self._catalog.routing(event.organisation_id)
        steps = table.steps(len(event.source) + len(event.type) + len(event.subject or ""))
        found = table.route(
            dialect=event.dialect,
            source=event.source,
            type=event.type,
            subject=event.subject,
            severity=event.severity,
        )
        if table.conditions:
            found, asked = self.conditions.narrow(found, table.conditions, event)
            steps += asked
        # Each delivery takes about a step to make ready, too.
        self._turns.spend(event.organisation_id, steps + len(found))
        return found

    def _flush(self) -> None:
        self._flush_scheduled = False
        while self._waiting and len(self._batches) < self._limits.batches_at_once:
            batch = self._waiting[: self._limits.batch_max]
            del self._waiting[: self._limits.batch_max]
            task = asyncio.get_running_loop().create_task(self._store(batch))
            self._batches.add(task)
            task.add_done_callback(self._batch_done)

    def _batch_done(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._flush()

    async def _store(self, batch: list[_Waiting]) -> None:
        results: Sequence[Acceptance | TocsinError]
        try:
            results = await self._engine.accept(
                [new for new, _ in batch], lease_until_ms=self._sender.lease_until_ms()
            )
        except TocsinError as error:
            results = [error] * len(batch)
        except Exception as fault:  # noqa: BLE001  whatever broke, nobody may wait for ever
            _log.exception("storing_broke", exc_info=fault)
            results = [TocsinError("the event could not be stored")] * len(batch)
        leases: list[Lease] = []
        now_ms = self._clock.now_ms()
        self._metrics.batched(len(batch))
        for (new, future), result in zip(batch, results, strict=True):
            word = _RESULTS.get(type(result), "failed")
            self._metrics.judged(new.event, word, now_ms)
            if self._traces is not None:
                self._traces.committed(new.event, word, len(batch), now_ms)
            if isinstance(result, Accepted):
                leases.extend(result.leases)
            else:
                self._give_back(new)
            if future.cancelled():
                continue
            receipt = _receipt(new, result)
            if isinstance(receipt, Receipt):
                future.set_result(receipt)
            else:
                future.set_exception(receipt)
        if leases:
            self._sender.take(leases)
        if self._on_stored is not None and any(isinstance(result, Accepted) for result in results):
            self._on_stored()

    def _give_back(self, new: NewEvent) -> None:
        for delivery in new.deliveries:
            if delivery.leased:
                self._sender.release(delivery.destination_id)


def _lane_of(destination: Destination, event: Event, now_ms: int) -> bytes | None:
    """Return the ordering key of an event's delivery, or None where nothing need come before it."""
    if not destination.ordered or event.subject is None:
        return None
    lane = event.subject.encode()
    is_urgent = not may_wait(event) and quiet_until_ms(destination.quiet_hours, now_ms) is not None
    return urgent_lane(lane) if is_urgent else lane


def _receipt(new: NewEvent, result: Acceptance | TocsinError) -> Receipt | TocsinError:
    if isinstance(result, Accepted):
        return Receipt(
            event_id=result.event.id,
            event=result.event,
            deliveries=tuple(delivery.id for delivery in new.deliveries),
        )
    if isinstance(result, Repeated):
        return Receipt(event_id=result.event_id, event=None, repeated=True)
    if isinstance(result, KeyConflict):
        return Conflict("the idempotency key was used for another request", code="idempotency_conflict")
    if isinstance(result, QuotaExceeded):
        return QuotaExhausted("the quota of this period is used up")
    if isinstance(result, IncidentRefused):
        if result.reason is IncidentRefusal.NOT_FOUND:
            return NotFound("event not found", code=result.reason)
        if result.reason is IncidentRefusal.ATTRS_TOO_LARGE:
            return InvalidRequest("the merged attrs are too large", code=result.reason)
        return Conflict("event is closed", code=result.reason)
    if isinstance(result, TocsinError):
        return result
    return TocsinError("the event could not be stored")

"""Replay: a new event made from a past one."""

from __future__ import annotations

from tocsin.core.audit import AuditRecord
from tocsin.core.clock import Clock
from tocsin.core.errors import NotFound
from tocsin.core.event import Draft, Event, IdempotencyKey
from tocsin.core.identifiers import EventId, OrganisationId, prefixed
from tocsin.engine.protocol import Engine
from tocsin.pipeline.audit import record_of
from tocsin.pipeline.ingest import Ingest, Receipt


class Replay:
    """Makes new events from past ones."""

    def __init__(self, *, engine: Engine, ingest: Ingest, clock: Clock) -> None:
        self._engine = engine
        self._ingest = ingest
        self._clock = clock

    async def replay(self, organisation_id: OrganisationId, event_id: EventId) -> Receipt:
        """Store a copy of an event, routed by today's destinations.

        In the same commit the original is marked as replayed and what it still had waiting is cancelled. The copy
        keeps source, type, subject, data and time; it moves no incident and counts against no quota.

        Raises:
            NotFound: the organisation has no such event.
        """
        (original,) = await self._engine.find(Event, organisation_id, [event_id])
        if original is None:
            raise NotFound("event not found")
        return await self.again(original, record=record_of("event.replayed", prefixed("evt", event_id)))

    async def again(
        self, original: Event, *, idempotency: tuple[IdempotencyKey, ...] = (), record: AuditRecord | None = None
    ) -> Receipt:
        """Store a copy of this event, as ``replay`` does.

        Args:
            idempotency: keys under which the copy is made once.
            record: of whoever asks for it by hand.
        """
        draft = Draft(
            organisation_id=original.organisation_id,
            dialect=original.dialect,
            source=original.source,
            type=original.type,
            time_ms=original.time_ms,
            data=original.data,
            subject=original.subject,
            severity=original.severity,
            environment=original.environment,
            extension=original.extension,
            idempotency=idempotency,
            replay_of=original.id,
        )
        return await self._ingest.accept(draft, record=record)

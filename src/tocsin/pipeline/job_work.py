"""What each kind of job does: which things come next, and what is done with them.

Whatever is done to a thing twice, after a crash or for a store that did not answer, is done once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec

from tocsin.core.clock import DAY_MS, Clock
from tocsin.core.delivery import Delivery, phase_of
from tocsin.core.errors import NotFound, TocsinError, Unavailable
from tocsin.core.event import Event, IdempotencyKey, idempotency_key
from tocsin.core.identifiers import DeliveryId, bucket_of
from tocsin.core.job import Job
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import AmendmentResult, DeliveryQuery, EventQuery, Retry
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.replay import Replay

KEY_KEPT_MS = 30 * DAY_MS
"""How long after it was made a copy is known as the job's: a job that is gone on with later may repeat one batch."""

written = msgspec.msgpack.Encoder().encode
"""Returns a query as a job's plan holds it."""

_event_query = msgspec.msgpack.Decoder(EventQuery).decode
_delivery_query = msgspec.msgpack.Decoder(DeliveryQuery).decode


class Portion(msgspec.Struct, frozen=True):
    """The things that come next, and the cursor behind them; None where they are the last."""

    ids: list[bytes]
    cursor: bytes | None


class Tried(msgspec.Struct, frozen=True):
    """How many things were done, or had been, and how many could not be."""

    done: int
    failed: int


class Work(Protocol):
    """One kind of job."""

    async def next(self, job: Job, limit: int) -> Portion:
        """Return up to that many things behind the job's cursor.

        Raises:
            Unavailable: the store does not answer, or took too long (``search_too_long``).
        """
        ...

    async def carry_out(self, job: Job, ids: Sequence[bytes]) -> Tried:
        """Do the work on these things; those to which it was done before count as done.

        Raises:
            Unavailable: all of it is to be tried again.
        """
        ...


class ReplayWork:
    """Stores copies of events."""

    def __init__(self, *, engine: Engine, replay: Replay) -> None:
        self._engine = engine
        self._replay = replay

    async def next(self, job: Job, limit: int) -> Portion:
        query = msgspec.structs.replace(_event_query(job.plan), counted=False)
        page = await self._engine.search(query, limit=limit, cursor=job.cursor)
        # Younger ones, copies among them, came within the millisecond in which the job was made.
        return Portion([row.event.id for row in page.rows if row.event.id < job.id], page.next_cursor)

    async def carry_out(self, job: Job, ids: Sequence[bytes]) -> Tried:
        originals = [each for each in await self._engine.find(Event, job.organisation_id, ids) if each is not None]
        copies = [self._replay.again(each, idempotency=(_key(job, each),)) for each in originals]
        results = await asyncio.gather(*copies, return_exceptions=True)
        faults = [each for each in results if isinstance(each, BaseException)]
        for fault in faults:
            if isinstance(fault, Unavailable) or not isinstance(fault, TocsinError):
                raise fault
        done = len(results) - len(faults)
        return Tried(done, len(ids) - done)


def _key(job: Job, original: Event) -> IdempotencyKey:
    return idempotency_key(
        job.organisation_id,
        f"tocsin/job/{job.id.hex()}",
        original.id.hex(),
        original.id,
        expires_after_ms=KEY_KEPT_MS,
        bucket=bucket_of(original.id),
    )


class RecoveryWork:
    """Puts deliveries back into their destination's queue."""

    def __init__(self, *, engine: Engine, catalog: Catalog, clock: Clock) -> None:
        self._engine = engine
        self._catalog = catalog
        self._clock = clock

    async def next(self, job: Job, limit: int) -> Portion:
        query = msgspec.structs.replace(_delivery_query(job.plan), counted=False)
        page = await self._engine.search(query, limit=limit, cursor=job.cursor)
        # One that came to its end since the job was made is none of those it was made for.
        return Portion([row.delivery.id for row in page.rows if _ended_before(job, row.delivery)], page.next_cursor)

    async def carry_out(self, job: Job, ids: Sequence[bytes]) -> Tried:
        query = _delivery_query(job.plan)
        destination_id = query.destination_id
        if destination_id is None or self._catalog.find_destination(job.organisation_id, destination_id) is None:
            # Made due again, they could only be cancelled, and their history would say no more what became of them.
            raise NotFound("the destination was deleted")
        found = [each for each in await self._engine.find(Delivery, job.organisation_id, ids) if each is not None]
        due_ms = self._clock.now_ms()
        retries = [
            Retry(job.organisation_id, DeliveryId(each.id), due_ms)
            for each in found
            # Any other is under way again, or was, since the job was made.
            if _ended_before(job, each) and phase_of(each.state, each.attempts_made) in query.phases
        ]
        results = await self._engine.amend(retries) if retries else []
        gone = results.count(AmendmentResult.NOT_FOUND) + len(ids) - len(found)
        return Tried(len(ids) - gone, gone)


def _ended_before(job: Job, delivery: Delivery) -> bool:
    # In the same millisecond it may have been the job itself that sent it again, in vain.
    return delivery.settled_ms is not None and delivery.settled_ms < job.created_ms

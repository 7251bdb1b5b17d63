"""What every test of the contract stands on: an open engine, a clock moved by hand, and short ways to fill it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from tocsin.core.clock import DAY_MS
from tocsin.core.delivery import (
    Attempt,
    Delivery,
    DeliveryState,
    ErrorClass,
    Exchange,
    Lease,
    NewDelivery,
    RecordedAttempt,
)
from tocsin.core.event import Dialect, Event, IdempotencyKey, idempotency_key
from tocsin.core.identifiers import (
    ChannelId,
    DeliveryId,
    DestinationId,
    EventId,
    IdSequence,
    OrganisationId,
    bucket_of,
    digest,
)
from tocsin.core.incident import IncidentChange
from tocsin.core.quiet_hours import lane_bucket
from tocsin.core.quota import QuotaCharge
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import (
    Acceptance,
    Accepted,
    AttemptQuery,
    Finished,
    NewEvent,
    Page,
    Query,
    RetryAt,
    Settlement,
)
from tocsin.testing.clock import ManualClock

T = TypeVar("T")
C = TypeVar("C")

RETENTION_MS = 30 * DAY_MS
"""The retention that a factory gives its engine."""

PAGE_BYTES_MAX = 100_000
"""The bound on the payloads of a page that a factory gives its engine."""

LEASE_MS = 60_000
"""How long the stage leases."""


class EngineFactory(Protocol):
    """Makes the engine under test.

    Entering what a call returns opens the engine, leaving it closes it. All engines of one factory open the same
    store, one after another; the first finds it empty. Events are kept for ``RETENTION_MS``, and so are the audit
    trail, and jobs once they are over; a page holds payloads of ``PAGE_BYTES_MAX`` at the most; the bounds on waiting
    writes and on the time of a search are wide.
    """

    def __call__(self, clock: ManualClock) -> AbstractAsyncContextManager[Engine]:
        """Return an engine that goes by this clock."""
        ...


class Stage:
    """An open engine and what a test does with it.

    Attributes:
        organisation: whose things are made unless a test says otherwise.
        foreign: another organisation.
        random: the same numbers in every run.
    """

    def __init__(self, factory: EngineFactory) -> None:
        self._factory = factory
        self._context: AbstractAsyncContextManager[Engine] | None = None
        self.engine: Engine
        self.clock = ManualClock()
        self.random = random.Random(7)  # noqa: S311  the same in every run
        self._ids = IdSequence(self.random.randbytes)
        self.organisation = OrganisationId(self.id())
        self.foreign = OrganisationId(self.id())

    async def open(self) -> None:
        """Open the store."""
        self._context = self._factory(self.clock)
        self.engine = await self._context.__aenter__()

    async def close(self) -> None:
        """Close the store."""
        if self._context is not None:
            context, self._context = self._context, None
            await context.__aexit__(None, None, None)

    async def reopen(self) -> None:
        """Close the store and open it again, as a restart does."""
        await self.close()
        await self.open()

    # -- values -----------------------------------------------------------------------------------------

    def id(self, bucket: int | None = None) -> bytes:
        """Return a new id, of any bucket unless told which."""
        return self._ids.make(self.clock.now_ms(), bucket)

    def id_at(self, at_ms: int, bucket: int | None = None) -> bytes:
        """Return an id of that time, which may lie before those made already."""
        return IdSequence(self.random.randbytes).make(at_ms, bucket)

    def destination(self) -> DestinationId:
        """Return the id of a new destination."""
        return DestinationId(self.id())

    def destinations(self, count: int) -> list[DestinationId]:
        """Return the ids of new destinations."""
        return [self.destination() for _ in range(count)]

    def event(self, *, organisation: OrganisationId | None = None, id: bytes | None = None, **more: Any) -> Event:  # noqa: A002
        """Return an event; ``more`` are its fields."""
        given: dict[str, Any] = {
            "dialect": Dialect.TOCSIN,
            "source": "tests",
            "type": "happened",
            "time_ms": self.clock.now_ms(),
            "data": b'{"a":1}',
        }
        event_id = EventId(self.id() if id is None else id)
        return Event(id=event_id, organisation_id=organisation or self.organisation, **(given | more))

    def new(
        self,
        *destinations: DestinationId,
        event: Event | None = None,
        lane: bytes | None = None,
        leased: bool = False,
        keys: Sequence[IdempotencyKey] = (),
        incident: IncidentChange | None = None,
        quota: QuotaCharge | None = None,
        mailbox: tuple[ChannelId, int] | None = None,
        **more: Any,
    ) -> NewEvent:
        """Return an event to store, with one delivery to each destination.

        Args:
            mailbox: the channel whose devices get it, and until when it is kept for them.
            more: fields of the event.
        """
        if event is None:
            if lane is not None and "id" not in more:
                more["id"] = self.id(lane_bucket(lane))
            event = self.event(**more)
        bucket = bucket_of(event.id)
        return NewEvent(
            event=event,
            deliveries=tuple(
                NewDelivery(id=DeliveryId(self.id(bucket)), destination_id=each, lane=lane, leased=leased)
                for each in destinations
            ),
            idempotency=tuple(keys),
            incident=incident,
            quota=quota,
            mailbox_channel=None if mailbox is None else mailbox[0],
            mailbox_expires_ms=None if mailbox is None else mailbox[1],
        )

    def key(self, name: str, asks: str = "this", *, kept_ms: int = DAY_MS) -> IdempotencyKey:
        """Return an idempotency key of a request that asks for something."""
        return idempotency_key(self.organisation, "tests", name, digest(asks.encode()), expires_after_ms=kept_ms)

    def attempt(self, status_code: int | None = 200, *, error: str | None = None, duration_ms: int = 5) -> Attempt:
        """Return an attempt that came to this."""
        return Attempt(
            started_ms=self.clock.now_ms(),
            duration_ms=duration_ms,
            exchange=Exchange(request_line="POST https://receiver.example/hook", response_body=b"\x00\xff"),
            status_code=status_code,
            error_class=None if error is None else ErrorClass.STATUS,
            error=error,
        )

    # -- doing ------------------------------------------------------------------------------------------

    async def judge(self, *new: NewEvent) -> list[Acceptance]:
        """Hand one batch to the engine."""
        return await self.engine.accept(new, lease_until_ms=self.clock.now_ms() + LEASE_MS)

    async def store(self, *new: NewEvent) -> list[Accepted]:
        """Hand one batch to the engine, of which everything must be accepted."""
        results = []
        for result in await self.judge(*new):
            assert isinstance(result, Accepted), result
            results.append(result)
        return results

    async def claim(self, limit: int = 1000, per_destination: int = 1000, **more: Any) -> list[Lease]:
        """Lease what is due."""
        until_ms = self.clock.now_ms() + LEASE_MS
        return await self.engine.claim(limit=limit, per_destination=per_destination, lease_until_ms=until_ms, **more)

    async def claim_one(self) -> Lease:
        """Lease what is due, which must be one delivery."""
        (lease,) = await self.claim()
        return lease

    async def finish(self, lease: Lease, state: DeliveryState = DeliveryState.DELIVERED) -> bool:
        """Make an attempt that ends the delivery; return whether the lease still stood."""
        attempt = self.attempt() if state is DeliveryState.DELIVERED else self.attempt(500, error="no")
        (verdict,) = await self.engine.settle([Settlement(lease, attempt, Finished(state))])
        return verdict

    async def put_off(self, lease: Lease, due_ms: int, *, counted: bool = True) -> bool:
        """Make an attempt that fails; return whether the lease still stood."""
        attempt = self.attempt(503, error="busy")
        (verdict,) = await self.engine.settle([Settlement(lease, attempt, RetryAt(due_ms, counted))])
        return verdict

    async def give_back(self, lease: Lease) -> bool:
        """Release a lease without an attempt; return whether it still stood."""
        (verdict,) = await self.engine.settle([Settlement(lease, None, RetryAt(self.clock.now_ms()))])
        return verdict

    async def delivery(self, delivery_id: DeliveryId) -> Delivery:
        """Return a delivery that must be there."""
        (found,) = await self.engine.find(Delivery, self.organisation, [delivery_id])
        assert found is not None
        return found

    async def attempts(self, delivery_id: DeliveryId) -> list[RecordedAttempt]:
        """Return all attempts of a delivery."""
        return await self.all(AttemptQuery(organisation_id=self.organisation, delivery_id=delivery_id))

    async def search(self, query: Query[T], *, limit: int = 1000, **more: Any) -> Page[T]:
        """Return one page."""
        return await self.engine.search(query, limit=limit, **more)

    async def all(self, query: Query[T], *, limit: int = 1000) -> list[T]:
        """Return all that a query matches, page by page."""
        page = await self.engine.search(query, limit=limit)
        rows = page.rows
        while page.next_cursor is not None:
            page = await self.engine.search(query, limit=limit, cursor=page.next_cursor)
            assert page.rows or page.partial, "a page with a cursor before it has rows"
            rows = rows + page.rows
        return rows

    async def ids_of(self, query: Query[Any], *, limit: int = 1000) -> list[bytes]:
        """Return the ids of all events, or of all incidents, that a query matches."""
        return [each.event.id if hasattr(each, "event") else each.id for each in await self.all(query, limit=limit)]


def scenario(test: Callable[[C, Stage], Awaitable[None]]) -> Callable[[C, EngineFactory], None]:
    """Return the test as pytest calls it: synchronous, and given ``engine_factory``."""

    async def play(case: C, factory: EngineFactory) -> None:
        stage = Stage(factory)
        await stage.open()
        try:
            await test(case, stage)
        finally:
            await stage.close()

    def run(self: C, engine_factory: EngineFactory) -> None:
        asyncio.run(play(self, engine_factory))

    run.__name__ = test.__name__
    run.__qualname__ = test.__qualname__
    run.__doc__ = test.__doc__
    return run

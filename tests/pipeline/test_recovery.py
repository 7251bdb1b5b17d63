"""Recovery: what a destination missed is sent again, once, and what it did not miss is left alone."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tocsin.core.delivery import (
    Attempt,
    DeliveryPhase,
    DeliveryState,
    EventStatus,
    Exchange,
    Lease,
    NewDelivery,
)
from tocsin.core.errors import Unprocessable
from tocsin.core.event import Dialect, Environment, Event
from tocsin.core.identifiers import (
    DEFAULT_ORGANISATION,
    DeliveryId,
    DestinationId,
    EventId,
    IdSequence,
    OrganisationId,
)
from tocsin.engine.rows import EventQuery, Finished, NewEvent, Settlement
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.pipeline.recovery import Recovery, RecoveryLimits

START_MS = 1_700_000_000_000
DOWN = DestinationId(b"d" * 16)
OTHER = DestinationId(b"e" * 16)
FOREIGN = OrganisationId(b"f" * 16)


@dataclass
class ManualClock:
    """A clock that is moved by hand."""

    at_ms: int = START_MS

    def now_ms(self) -> int:
        return self.at_ms

    def monotonic_s(self) -> float:
        return self.at_ms / 1000


class Store:
    """An engine with events whose deliveries ended in one way or another."""

    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock()
        self.ids = IdSequence(secrets.token_bytes)
        self.engine = SqliteEngine(
            SqliteSettings(directory=directory, patience_s=0.0), clock=self.clock, on_fatal=pytest.fail
        )

    def recovery(self, **limits: int) -> Recovery:
        return Recovery(engine=self.engine, clock=self.clock, limits=RecoveryLimits(**limits))

    async def add(
        self,
        count: int,
        state: DeliveryState | None,
        *,
        destination: DestinationId = DOWN,
        organisation: OrganisationId = DEFAULT_ORGANISATION,
        environment: Environment = Environment.LIVE,
    ) -> list[DeliveryId]:
        """Store events a second apart, each with one delivery in this state; None leaves it waiting."""
        made: list[DeliveryId] = []
        for _ in range(count):
            self.clock.at_ms += 1000
            delivery = NewDelivery(id=DeliveryId(self.ids.make(self.clock.at_ms)), destination_id=destination)
            event = Event(
                id=EventId(self.ids.make(self.clock.at_ms)),
                organisation_id=organisation,
                dialect=Dialect.TOCSIN,
                source="test",
                type="test",
                time_ms=self.clock.at_ms,
                data=b"{}",
                environment=environment,
            )
            await self.engine.accept([NewEvent(event=event, deliveries=(delivery,))], lease_until_ms=0)
            made.append(delivery.id)
            if state is not None:
                await self.settle(state)
        return made

    async def settle(self, state: DeliveryState) -> None:
        """Make what is due end so."""
        for lease in await self.claim():
            attempt = Attempt(started_ms=self.clock.at_ms, duration_ms=1, exchange=Exchange(request_line="POST /"))
            await self.engine.settle([Settlement(lease, attempt, Finished(state))])

    async def claim(self, limit: int = 1000) -> list[Lease]:
        """Lease what is due."""
        until_ms = self.clock.at_ms + 60_000
        return await self.engine.claim(limit=limit, per_destination=limit, lease_until_ms=until_ms)

    async def statuses(self) -> list[EventStatus]:
        """Return the statuses of the organisation's events, oldest first."""
        query = EventQuery(organisation_id=DEFAULT_ORGANISATION, ascending=True)
        return [row.status for row in (await self.engine.search(query, limit=1000)).rows]


async def recover(recovery: Recovery, *, environment: Environment = Environment.LIVE, **wanted: Any) -> int:
    """Recover what DOWN missed."""
    return await recovery.recover(DEFAULT_ORGANISATION, DOWN, environment=environment, **wanted)


def with_store(directory: Path, act: Callable[[Store], Awaitable[None]]) -> None:
    async def run() -> None:
        store = Store(directory)
        await store.engine.open()
        try:
            await act(store)
        finally:
            await store.engine.close()

    asyncio.run(run())


def test_what_was_given_up_is_sent_again_oldest_first_and_the_rest_is_left_alone(tmp_path: Path) -> None:
    async def act(store: Store) -> None:
        await store.add(2, DeliveryState.DELIVERED)
        missed = await store.add(3, DeliveryState.EXPIRED)
        await store.add(1, DeliveryState.EXPIRED, destination=OTHER)
        assert await recover(store.recovery(), since_ms=START_MS) == 3
        assert [lease.delivery_id for lease in await store.claim()] == missed

    with_store(tmp_path, act)


def test_an_event_that_is_delivered_at_last_says_so_and_a_second_recovery_finds_nothing(tmp_path: Path) -> None:
    async def act(store: Store) -> None:
        await store.add(2, DeliveryState.EXPIRED)
        assert await store.statuses() == [EventStatus.EXPIRED] * 2
        recovery = store.recovery()
        await recover(recovery, since_ms=START_MS)
        assert await recover(recovery, since_ms=START_MS) == 0
        await store.settle(DeliveryState.DELIVERED)
        assert await store.statuses() == [EventStatus.DELIVERED] * 2
        assert await recover(recovery, since_ms=START_MS) == 0

    with_store(tmp_path, act)


@pytest.mark.parametrize(
    ("since_s", "until_s", "count"), [(1, None, 5), (2, None, 4), (2, 4, 3), (5, 5, 1), (6, None, 0), (4, 2, 0)]
)
def test_both_ends_of_the_time_are_inclusive(tmp_path: Path, since_s: int, until_s: int | None, count: int) -> None:
    async def act(store: Store) -> None:
        await store.add(5, DeliveryState.EXPIRED)
        until_ms = None if until_s is None else START_MS + until_s * 1000
        since_ms = START_MS + since_s * 1000
        recovered = await recover(store.recovery(), since_ms=since_ms, until_ms=until_ms)
        assert recovered == count

    with_store(tmp_path, act)


def test_other_phases_are_taken_when_they_are_asked_for(tmp_path: Path) -> None:
    async def act(store: Store) -> None:
        await store.add(1, DeliveryState.EXPIRED)
        await store.add(2, DeliveryState.DELIVERED)
        phases = frozenset({DeliveryPhase.DELIVERED})
        assert await recover(store.recovery(), since_ms=START_MS, phases=phases) == 2

    with_store(tmp_path, act)


def test_what_is_being_sent_right_now_is_not_sent_twice(tmp_path: Path) -> None:
    async def act(store: Store) -> None:
        await store.add(1, None)
        assert len(await store.claim()) == 1
        phases = frozenset(DeliveryPhase)
        assert await recover(store.recovery(), since_ms=START_MS, phases=phases) == 0

    with_store(tmp_path, act)


@pytest.mark.parametrize(("page_rows", "batch"), [(1, 1), (2, 3), (3, 2), (7, 7), (100, 100)])
def test_pages_and_batches_lose_and_repeat_nothing(tmp_path: Path, page_rows: int, batch: int) -> None:
    async def act(store: Store) -> None:
        missed = await store.add(7, DeliveryState.EXPIRED)
        recovery = store.recovery(page_rows=page_rows, batch_deliveries=batch)
        assert await recover(recovery, since_ms=START_MS) == 7
        assert sorted(lease.delivery_id for lease in await store.claim()) == missed

    with_store(tmp_path, act)


@pytest.mark.parametrize(("allowed", "refused"), [(5, False), (4, True)])
def test_more_than_the_bound_is_refused_as_a_whole(tmp_path: Path, allowed: int, refused: bool) -> None:
    async def act(store: Store) -> None:
        await store.add(5, DeliveryState.EXPIRED)
        recovery = store.recovery(deliveries_max=allowed, page_rows=2)
        if not refused:
            assert await recover(recovery, since_ms=START_MS) == 5
            return
        with pytest.raises(Unprocessable):
            await recover(recovery, since_ms=START_MS)
        assert await store.claim() == []

    with_store(tmp_path, act)


def test_another_organisations_deliveries_are_out_of_reach(tmp_path: Path) -> None:
    async def act(store: Store) -> None:
        await store.add(2, DeliveryState.EXPIRED, organisation=FOREIGN)
        assert await recover(store.recovery(), since_ms=START_MS) == 0
        assert await store.claim() == []

    with_store(tmp_path, act)


def test_only_what_is_of_the_environment_is_taken(tmp_path: Path) -> None:
    async def act(store: Store) -> None:
        await store.add(2, DeliveryState.EXPIRED)
        rehearsed = await store.add(3, DeliveryState.EXPIRED, environment=Environment.TEST)
        wanted: dict[str, Any] = {"environment": Environment.TEST, "since_ms": START_MS}
        assert await recover(store.recovery(), **wanted) == 3
        assert sorted(lease.delivery_id for lease in await store.claim()) == rehearsed

    with_store(tmp_path, act)

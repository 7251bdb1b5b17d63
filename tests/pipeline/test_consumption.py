"""Consumer groups on a real engine, with a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from tocsin.core.errors import Conflict, NotFound
from tocsin.core.event import Dialect, Environment, Event
from tocsin.core.identifiers import EventId, IdSequence, OrganisationId
from tocsin.core.transaction import Transaction, TransactionRefusal, TransactionState
from tocsin.engine.rows import Move, NewEvent, TransactionStep
from tocsin.engine.sqlite.engine import SqliteEngine, SqliteSettings
from tocsin.pipeline.consumption import Consumer, Consumption

START_MS = 1_700_000_000_000
LEASE_MS = 30_000
RETENTION_MS = 1000 * 86_400_000
ORGANISATION = OrganisationId(bytes(15) + b"\x01")


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at_ms = START_MS

    def now_ms(self) -> int:
        return self.at_ms

    def monotonic_s(self) -> float:
        return self.at_ms / 1000


class House:
    """An engine with events in it, and the use case over it."""

    def __init__(self, engine: SqliteEngine, clock: HandClock, lease_ms: int | None) -> None:
        self.engine = engine
        self.clock = clock
        self.consumption = Consumption(engine=engine, clock=clock, lease_ms=lease_ms)
        self._ids = IdSequence(os.urandom)

    async def accept(self, environment: Environment = Environment.LIVE) -> EventId:
        event = Event(
            id=EventId(self._ids.make(self.clock.at_ms)),
            organisation_id=ORGANISATION,
            dialect=Dialect.NATIVEFRAME,
            source="nativeframe/project/shop",
            type="sold",
            time_ms=self.clock.at_ms,
            data=b"{}",
            environment=environment,
        )
        await self.engine.accept([NewEvent(event=event)], lease_until_ms=0)
        return event.id


def consumer(
    tx_key: str = "mailer", *, by: str = "worker-1", environment: Environment = Environment.LIVE
) -> Consumer:
    return Consumer(organisation_id=ORGANISATION, environment=environment, tx_key=tx_key, by=by)


Scene = Callable[[House], Awaitable[None]]
Stage = Callable[..., None]


@pytest.fixture(name="stage")
def _stage(tmp_path: Path) -> Stage:
    """Return what plays a scene on a fresh engine."""

    def play(scene: Scene, *, lease_ms: int | None = None, engine_type: type[SqliteEngine] = SqliteEngine) -> None:
        async def run() -> None:
            clock = HandClock()
            settings = SqliteSettings(directory=tmp_path, retention_ms=RETENTION_MS)
            engine = engine_type(settings, clock=clock, on_fatal=pytest.fail)
            await engine.open()
            try:
                await scene(House(engine, clock, lease_ms))
            finally:
                await engine.close()

        asyncio.run(run())

    return play


async def waiting(house: House, who: Consumer) -> list[EventId]:
    page = await house.consumption.list(who, "sold", None, since_ms=None, limit=100, offset=0)
    assert page.total == len(page.rows)
    assert all(row.state is None for row in page.rows)
    return [row.event.id for row in page.rows]


def test_of_racing_consumers_exactly_one_begins(stage: Stage) -> None:
    async def scene(house: House) -> None:
        event_id = await house.accept()
        racers = [house.consumption.begin(consumer(by=f"worker-{n}"), event_id) for n in range(20)]

        results = await asyncio.gather(*racers, return_exceptions=True)

        winners = [each for each in results if isinstance(each, Transaction)]
        losers = [each for each in results if isinstance(each, Conflict) and each.code == "transaction_exists"]
        assert (len(winners), len(losers)) == (1, 19)

    stage(scene)


def test_without_a_lease_a_dead_consumer_keeps_its_transaction(stage: Stage) -> None:
    async def scene(house: House) -> None:
        event_id = await house.accept()
        await house.consumption.begin(consumer(), event_id)
        house.clock.at_ms += 365 * 86_400_000

        assert await waiting(house, consumer()) == []
        with pytest.raises(Conflict):
            await house.consumption.begin(consumer(), event_id)

    stage(scene)


def test_a_lease_that_ran_out_offers_the_event_again_and_the_history_keeps_it(stage: Stage) -> None:
    async def scene(house: House) -> None:
        event_id = await house.accept()
        await house.consumption.begin(consumer(by="worker-1"), event_id)
        house.clock.at_ms += LEASE_MS - 1
        assert await waiting(house, consumer()) == []
        with pytest.raises(Conflict):
            await house.consumption.begin(consumer(by="worker-2"), event_id)

        house.clock.at_ms += 1
        assert await waiting(house, consumer()) == [event_id]
        taken = await house.consumption.begin(consumer(by="worker-2"), event_id)

        assert taken.started_ms == START_MS + LEASE_MS
        assert [(step.left, step.entered, step.by) for step in taken.history] == [
            (None, "processing", "worker-1"),
            (None, "processing", "worker-2"),
        ]
        assert await waiting(house, consumer()) == []

    stage(scene, lease_ms=LEASE_MS)


def test_an_ended_transaction_never_comes_back(stage: Stage) -> None:
    async def scene(house: House) -> None:
        event_id = await house.accept()
        await house.consumption.begin(consumer(), event_id)
        await house.consumption.end(consumer(), event_id, TransactionState.FAILED, None)
        house.clock.at_ms += 10 * LEASE_MS

        assert await waiting(house, consumer()) == []
        with pytest.raises(Conflict):
            await house.consumption.begin(consumer(), event_id)

    stage(scene, lease_ms=LEASE_MS)


def test_an_end_is_told_once_and_may_be_repeated_word_for_word(stage: Stage) -> None:
    async def scene(house: House) -> None:
        event_id = await house.accept()
        await house.consumption.begin(consumer(), event_id)
        first = await house.consumption.end(consumer(), event_id, TransactionState.FINISHED, "done")
        house.clock.at_ms += 1

        assert await house.consumption.end(consumer(), event_id, TransactionState.FINISHED, "done") == first
        with pytest.raises(Conflict) as refused:
            await house.consumption.end(consumer(), event_id, TransactionState.FINISHED, None)
        assert refused.value.code == "transaction_ended"

    stage(scene)


def test_what_was_never_begun_can_be_neither_ended_nor_moved(stage: Stage) -> None:
    async def scene(house: House) -> None:
        event_id = await house.accept()
        event = await house.consumption.event(consumer(), event_id)

        with pytest.raises(NotFound):
            await house.consumption.end(consumer(), event_id, TransactionState.FINISHED, None)
        with pytest.raises(NotFound):
            await house.consumption.move(consumer(), event, TransactionState.FINISHED)

    stage(scene)


def test_the_other_environment_s_event_is_not_there(stage: Stage) -> None:
    async def scene(house: House) -> None:
        event_id = await house.accept(Environment.TEST)

        with pytest.raises(NotFound):
            await house.consumption.event(consumer(), event_id)
        with pytest.raises(NotFound):
            await house.consumption.begin(consumer(), event_id)
        assert await waiting(house, consumer()) == []
        assert await waiting(house, consumer(environment=Environment.TEST)) == [event_id]

    stage(scene)


def test_transactions_of_all_groups_are_counted_and_the_own_one_is_shown(stage: Stage) -> None:
    async def scene(house: House) -> None:
        event_id = await house.accept()
        event = await house.consumption.event(consumer(), event_id)
        groups = [consumer(f"group-{n:03d}") for n in range(101)]
        for group in groups:
            await house.consumption.begin(group, event_id)
        await house.consumption.end(groups[0], event_id, TransactionState.FINISHED, "long")

        standing = await house.consumption.move(groups[1], event, TransactionState.FAILED)

        assert (standing.transactions_total, standing.transactions_open) == (101, 99)
        house.clock.at_ms += LEASE_MS
        for group, state in ((groups[-1], None), (groups[0], TransactionState.FINISHED)):
            page = await house.consumption.list(group, "sold", state, since_ms=None, limit=1, offset=0)
            (row,) = page.rows
            assert row.state is state
            assert row.transaction is not None
            assert (row.transaction.tx_key, row.transaction.output) == (group.tx_key, None)
            assert (row.transactions_total, row.transactions_open) == (101, 99)

    stage(scene, lease_ms=LEASE_MS)


class ForgetfulEngine(SqliteEngine):
    """Drops all that is past retention as soon as a transaction was moved."""

    async def transact(self, steps: Sequence[TransactionStep]) -> list[Transaction | TransactionRefusal]:
        results = await super().transact(steps)
        if isinstance(steps[0], Move):
            while await self.tend(1000):
                pass
        return results


def test_an_event_that_retention_drops_during_a_move_is_not_there(stage: Stage) -> None:
    async def scene(house: House) -> None:
        event = await house.consumption.event(consumer(), await house.accept())
        await house.consumption.begin(consumer(), event.id)
        house.clock.at_ms += RETENTION_MS + 1
        await house.accept()
        with pytest.raises(NotFound):
            await house.consumption.move(consumer(), event, TransactionState.FINISHED)

    stage(scene, engine_type=ForgetfulEngine)


def test_started_events_are_listed_by_state_and_page(stage: Stage) -> None:
    async def scene(house: House) -> None:
        events = []
        for _ in range(3):
            house.clock.at_ms += 1
            events.append(await house.accept())
            await house.consumption.begin(consumer(), events[-1])
        await house.consumption.end(consumer(), events[1], TransactionState.FAILED, "why")

        async def listed(state: TransactionState, *, since_ms: int | None = None, offset: int = 0) -> list[EventId]:
            page = await house.consumption.list(consumer(), "sold", state, since_ms=since_ms, limit=1, offset=offset)
            return [row.event.id for row in page.rows]

        assert await listed(TransactionState.PROCESSING) == [events[0]]
        assert await listed(TransactionState.PROCESSING, offset=1) == [events[2]]
        assert await listed(TransactionState.PROCESSING, since_ms=START_MS + 3) == [events[2]]
        assert await listed(TransactionState.PROCESSING, since_ms=START_MS + 4) == []
        assert await listed(TransactionState.FAILED) == [events[1]]
        assert await listed(TransactionState.FINISHED) == []

    stage(scene)


def test_a_reopened_transaction_has_a_lease_and_may_be_taken_over(stage: Stage) -> None:
    async def scene(house: House) -> None:
        event = await house.consumption.event(consumer(), await house.accept())
        await house.consumption.begin(consumer(), event.id)
        await house.consumption.end(consumer(), event.id, TransactionState.FAILED, None)
        house.clock.at_ms += 5000
        standing = await house.consumption.move(consumer(), event, TransactionState.PROCESSING)
        assert standing.transaction is not None
        assert standing.transaction.lease_until_ms == house.clock.at_ms + 1000
        house.clock.at_ms += 999
        await house.consumption.move(consumer(), event, TransactionState.PROCESSING)
        house.clock.at_ms += 999
        assert await waiting(house, consumer()) == []
        house.clock.at_ms += 1
        assert await waiting(house, consumer()) == [event.id]
        await house.consumption.begin(consumer(by="worker-2"), event.id)

    stage(scene, lease_ms=1000)


def test_without_leases_a_move_sets_none(stage: Stage) -> None:
    async def scene(house: House) -> None:
        event = await house.consumption.event(consumer(), await house.accept())
        await house.consumption.begin(consumer(), event.id)
        await house.consumption.end(consumer(), event.id, TransactionState.FAILED, None)
        standing = await house.consumption.move(consumer(), event, TransactionState.PROCESSING)
        assert standing.transaction is not None
        assert standing.transaction.lease_until_ms is None

    stage(scene)

"""Retention on PostgreSQL: whole partitions go, and what is under way keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from engine.postgres_server import PostgresServer, open_transaction, play_on, waits_for_a_lock
from tocsin.core.clock import DAY_MS
from tocsin.core.delivery import DeliveryState
from tocsin.core.event import Event
from tocsin.core.identifiers import DeliveryId, EventId
from tocsin.engine.postgres import amend, spans
from tocsin.engine.postgres.spans import Span, Spans
from tocsin.engine.rows import Retry, TransactionQuery
from tocsin.testing.engine_contract import RETENTION_MS, Stage
from tocsin.testing.engine_contract.consuming import begin_step

BY_DAY: dict[str, Any] = {"partition_ms": DAY_MS, "retention_slack_ms": None, "partitions_ahead_ms": 2 * DAY_MS}
"""As events that are kept for thirty days are by default, but for fewer partitions ahead."""


@pytest.fixture
def dsn(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a database without partitions, since those of the template are wider."""
    with postgres.database() as name:
        yield postgres.dsn(name)


async def _partitions(dsn: str) -> set[str]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "select inhrelid::regclass::text from pg_inherits where inhparent = any($1::regclass[])",
            list(spans.TABLES),
        )
    finally:
        await connection.close()
    return {row[0] for row in rows}


async def _deleted(dsn: str) -> int:
    """Return how many events were deleted row by row."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("select pg_stat_force_next_flush()")
        return int(
            await connection.fetchval("select sum(n_tup_del) from pg_stat_user_tables where relname ~ '^event'")
        )
    finally:
        await connection.close()


async def _tended(stage: Stage) -> None:
    while await stage.engine.tend(10_000):
        pass


async def _kept(stage: Stage, event_id: EventId) -> bool:
    (found,) = await stage.engine.find(Event, stage.organisation, [event_id])
    return found is not None


def test_a_day_past_its_time_is_dropped_as_a_whole(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        old = [stage.new(stage.destination()) for _ in range(50)]
        await stage.store(*old)
        for lease in await stage.claim():
            await stage.finish(lease)
        await stage.engine.transact([begin_step(stage, each.event.id) for each in old])
        first = {each for each in await _partitions(dsn) if each.endswith(str(stage.clock.now_ms()))}
        assert len(first) == len(spans.TABLES)
        stage.clock.advance_ms(RETENTION_MS + DAY_MS - 1)
        await _tended(stage)
        assert first <= await _partitions(dsn)
        assert await _kept(stage, old[0].event.id), "it stays until all of its day is past its time"
        stage.clock.advance_ms(1)
        await _tended(stage)
        assert not first & await _partitions(dsn)
        assert not await _kept(stage, old[0].event.id)
        assert await stage.all(TransactionQuery(organisation_id=stage.organisation)) == []
        await stage.close()
        assert await _deleted(dsn) == 0

    play_on(dsn, play, **BY_DAY)


def test_a_day_of_which_something_is_under_way_stays_and_the_others_of_it_go(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        waiting, done = stage.new(stage.destination()), stage.new()
        await stage.store(waiting, done)
        lease = await stage.claim_one()
        stage.clock.advance_ms(RETENTION_MS + 2 * DAY_MS)
        await _tended(stage)
        assert [await _kept(stage, each.event.id) for each in (waiting, done)] == [True, False]
        assert await stage.finish(lease, DeliveryState.EXPIRED)
        before = await _partitions(dsn)
        await _tended(stage)
        assert not await _kept(stage, waiting.event.id)
        assert len(before - await _partitions(dsn)) >= len(spans.TABLES)

    play_on(dsn, play, **BY_DAY)


def test_what_is_under_way_of_one_day_does_not_keep_the_next_one(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        waiting = stage.new(stage.destination())
        await stage.store(waiting)
        stage.clock.advance_ms(DAY_MS)
        next_ms = stage.clock.now_ms()
        done = [stage.new() for _ in range(600)]
        await stage.store(*done)
        await stage.engine.transact([begin_step(stage, each.event.id) for each in done])
        stage.clock.advance_ms(RETENTION_MS + DAY_MS)
        before = await _partitions(dsn)
        await _tended(stage)
        assert {f"{table}_{next_ms}" for table in spans.TABLES} == before - await _partitions(dsn)
        assert await _kept(stage, waiting.event.id)
        assert await stage.all(TransactionQuery(organisation_id=stage.organisation)) == []
        # Who stores something of that day all the same finds room for it.
        late = stage.new(id=stage.id_at(next_ms))
        await stage.store(late)
        assert await _kept(stage, late.event.id)

    play_on(dsn, play, **BY_DAY)


def test_a_delivery_that_is_retried_by_hand_keeps_its_day(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        new = stage.new(stage.destination())
        await stage.store(new)
        await stage.finish(await stage.claim_one(), DeliveryState.EXPIRED)
        stage.clock.advance_ms(RETENTION_MS + 2 * DAY_MS)
        retry = Retry(stage.organisation, DeliveryId(new.deliveries[0].id), stage.clock.now_ms())
        await stage.engine.amend([retry])
        await _tended(stage)
        assert (await stage.claim_one()).event == new.event

    play_on(dsn, play, **BY_DAY)


def test_a_retry_by_hand_that_is_under_way_keeps_its_day(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        new = stage.new(stage.destination())
        await stage.store(new)
        await stage.finish(await stage.claim_one(), DeliveryState.EXPIRED)
        stage.clock.advance_ms(RETENTION_MS + 2 * DAY_MS)
        retry = Retry(stage.organisation, DeliveryId(new.deliveries[0].id), stage.clock.now_ms())
        async with open_transaction(dsn) as connection:
            await amend.amend(connection, [retry], now_ms=stage.clock.now_ms())
            tending = asyncio.create_task(_tended(stage))
            await waits_for_a_lock(dsn, tending)
        await tending
        assert (await stage.claim_one()).event == new.event

    play_on(dsn, play, **BY_DAY)


def test_partitions_are_made_ahead_and_wherever_an_id_lies(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        now_ms = stage.clock.now_ms()
        assert {f"event_{now_ms + number * DAY_MS}" for number in range(3)} <= await _partitions(dsn)
        for at_ms in (0, now_ms - 400 * DAY_MS, now_ms + 400 * DAY_MS):
            new = stage.new(stage.destination(), id=stage.id_at(at_ms))
            await stage.store(new)
            assert await _kept(stage, new.event.id)

    play_on(dsn, play, **BY_DAY)


def test_a_long_read_only_puts_the_dropping_off(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        old = stage.new()
        await stage.store(old)
        stage.clock.advance_ms(RETENTION_MS + 2 * DAY_MS)
        reader = await asyncpg.connect(dsn)
        await reader.execute("begin")
        await reader.fetch("select count(*) from event")
        await asyncio.gather(_tended(stage), stage.store(stage.new()))
        await reader.execute("commit")
        await reader.close()
        await _tended(stage)
        assert not await _kept(stage, old.event.id)

    play_on(dsn, play, **BY_DAY)


@pytest.mark.parametrize(
    ("there", "at", "made"),
    [
        ([], 25, Span(20, 30)),
        ([Span(0, 10)], 25, Span(20, 30)),
        ([Span(0, 22)], 25, Span(22, 30)),
        ([Span(27, 40)], 25, Span(20, 27)),
        ([Span(0, 22), Span(27, 40)], 25, Span(22, 27)),
    ],
)
def test_a_span_of_another_width_fits_between_those_that_are_there(there: list[Span], at: int, made: Span) -> None:
    assert Spans(10).around(at, there) == made


@pytest.mark.parametrize(
    ("retention_ms", "width_ms"),
    [(None, 28 * DAY_MS), (60 * DAY_MS, DAY_MS), (61 * DAY_MS, 7 * DAY_MS), (DAY_MS, DAY_MS)],
)
def test_spans_are_the_wider_the_longer_events_are_kept(retention_ms: int | None, width_ms: int) -> None:
    assert spans.width_ms(retention_ms) == width_ms

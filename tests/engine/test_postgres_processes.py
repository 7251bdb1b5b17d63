"""Several engines on one database: what one process alone never meets."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from typing import Any

import pytest

from engine.postgres_server import (
    PostgresServer,
    open_transaction,
    play_on,
    postgres_factory,
    postgres_settings,
    waits_for_a_lock,
)
from tocsin.core.delivery import DeliveryState
from tocsin.core.device import Device, Platform
from tocsin.core.identifiers import ChannelId, DestinationId
from tocsin.core.incident import IncidentAction, IncidentChange, IncidentRefusal
from tocsin.core.organisation import Category
from tocsin.core.quota import QuotaCharge
from tocsin.core.transaction import Transaction, TransactionRefusal
from tocsin.engine.postgres import PostgresEngine, accept, lanes, mailbox, settle, transact
from tocsin.engine.postgres.sql import Connection
from tocsin.engine.rows import (
    Accepted,
    CatalogResult,
    Finished,
    IncidentRefused,
    MailboxResult,
    QuotaExceeded,
    Repeated,
    RetryAt,
    Save,
    SaveDevice,
    Settlement,
    Subscribe,
)
from tocsin.testing.clock import ManualClock
from tocsin.testing.engine_contract import Stage
from tocsin.testing.engine_contract.consuming import begin_step
from tocsin.testing.engine_contract.stage import LEASE_MS

ENDED = Finished(DeliveryState.DELIVERED)


def test_two_claim_disjointly_and_all_of_it(dsn: str) -> None:
    async def play(one: Stage, two: Stage) -> None:
        destinations = one.destinations(7)
        await one.store(*(one.new(destinations[number % 7]) for number in range(210)))
        claims = await asyncio.gather(*(stage.claim(limit=23) for stage in (one, two) for _ in range(3)))
        claimed = [lease.delivery_id for leases in claims for lease in leases]
        while leases := [*await one.claim(limit=50), *await two.claim(limit=50)]:
            claimed += [lease.delivery_id for lease in leases]
        assert len(claimed) == len(set(claimed)) == 210

    play_on(dsn, play, engines=2)


def test_a_lease_that_another_took_over_is_not_settled(dsn: str) -> None:
    async def play(one: Stage, two: Stage) -> None:
        await one.store(one.new(one.destination()))
        stale = await one.claim_one()
        one.clock.advance_ms(LEASE_MS)
        current = await two.claim_one()
        assert list(await asyncio.gather(one.finish(stale), two.finish(current))) == [False, True]
        assert sorted(each.number for each in await one.attempts(current.delivery_id)) == [0, 1]

    play_on(dsn, play, engines=2)


def test_one_request_that_reaches_two_processes_is_stored_once(dsn: str) -> None:
    async def play(one: Stage, two: Stage) -> None:
        for number in range(40):
            stages = (one, two, one, two)
            keys = [one.key(f"{number} {suffix}") for suffix in ("a", "b")]
            new = [stage.new(keys=keys if at % 2 else keys[::-1]) for at, stage in enumerate(stages)]
            asked = (stage.judge(each) for stage, each in zip(stages, new, strict=True))
            told = [results[0] for results in await asyncio.gather(*asked)]
            (accepted,) = (each for each in told if isinstance(each, Accepted))
            repeated = [each for each in told if not isinstance(each, Accepted)]
            assert repeated == [Repeated(accepted.event.id)] * 3

    play_on(dsn, play, engines=2)


def test_a_key_of_what_was_refused_is_free_for_the_other_process(dsn: str) -> None:
    async def play(one: Stage, two: Stage) -> None:
        full = QuotaCharge("full", 0)
        for number in range(20):
            keys = [one.key(str(number))]
            told = await asyncio.gather(one.judge(one.new(keys=keys, quota=full)), two.judge(two.new(keys=keys)))
            assert isinstance(told[0][0], QuotaExceeded | Repeated)
            assert isinstance(told[1][0], Accepted)
            (again,) = await one.judge(one.new(keys=keys))
            assert again == Repeated(told[1][0].event.id)

    play_on(dsn, play, engines=2)


def test_quotas_are_counted_over_all_processes(dsn: str) -> None:
    async def play(one: Stage, two: Stage) -> None:
        quota = QuotaCharge("c", 30)
        batches = [[stage.new(quota=quota) for _ in range(4)] for stage in (one, two) * 6]
        asked = (stage.judge(*batch) for stage, batch in zip((one, two) * 6, batches, strict=True))
        results = [each for told in await asyncio.gather(*asked) for each in told]
        assert sum(isinstance(each, Accepted) for each in results) == 30
        assert await two.engine.usage(one.organisation, "c") == 30

    play_on(dsn, play, engines=2)


def test_changes_to_the_catalog_are_told_in_order_whoever_makes_them(dsn: str) -> None:
    async def play(one: Stage, two: Stage) -> None:
        seen: list[bytes] = []
        written: list[bytes] = []

        async def write(stage: Stage, number: int) -> None:
            for at in range(15):
                category = Category(
                    id=ChannelId(stage.id()),  # type: ignore[arg-type]
                    organisation_id=stage.organisation,
                    name=f"{number} {at}",
                    color=1,
                    created_ms=0,
                )
                assert await stage.engine.catalog_write([Save(category)]) == [CatalogResult.DONE]
                written.append(category.id)

        async def follow() -> None:
            revision = 0
            while len(seen) < 60:
                delta = await two.engine.catalog_since(revision)
                seen.extend(each.id for each in delta.saved)
                revision = delta.revision

        await asyncio.gather(follow(), *(write(stage, number) for number, stage in enumerate((one, two) * 2)))
        assert sorted(seen) == sorted(written)

    play_on(dsn, play, engines=2)


def test_a_tail_misses_nothing_of_what_two_processes_store(dsn: str) -> None:
    async def play(one: Stage, two: Stage) -> None:
        cursor = (await one.engine.tail(None, 1)).cursor
        seen: list[bytes] = []
        stored: list[bytes] = []

        async def write(stage: Stage) -> None:
            for size in range(1, 15):
                results = await stage.store(*(stage.new(keys=[stage.key(stage.id().hex())]) for _ in range(size)))
                stored.extend(each.event.id for each in results)

        async def follow(position: int) -> None:
            while len(seen) < 6 * 105:
                page = await two.engine.tail(position, 9)
                position = page.cursor
                seen.extend(each.id for each in page.events)

        await asyncio.gather(follow(cursor), *(write(stage) for stage in (one, two) * 3))
        assert len(seen) == len(set(seen))
        assert set(seen) == set(stored)

    play_on(dsn, play, engines=2)


def test_what_one_process_stores_wakes_the_other(dsn: str) -> None:
    async def play(one: Stage, two: Stage) -> None:
        # Whoever has just begun to listen looks once, whatever it heard.
        await two.engine.wait(60)
        waiting = asyncio.create_task(two.engine.wait(3600))
        while not waiting.done():
            await one.store(one.new(one.destination()))
            await asyncio.wait([waiting], timeout=0.1)
        await waiting

    play_on(dsn, play, engines=2)


@pytest.mark.parametrize("seed", range(3))
def test_lanes_keep_their_order_under_two_dispatchers(dsn: str, seed: int) -> None:
    async def play(one: Stage, two: Stage) -> None:
        await _Lanes(random.Random(seed), one, two).run()

    play_on(dsn, play, engines=2)


def test_who_moves_an_incident_waits_for_who_moves_it_already(dsn: str) -> None:
    async def play(one: Stage, two: Stage) -> None:
        create = one.new(incident=IncidentChange(action=IncidentAction.CREATE, channel="c", at_ms=0))
        await one.store(create)
        close = IncidentChange(action=IncidentAction.CLOSE, channel="c", at_ms=1, incident_id=create.event.id)
        arrival = accept.Arrival(one.new(incident=close), 0)
        async with open_transaction(dsn) as connection:
            (first,) = await accept.accept(connection, [arrival], now_ms=one.clock.now_ms(), in_doubt=False)
            other = asyncio.create_task(two.judge(two.new(incident=close)))
            await waits_for_a_lock(dsn, other)
        assert isinstance(first, Accepted)
        assert await other == [IncidentRefused(IncidentRefusal.CLOSED)]

    play_on(dsn, play, engines=2)


def test_who_begins_a_transaction_waits_for_who_began_it_already(dsn: str) -> None:
    async def play(one: Stage, two: Stage) -> None:
        new = one.new()
        await one.store(new)
        async with open_transaction(dsn) as connection:
            (first,) = await transact.transact(connection, [begin_step(one, new.event.id)])
            other = asyncio.create_task(two.engine.transact([begin_step(two, new.event.id)]))
            await waits_for_a_lock(dsn, other)
        assert isinstance(first, Transaction)
        assert await other == [TransactionRefusal.EXISTS]

    play_on(dsn, play, engines=2)


def test_who_subscribes_waits_for_who_takes_the_last_place(dsn: str) -> None:
    async def play(one: Stage, two: Stage) -> None:
        channel = ChannelId(one.id())
        devices = [
            Device(key=key, organisation_id=one.organisation, platform=Platform.IOS, changed_ms=0) for key in "ab"
        ]
        await one.engine.mailbox_write([SaveDevice(each) for each in devices])
        async with open_transaction(dsn) as connection:
            first = await mailbox.write(connection, [Subscribe(one.organisation, "a", channel, 1)])
            other = asyncio.create_task(two.engine.mailbox_write([Subscribe(one.organisation, "b", channel, 1)]))
            await waits_for_a_lock(dsn, other)
        assert (first, await other) == ([MailboxResult.DONE], [MailboxResult.LIMIT])

    play_on(dsn, play, engines=2)


@pytest.mark.parametrize("who_is_first", ["accept", "settle"])
def test_who_joins_a_lane_and_who_leaves_it_wait_for_each_other(dsn: str, who_is_first: str) -> None:
    async def play(one: Stage, two: Stage) -> None:
        destination = one.destination()
        await one.store(one.new(destination, lane=b"l"))
        lease = await one.claim_one()
        follower, now_ms = one.new(destination, lane=b"l"), one.clock.now_ms()
        async with open_transaction(dsn) as connection:
            if who_is_first == "accept":
                await accept.accept(connection, [accept.Arrival(follower, 0)], now_ms=now_ms, in_doubt=False)
                other: asyncio.Task[Any] = asyncio.create_task(two.finish(lease))
            else:
                settlement = Settlement(lease, one.attempt(), ENDED)
                await settle.settle(connection, [settlement], now_ms=now_ms, in_doubt=False)
                other = asyncio.create_task(two.store(follower))
            await waits_for_a_lock(dsn, other)
        await other
        assert (await two.claim_one()).delivery_id == follower.deliveries[0].id

    play_on(dsn, play, engines=2)


class _Lanes:
    """Producers and dispatchers on two engines; each delivery is sent once, after every earlier one of its lane."""

    _LANES = 5
    _PER_LANE = 24

    def __init__(self, dice: random.Random, *stages: Stage) -> None:
        self._dice = dice
        self._stages = stages
        self._destination = DestinationId(stages[0].id())
        self._sent: dict[bytes, list[int]] = defaultdict(list)
        self._place: dict[bytes, int] = {}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._LANES):
                tasks.create_task(self._produce(self._stages[number % 2], f"lane {number}".encode()))
            for number in range(4):
                tasks.create_task(self._work(self._stages[number % 2]))
        assert dict(self._sent) == {f"lane {n}".encode(): list(range(self._PER_LANE)) for n in range(self._LANES)}

    async def _produce(self, stage: Stage, lane: bytes) -> None:
        """Store two at a time, each by the process whose turn it is, so that a lane's events come from both."""
        for place in range(0, self._PER_LANE, 2):
            batch = [stage.new(self._destination, lane=lane) for _ in range(2)]
            for at, new in enumerate(batch):
                self._place[new.deliveries[0].id] = place + at
            await self._stages[place // 2 % 2].store(*batch)

    async def _work(self, stage: Stage) -> None:
        while sum(map(len, self._sent.values())) < self._LANES * self._PER_LANE:
            for lease in await stage.claim(limit=self._dice.randrange(1, 4)):
                assert lease.lane is not None
                if self._dice.random() < 0.2:
                    until = RetryAt(stage.clock.now_ms())
                    assert await stage.engine.settle([Settlement(lease, None, until)]) == [True]
                    continue
                # Written down before it is settled: the next one of the lane may go as soon as that is committed.
                self._sent[lease.lane].append(self._place[lease.delivery_id])
                assert await stage.engine.settle([Settlement(lease, stage.attempt(), ENDED)]) == [True]


def test_partitions_that_one_process_dropped_are_made_again_by_the_other(dsn: str) -> None:
    async def play(one: Stage, two: Stage) -> None:
        at_ms = one.clock.now_ms() - 200 * 24 * 3_600_000
        await one.store(one.new(id=one.id_at(at_ms)))
        await two.store(two.new(id=two.id_at(at_ms)))
        while await one.engine.tend(10_000):
            pass
        late = two.new(two.destination(), id=two.id_at(at_ms))
        await two.store(late)
        assert await two.finish(await one.claim_one())

    play_on(dsn, play, engines=2)


def test_what_a_process_locked_that_was_stopped_while_it_was_told_a_lot_is_let_go(dsn: str) -> None:
    """Then the server is not idle, and ends no statement whose answer it is sending."""

    async def play(one: Stage, two: Stage) -> None:
        destination = one.destination()
        stopped: list[Connection] = []
        is_locked = asyncio.Event()

        async def lock_and_stop(connection: Connection, _: bool) -> None:
            await lanes.lock(connection, [(destination, b"l")])
            if not stopped:
                telling = await connection.prepare("select repeat('x', 1000000) from generate_series(1, 60)")
                stopped.append(connection)
                connection._transport.pause_reading()  # type: ignore[attr-defined]
                is_locked.set()
                await telling.fetch()
            await lanes.unlock_unused(connection, [(destination, b"l")])

        assert isinstance(one.engine, PostgresEngine)
        writing = asyncio.create_task(one.engine._pool.write(lock_and_stop))
        await is_locked.wait()
        new = two.new(destination, lane=b"l")
        await two.store(new)
        stopped[0]._transport.resume_reading()  # type: ignore[attr-defined]
        # It finds its transaction gone, and makes another one.
        await writing
        assert (await two.claim_one()).delivery_id == new.deliveries[0].id

    play_on(dsn, play, engines=2, idle_max_s=0.5)


def test_two_that_start_at_once_migrate_once(postgres: PostgresServer) -> None:
    async def start_all(dsn: str) -> None:
        engines = [PostgresEngine(postgres_settings(dsn), clock=ManualClock()) for _ in range(4)]
        infos = await asyncio.gather(*(engine.open() for engine in engines))
        assert len(set(map(repr, infos))) == 1
        for engine in engines:
            await engine.close()
        async with postgres_factory(dsn)(ManualClock()) as again:
            assert (await again.probe()).engine == "postgresql"

    with postgres.database() as name:
        asyncio.run(start_all(postgres.dsn(name)))
        ((migrations, numbers),) = postgres.execute(
            "select count(*), count(distinct number) from schema_migration", database=name
        )[0]
        assert migrations == numbers >= 1

"""Connections that break, servers that are killed, and servers that are not taken."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import suppress

import asyncpg
import pytest

from engine.cutting_proxy import cutting_proxy
from engine.postgres_server import (
    PostgresServer,
    fresh_database,
    play_on,
    postgres_factory,
    postgres_settings,
    running_server,
)
from tocsin.core.delivery import DeliveryState
from tocsin.core.errors import Unavailable
from tocsin.core.event import Event
from tocsin.core.identifiers import EventId, IdSequence
from tocsin.engine.postgres import PostgresEngine, lanes
from tocsin.engine.postgres.opening import open_store
from tocsin.engine.postgres.pool import Pool, PoolSettings
from tocsin.engine.postgres.sql import Connection
from tocsin.engine.rows import (
    Acceptance,
    Accepted,
    EngineRefused,
    Finished,
    NewEvent,
    Repeated,
    RetryAt,
    Settlement,
)
from tocsin.testing.clock import ManualClock
from tocsin.testing.engine_contract import Stage

_OTHERS = (
    "select pg_terminate_backend(pid) from pg_stat_activity "
    "where datname = current_database() and pid <> pg_backend_pid()"
)
_KILLS = 15
_ACKED_MIN = 400


def test_backends_that_are_killed_in_mid_batch_lose_nothing_and_store_nothing_twice(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        stored: list[EventId] = []
        further = asyncio.Event()
        killing = True

        async def kill() -> None:
            nonlocal killing
            killer = await asyncpg.connect(dsn)
            try:
                for _ in range(_KILLS):
                    before = len(stored)
                    await killer.execute(_OTHERS)
                    while len(stored) < before + 20:
                        further.clear()
                        await further.wait()
            finally:
                killing = False
                await killer.close()

        async def write() -> None:
            while killing:
                new = [stage.new(stage.destination(), keys=[stage.key(stage.id().hex())]) for _ in range(3)]
                # Where it is told that nobody knows, the client repeats it, and is told what became of it.
                results = await _judged(stage, new)
                assert all(isinstance(each, Accepted | Repeated) for each in results), results
                stored.extend(each.event.id for each in new)
                further.set()

        await asyncio.gather(kill(), *(write() for _ in range(6)))
        found = await stage.engine.find(Event, stage.organisation, stored)
        assert None not in found
        claimed = [lease.event.id for lease in await stage.claim(limit=100_000, per_destination=10)]
        assert sorted(claimed) == sorted(stored)

    play_on(dsn, play)


async def _judged(stage: Stage, new: list[NewEvent]) -> list[Acceptance]:
    while True:
        with suppress(Unavailable):
            return await stage.judge(*new)


def test_a_settle_whose_connection_is_killed_counts_once(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.store(*(stage.new(stage.destination(), lane=b"l") for _ in range(60)))
        leases = await stage.claim()
        killer = await asyncpg.connect(dsn)
        tasks = []
        for at, lease in enumerate(leases):
            tasks.append(asyncio.create_task(stage.finish(lease)))
            if at % 7 == 0:
                await killer.execute(_OTHERS)
        assert all(await asyncio.gather(*tasks))
        await killer.close()
        for lease in leases:
            assert [each.number for each in await stage.attempts(lease.delivery_id)] == [1]

    play_on(dsn, play)


def test_a_commit_whose_answer_is_lost_is_told_as_what_it_was(dsn: str) -> None:
    async def run() -> None:
        async with cutting_proxy(dsn) as proxy:
            stage = Stage(postgres_factory(proxy.dsn, listens=False))
            await stage.open()
            new = stage.new(stage.destination(), leased=True, keys=[stage.key("k")])
            proxy.cuts_left = 1
            (accepted,) = await stage.store(new)
            assert accepted.event == new.event
            (lease,) = accepted.leases
            proxy.cuts_left = 1
            assert await stage.finish(lease)
            assert [each.number for each in await stage.attempts(lease.delivery_id)] == [1]
            assert await stage.judge(stage.new(keys=[stage.key("k")])) == [Repeated(new.event.id)]
            assert proxy.cuts_left == 0
            await stage.close()

    asyncio.run(run())


def test_a_settle_that_was_told_as_unavailable_counts_once_when_it_is_tried_again(dsn: str) -> None:
    async def run() -> None:
        async with cutting_proxy(dsn) as proxy:
            stage = Stage(postgres_factory(proxy.dsn, listens=False))
            await stage.open()
            await stage.store(stage.new(stage.destination()), stage.new(stage.destination()))
            ended, given_back = await stage.claim()
            batch = [
                Settlement(ended, stage.attempt(), Finished(DeliveryState.DELIVERED)),
                Settlement(given_back, None, RetryAt(stage.clock.now_ms() + 1000)),
            ]
            proxy.cuts_left = 100
            with pytest.raises(Unavailable):
                await stage.engine.settle(batch)
            assert proxy.cuts_left < 100
            proxy.cuts_left = 0
            assert await stage.engine.settle(batch) == [True, True]
            assert [each.number for each in await stage.attempts(ended.delivery_id)] == [1]
            # Whoever brings it once more, after it was told, comes too late.
            assert await stage.engine.settle(batch) == [False, False]
            await stage.close()

    asyncio.run(run())


def test_a_commit_in_doubt_of_what_leaves_no_trace_is_told_as_unavailable(dsn: str) -> None:
    async def run() -> None:
        async with cutting_proxy(dsn) as proxy:
            stage = Stage(postgres_factory(proxy.dsn, listens=False))
            await stage.open()
            proxy.cuts_left = 1
            with pytest.raises(Unavailable):
                await stage.engine.mailbox_write([])
            assert proxy.cuts_left == 0
            await stage.close()

    asyncio.run(run())


def test_a_read_goes_on_over_a_new_connection(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        new = stage.new()
        await stage.store(new)
        killer = await asyncpg.connect(dsn)
        for _ in range(5):
            await killer.execute(_OTHERS)
            assert await stage.engine.find(Event, stage.organisation, [new.event.id]) == [new.event]
        await killer.close()

    play_on(dsn, play)


def test_what_a_process_locked_that_was_stopped_is_let_go(dsn: str) -> None:
    async def play(one: Stage, two: Stage) -> None:
        destination = one.destination()
        is_locked, goes_on = asyncio.Event(), asyncio.Event()

        async def lock_and_stop(connection: Connection, _: bool) -> None:
            await lanes.lock(connection, [(destination, b"l")])
            is_locked.set()
            await goes_on.wait()
            await lanes.unlock_unused(connection, [(destination, b"l")])

        assert isinstance(one.engine, PostgresEngine)
        stopped = asyncio.create_task(one.engine._pool.write(lock_and_stop))
        await is_locked.wait()
        new = two.new(destination, lane=b"l")
        await two.store(new)
        goes_on.set()
        # It finds its transaction gone, and makes another one.
        await stopped
        assert (await two.claim_one()).delivery_id == new.deliveries[0].id

    play_on(dsn, play, engines=2, idle_max_s=0.5)


def test_a_search_of_a_process_that_was_stopped_is_ended(dsn: str) -> None:
    """It would keep partitions from being dropped for as long as the process stands still."""
    tries = 0

    async def stop_once(connection: Connection) -> object:
        nonlocal tries
        tries += 1
        if tries == 1:
            ended = asyncio.Event()
            connection.add_termination_listener(lambda _: ended.set())
            await connection.fetchval("select count(*) from pg_class")
            await ended.wait()
        return await connection.fetchval("select 1")

    async def run() -> None:
        pool = Pool(PoolSettings(dsn=dsn, idle_max_s=0.5))
        await pool.open()
        assert await pool.read(stop_once, time_max_s=30.0, in_transaction=True) == 1
        await pool.close()

    asyncio.run(run())
    assert tries > 1


def test_a_server_that_hangs_up_does_not_keep_from_the_one_that_answers(postgres: PostgresServer) -> None:
    """So does what stands before a server that is down, and takes its clients' connections for it."""
    taken = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        taken += 1
        await reader.read(1024)
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as before:
            hosts = f"127.0.0.1:{before.sockets[0].getsockname()[1]},127.0.0.1:{postgres.port}"
            pool = Pool(PoolSettings(dsn=f"postgresql://tocsin@{hosts}/postgres?sslmode=disable"))
            connection = await pool.connect()
            assert await connection.fetchval("select 1") == 1
            await connection.close()

    asyncio.run(run())
    assert taken == 1


def test_a_search_that_finds_no_server_is_not_told_to_narrow_itself_down() -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            pool = Pool(PoolSettings(dsn=f"postgresql://tocsin@127.0.0.1:{silent.getsockname()[1]}/tocsin"))
            await pool.open()
            with pytest.raises(Unavailable) as told:
                await pool.read(lambda c: c.fetch("select 1"), time_max_s=0.1, in_transaction=True)
            assert (told.value.code, told.value.retry_after_s) == (Unavailable("").code, 1)
            await pool.close()

    asyncio.run(run())


# -- a server that is killed -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def durable() -> Iterator[PostgresServer]:
    """A server that waits for the disk, and writes by itself as seldom as it can."""
    with running_server(wal_writer_delay="10s", wal_writer_flush_after="0", bgwriter_delay="10s") as server:
        yield server


def _killed_under_load(server: PostgresServer, name: str, *, synchronous_commit: str) -> tuple[int, int]:
    """Store events until the server is killed; return how many were acknowledged, and how many are there then."""
    settings = postgres_settings(
        server.dsn(name), synchronous_commit=synchronous_commit, fsync_needed=True, listens=False, write_max_s=5.0
    )
    acked: list[EventId] = []
    enough = asyncio.Event()

    async def load() -> None:
        clock = ManualClock()
        engine = PostgresEngine(settings, clock=clock)
        await engine.open()
        stage = Stage(lambda _: None)  # type: ignore[arg-type]
        stage.engine, stage.clock, stage._ids = engine, clock, IdSequence(os.urandom)

        async def write() -> None:
            while True:
                new = stage.new(stage.destination())
                with suppress(Unavailable):
                    await stage.store(new)
                    acked.append(new.event.id)
                    if len(acked) == _ACKED_MIN:
                        enough.set()
                    continue
                return

        writers = [asyncio.create_task(write()) for _ in range(8)]
        await enough.wait()
        server.kill()
        await asyncio.gather(*writers)
        await engine.close()

    asyncio.run(load())
    server.start()
    ids = ",".join(f"'\\x{each.hex()}'" for each in acked)
    ((found,),) = server.execute(f"select count(*) from event where id in ({ids})", database=name)[0]
    return len(acked), int(found)


def test_what_was_acknowledged_outlives_a_killed_server(durable: PostgresServer) -> None:
    with durable.database() as name:
        for _ in range(2):
            acked, found = _killed_under_load(durable, name, synchronous_commit="on")
            assert acked >= _ACKED_MIN
            assert found == acked


def test_the_kill_is_one_that_loses_what_is_not_on_the_disk(durable: PostgresServer) -> None:
    """The test above can fail: without a wait for the disk, what was acknowledged is lost."""
    with durable.database() as name:
        acked, found = _killed_under_load(durable, name, synchronous_commit="off")
        assert found < acked


# -- servers and stores that are not taken -----------------------------------------------------------------


def _refusal(dsn: str, **settings: object) -> str:
    async def run() -> str:
        engine = PostgresEngine(postgres_settings(dsn, **settings), clock=ManualClock())
        with pytest.raises(EngineRefused) as refused:
            await engine.open()
        return str(refused.value)

    return asyncio.run(run())


def test_a_server_that_does_not_wait_for_the_disk_is_refused(dsn: str) -> None:
    assert "fsync off" in _refusal(dsn, fsync_needed=True)


def test_a_server_that_is_too_old_is_refused(postgres: PostgresServer) -> None:
    async def run() -> None:
        pool = Pool(PoolSettings(dsn=postgres.dsn("postgres")))
        with pytest.raises(EngineRefused, match="is too old; Tocsin needs 99"):
            await open_store(pool, fsync_needed=False, version_min=99)

    asyncio.run(run())


def test_a_database_of_another_encoding_is_refused(postgres: PostgresServer) -> None:
    postgres.execute("create database latin encoding latin1 locale 'C' template template0")
    try:
        assert "LATIN1" in _refusal(postgres.dsn("latin"))
    finally:
        postgres.execute("drop database latin with (force)")


def test_a_schema_of_a_newer_program_is_refused(postgres: PostgresServer) -> None:
    with fresh_database(postgres) as dsn:
        name = dsn.rpartition("/")[2]
        postgres.execute("insert into schema_migration values (99, 'later', 'sum')", database=name)
        assert "newer Tocsin" in _refusal(dsn)


def test_a_server_that_is_not_there_is_told_without_the_password(postgres: PostgresServer) -> None:
    told = _refusal("postgresql://tocsin:secret@127.0.0.1:1/tocsin")
    assert "cannot be reached" in told
    assert "secret" not in told


def test_positions_go_on_rising_on_a_server_whose_transaction_ids_are_behind(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        before = [stage.new() for _ in range(3)]
        await stage.store(*before)
        cursor = (await stage.engine.tail(None, 9)).cursor
        connection = await asyncpg.connect(dsn)
        # As a dump has it that is put back into a server that has done less.
        await connection.execute("update event set seq = seq + (1000000::bigint << 20)")
        await connection.close()
        cursor += 1_000_000 << 20
        await stage.reopen()
        new = stage.new()
        await stage.store(new)
        assert (await stage.engine.tail(cursor, 9)).events == [new.event]
        assert [each.id for each in (await stage.engine.tail(0, 9)).events] == [
            each.event.id for each in [*before, new]
        ]

    play_on(dsn, play)

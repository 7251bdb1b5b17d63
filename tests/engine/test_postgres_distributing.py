"""Distributing a store over a cluster: what is checked first, what is done, and what processes see afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from engine.paper_cluster import PaperCluster
from engine.postgres_server import PostgresServer, fresh_database, postgres_factory, postgres_settings
from engine.test_postgres_processes import (
    test_a_tail_misses_nothing_of_what_two_processes_store,
    test_two_claim_disjointly_and_all_of_it,
)
from program import Done, run_program
from tocsin.bootstrap.storage import own_connection
from tocsin.cli.exits import OK, STORE, USAGE
from tocsin.core.quiet_hours import lane_bucket
from tocsin.engine.postgres import PostgresEngine
from tocsin.engine.postgres.cluster import DISTRIBUTED, found_parts
from tocsin.engine.postgres.distributing import distribute
from tocsin.engine.postgres.parts import ONE_PART
from tocsin.engine.postgres.pool import Pool, PoolSettings
from tocsin.engine.postgres.sql import Connection
from tocsin.engine.rows import EngineRefused
from tocsin.testing.clock import ManualClock
from tocsin.testing.engine_contract import EngineFactory, Stage
from tocsin.testing.engine_contract.history import TailContract
from tocsin.testing.engine_contract.measuring import MeasureContract
from tocsin.testing.engine_contract.tailing import TailOfSomeContract

T = TypeVar("T")

SHARDS = 8
ORDER = b"a subject"
SIZES = [11, 6, 8, 8, 5, 9, 7, 10]
"""How many buckets each of eight shards gets."""
SETTINGS = {"TOCSIN_POSTGRES_FSYNC_NEEDED": "false"}


@pytest.fixture
def cluster(postgres: PostgresServer) -> Iterator[PaperCluster]:
    """An empty store on a cluster's coordinator, not distributed."""
    with fresh_database(postgres) as dsn:
        yield PaperCluster(postgres, dsn.rpartition("/")[2])


def on(dsn: str, play: Callable[[Connection], Awaitable[T]]) -> T:
    """Return what a play with a connection returns."""

    async def run() -> T:
        connection = await Pool(PoolSettings(dsn=dsn)).connect()
        try:
            return await play(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def run_distribute(dsn: str, *arguments: str) -> Done:
    """Run the command to its end."""
    return run_program("db", "distribute", "--database", dsn, *arguments, settings=SETTINGS)


def run_on(cluster: PaperCluster, *arguments: str) -> Done:
    """Run the command to its end, once nobody else is connected."""
    cluster.wait_until_alone()
    return run_distribute(cluster.dsn, *arguments)


def distributed(cluster: PaperCluster) -> list[tuple[str, int, bool]]:
    """Distribute the store; return its tables."""
    cluster.wait_until_alone()
    done = on(cluster.dsn, lambda connection: distribute(connection, SHARDS, lambda *_: None))
    return [(each.table, each.rows, each.was_before) for each in done]


def fill(cluster: PaperCluster, count: int = 3) -> None:
    """Store events, each with a delivery."""

    async def play() -> None:
        stage = Stage(postgres_factory(cluster.dsn))
        await stage.open()
        try:
            await stage.store(*(stage.new(stage.destination()) for _ in range(count)))
        finally:
            await stage.close()

    asyncio.run(play())


def test_every_table_is_distributed_with_its_rows(cluster: PaperCluster) -> None:
    fill(cluster)
    done = run_on(cluster)
    assert done.status == OK, done.err
    rows = dict.fromkeys(DISTRIBUTED, 0) | {"event": 3, "delivery": 3}
    assert done.rows == [{"table": table, "rows": rows[table], "was_distributed": False} for table in DISTRIBUTED]
    assert cluster.distributed == dict.fromkeys(DISTRIBUTED, "bucket")
    written = cluster.written_down
    assert written[: len(DISTRIBUTED)] == [f"distribute {table}" for table in DISTRIBUTED]
    # What is left of the rows on the coordinator is dropped, where there is any.
    assert {"truncate event", "truncate delivery"} <= set(written)
    assert "truncate lane" not in written
    assert [cluster.execute("show citus.max_adaptive_executor_pool_size")] == [[[("1",)]]]
    assert len(cluster.execute("select distinct shard_count, colocationid from pg_dist_partition")[0]) == 1


def test_run_again_it_changes_nothing(cluster: PaperCluster) -> None:
    assert {was_before for _, _, was_before in distributed(cluster)} == {False}
    written = cluster.written_down
    assert {was_before for _, _, was_before in distributed(cluster)} == {True}
    assert cluster.written_down == written


def test_what_is_distributed_in_part_is_no_store_until_it_is_gone_on_with(cluster: PaperCluster) -> None:
    cluster.execute(f"select create_distributed_table('event', 'bucket', shard_count => {SHARDS})")
    with pytest.raises(EngineRefused, match="distributed in part; go on with: tocsin db distribute"):
        fill(cluster)
    done = run_on(cluster)
    assert done.status == OK, done.err
    assert {row["table"] for row in done.rows if row["was_distributed"]} == {"event"}
    fill(cluster)


def test_what_was_distributed_otherwise_is_refused(cluster: PaperCluster) -> None:
    cluster.execute(f"select create_distributed_table('event', 'organisation_id', shard_count => {SHARDS})")
    with pytest.raises(EngineRefused, match="event must be distributed by bucket"):
        distributed(cluster)
    with pytest.raises(EngineRefused, match="event must be distributed by bucket"):
        fill(cluster)


def test_tables_that_lie_apart_are_refused(cluster: PaperCluster) -> None:
    cluster.execute(
        f"select create_distributed_table('event', 'bucket', shard_count => {SHARDS})",
        f"select create_distributed_table('lane', 'bucket', shard_count => {SHARDS})",
    )
    with pytest.raises(EngineRefused, match="not co-located"):
        distributed(cluster)


def test_a_table_that_comes_out_with_other_rows_leaves_everything_as_it_was(cluster: PaperCluster) -> None:
    fill(cluster)
    cluster.execute("insert into loses values ('delivery')")
    done = run_on(cluster)
    assert done.status == STORE
    assert "delivery had 3 rows and came out with 0; nothing was changed" in done.err
    assert cluster.distributed == {}
    assert cluster.execute("select count(*) from delivery") == [[(3,)]]


def test_nobody_else_may_use_the_database(cluster: PaperCluster) -> None:
    cluster.wait_until_alone()

    async def play() -> None:
        other = await asyncpg.connect(cluster.dsn, server_settings={"application_name": "tocsin"})
        connection = await Pool(PoolSettings(dsn=cluster.dsn)).connect()
        try:
            with pytest.raises(EngineRefused, match=r"others use the database: tocsin \(1\)"):
                await distribute(connection, SHARDS, lambda *_: None)
        finally:
            await connection.close()
            await other.close()

    asyncio.run(play())
    assert cluster.written_down == []


def test_the_clusters_own_sessions_are_not_in_the_way(cluster: PaperCluster) -> None:
    cluster.wait_until_alone()

    async def play() -> int:
        # Of one that the cluster has made.
        name = {"application_name": "citus_internal gpid=10000000042"}
        other = await asyncpg.connect(cluster.dsn, server_settings=name)
        connection = await Pool(PoolSettings(dsn=cluster.dsn)).connect()
        try:
            return len(await distribute(connection, SHARDS, lambda *_: None))
        finally:
            await connection.close()
            await other.close()

    assert asyncio.run(play()) == len(DISTRIBUTED)


def test_order_that_was_kept_elsewhere_is_not_taken_apart(cluster: PaperCluster) -> None:
    async def play(connection: Connection, bucket: int) -> None:
        await connection.execute(
            "insert into delivery (bucket, id, organisation_id, event_id, destination_id, state, due_ms, lease, "
            "attempts, lane) values ($1, $2, $2, $2, $2, 0, 0, 0, 0, $3)",
            bucket,
            bytes([bucket]) * 16,
            ORDER,
        )

    right = lane_bucket(ORDER)
    on(cluster.dsn, lambda connection: play(connection, right))
    on(cluster.dsn, lambda connection: play(connection, (right + 1) % 64))
    with pytest.raises(EngineRefused, match="1 deliveries to ordered destinations"):
        distributed(cluster)
    assert cluster.distributed == {}
    cluster.execute(f"delete from delivery where bucket <> {right}")
    assert ("delivery", 1, False) in distributed(cluster)


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        ("delete from pg_extension where extname = 'citus'", "the database has no Citus"),
        ("update pg_extension set extversion = '11.3-1' where extname = 'citus'", "Citus 11.3-1 is too old"),
        ("update pg_dist_local_group set groupid = 7", "name the coordinator"),
        ("alter database {} set citus.shard_replication_factor = 2", "set it to 1"),
        ("update pg_dist_node set shouldhaveshards = false", "citus_add_node"),
        ("update pg_dist_node set prepared_max = null where nodeid = 3", "worker-2:5432 does not answer"),
        ("update pg_dist_node set prepared_max = 0 where nodeid = 2", "max_prepared_transactions is 0 at worker-1"),
        (
            "update pg_dist_node set version = 140011 where nodeid = 2",
            "worker-1:5432 runs a PostgreSQL older than 15",
        ),
    ],
)
def test_a_cluster_that_cannot_take_it_is_told_why(cluster: PaperCluster, breaks: str, said: str) -> None:
    cluster.execute("set allow_system_table_mods = on", breaks.format(cluster.name))
    with pytest.raises(EngineRefused, match=said):
        distributed(cluster)
    assert cluster.written_down == []


def test_processes_run_statements_by_shards_once_it_is_distributed(cluster: PaperCluster) -> None:
    assert on(cluster.dsn, found_parts) is ONE_PART
    distributed(cluster)
    parts = on(cluster.dsn, found_parts)
    assert list(map(len, parts.all)) == SIZES

    async def play() -> None:
        engine = PostgresEngine(postgres_settings(cluster.dsn), clock=ManualClock())
        await engine.open()
        try:
            assert engine._pool.parts.all == parts.all
        finally:
            await engine.close()

    asyncio.run(play())


def test_processes_work_together_on_a_distributed_store(cluster: PaperCluster) -> None:
    distributed(cluster)
    test_two_claim_disjointly_and_all_of_it(cluster.dsn)
    test_a_tail_misses_nothing_of_what_two_processes_store(cluster.dsn)


class TestOnPaper(TailContract, TailOfSomeContract, MeasureContract):
    """What asks the cluster itself."""

    @pytest.fixture
    def engine_factory(self, cluster: PaperCluster) -> EngineFactory:
        distributed(cluster)
        return postgres_factory(cluster.dsn)


def test_nothing_is_moved_into_what_is_distributed(cluster: PaperCluster, tmp_path: Path) -> None:
    distributed(cluster)
    assert run_program("init", "--data", str(tmp_path / "data")).status == OK
    done = run_program("migrate", "--from", f"sqlite:{tmp_path / 'data'}", "--to", cluster.dsn, settings=SETTINGS)
    assert (done.status, done.out) == (STORE, "")
    assert "the database is distributed; move into one that is not" in done.err


def test_the_doctor_tells_that_a_store_is_distributed(cluster: PaperCluster, tmp_path: Path) -> None:
    settings = SETTINGS | {"TOCSIN_DATABASE": cluster.dsn, "TOCSIN_SECRET_KEY": "11" * 32}
    assert "distributed" not in run_program("doctor", "--only", "local", settings=settings, directory=tmp_path).out
    distributed(cluster)
    told = run_program("doctor", "--only", "local", settings=settings, directory=tmp_path).out
    assert f"distributed over {SHARDS} shards" in told


def test_one_server_is_one_part(dsn: str) -> None:
    assert on(dsn, found_parts) is ONE_PART


def test_the_statements_are_shown_and_not_run(cluster: PaperCluster) -> None:
    done = run_on(cluster, "--dry-run", "--shards", "16", "--output", "table")
    assert (done.status, done.err) == (OK, "")
    statements = done.out.splitlines()
    assert all(each.endswith(";") for each in statements)
    assert (
        "select create_distributed_table('event', 'bucket', colocate_with => 'none', shard_count => 16);"
        in statements
    )
    assert "select create_distributed_table('attempt', 'bucket', colocate_with => 'event');" in statements
    assert statements.index("commit;") < statements.index(
        "select truncate_local_data_after_distributing_table('event');"
    )
    assert cluster.distributed == {}
    listed = run_on(cluster, "--dry-run", "--shards", "16", "--output", "json").json
    assert [f"{each['statement']};" for each in listed] == statements


def test_a_database_without_a_cluster_is_told_the_next_step(dsn: str) -> None:
    for more in ((), ("--dry-run",)):
        done = run_distribute(dsn, *more)
        assert (done.status, done.out) == (STORE, "")
        assert "the database has no Citus; install it on every node" in done.err


def test_a_database_that_is_not_to_be_reached_ends_with_3() -> None:
    done = run_distribute("postgresql://nobody@127.0.0.1:1/none")
    assert (done.status, done.out) == (STORE, "")
    assert "cannot be reached" in done.err


@pytest.mark.parametrize(
    "arguments", [(), ("--shards", "0", "--database", "postgresql://x/y"), ("--shards", "65", "--database", "p://")]
)
def test_what_is_asked_wrongly_ends_with_2(arguments: tuple[str, ...]) -> None:
    done = run_program("db", "distribute", *arguments)
    assert (done.status, done.out) == (USAGE, "")


def test_the_variable_of_settings_names_the_database(dsn: str) -> None:
    settings: dict[str, Any] = SETTINGS | {"TOCSIN_DATABASE": dsn}
    done = run_program("db", "distribute", settings=settings)
    assert done.status == STORE
    assert "the database has no Citus" in done.err


def test_work_that_breaks_off_says_how_it_goes_on(dsn: str) -> None:
    async def scenario() -> None:
        async with own_connection(Pool(PoolSettings(dsn=dsn))) as connection:
            await connection.execute("select pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(EngineRefused, match=r"the database broke off: .*; the same command goes on where it was"):
        asyncio.run(scenario())

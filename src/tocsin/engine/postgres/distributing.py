"""Distributing a store over the workers of a Citus cluster: all tables by their bucket, in one transaction.

Source: docs.citusdata.com, "Citus Utility Functions": create_distributed_table moves the rows that are there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from tocsin.core.quiet_hours import lane_bucket
from tocsin.engine.postgres.cluster import DISTRIBUTED, check_distributions, distributions, has_cluster
from tocsin.engine.postgres.opening import MIGRATION_LOCK, VERSION_MIN
from tocsin.engine.postgres.sql import Connection
from tocsin.engine.rows import EngineRefused

CITUS_MIN = 12
"""The oldest major version of Citus that has all that is used here, on a PostgreSQL that is new enough."""

Advance = Callable[[str, int, int], None]
"""Called with a table that is distributed now, how many of them are, and how many there are to be."""

_LANES_AT_ONCE = 1_000
_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Between looks for others: a connection that was closed is listed for a moment."""

_BEGIN = (
    "begin isolation level read committed read write",
    "set local synchronous_commit = on",
    "set local statement_timeout = 0",
    "set local lock_timeout = 0",
    "set local idle_in_transaction_session_timeout = 0",
    "set local client_min_messages = warning",
    # One connection for each worker: the shards' indexes, whose names are long, would lock each other out otherwise.
    "set local citus.multi_shard_modify_mode = 'sequential'",
    "set local citus.max_adaptive_executor_pool_size = 1",
    f"select pg_advisory_xact_lock({MIGRATION_LOCK})",
)
_OTHERS = """
select application_name, count(*) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
  and application_name not like 'citus\\_%'
group by application_name order by application_name
"""
_VERSION = "select extversion from pg_extension where extname = 'citus'"
_COORDINATOR = (
    "select exists (select 1 from pg_dist_local_group where groupid = 0), "
    "current_setting('citus.shard_replication_factor')::integer"
)
_NODES = (
    "select nodeid, nodename, nodeport, shouldhaveshards from pg_dist_node where isactive and noderole = 'primary'"
)
_ASK_NODES = """
select nodeid, success, result from run_command_on_all_nodes(
  $$select current_setting('max_prepared_transactions') || ' ' || current_setting('server_version_num')$$
)
"""
_LANES = "declare stray no scroll cursor for select bucket, lane from delivery where lane is not null"
_LEFT_BEHIND = """
select coalesce(sum(pg_relation_size(relid)), 0) > 0
from pg_partition_tree($1::text::regclass) as part where part.isleaf
"""
_LEFT_BEHIND_OF_ONE = "select pg_relation_size($1::text::regclass) > 0"


class Distributed(msgspec.Struct, frozen=True, kw_only=True):
    """A table that is distributed.

    Attributes:
        rows: that it has.
        was_before: whether it was so already.
    """

    table: str
    rows: int
    was_before: bool


async def planned(connection: Connection, shards: int) -> list[str]:
    """Return the statements that would be run, in order; nothing is changed.

    Raises:
        EngineRefused: the database, or its cluster, cannot take the store.
    """
    there = await _checked(connection)
    lacking = [table for table in DISTRIBUTED if table not in there]
    moving = [*_BEGIN, _locking(lacking), *(_making(table, shards) for table in lacking), "commit"] if lacking else []
    return [*moving, *map(_truncating, DISTRIBUTED), await _setting(connection), *map(_analyzing, DISTRIBUTED)]


async def distribute(connection: Connection, shards: int, advance: Advance) -> list[Distributed]:
    """Distribute the tables that are not, with their rows, and return all of them.

    Either all are distributed or none more than before. What is still to be tidied up after that, the next call does.

    Raises:
        EngineRefused: the database, or its cluster, cannot take the store; somebody else uses it; or a table came out
            with another number of rows, and nothing was changed.
    """
    there = await _checked(connection)
    await _check_alone(connection)
    done = [Distributed(table=table, rows=await _count(connection, table), was_before=True) for table in there]
    lacking = [table for table in DISTRIBUTED if table not in there]
    if lacking:
        done += await _move(connection, lacking, shards, advance)
    for table in DISTRIBUTED:
        if await _is_left_behind(connection, table):
            await connection.execute(_truncating(table))
    await connection.execute(await _setting(connection))
    for table in DISTRIBUTED:
        await connection.execute(_analyzing(table))
    return sorted(done, key=lambda each: DISTRIBUTED.index(each.table))


async def _move(connection: Connection, tables: list[str], shards: int, advance: Advance) -> list[Distributed]:
    for statement in (*_BEGIN, _locking(tables)):
        await connection.execute(statement)
    # Again, now that whoever starts waits until this is over.
    await _check_alone(connection)
    await _check_lanes(connection)
    done = []
    for table in tables:
        before = await _count(connection, table)
        await connection.execute(_making(table, shards))
        after = await _count(connection, table)
        if after != before:
            raise EngineRefused(f"{table} had {before} rows and came out with {after}; nothing was changed")
        done.append(Distributed(table=table, rows=after, was_before=False))
        advance(table, len(done), len(tables))
    await connection.execute("commit")
    return done


def _locking(tables: list[str]) -> str:
    return f"lock table {', '.join(tables)} in exclusive mode"


def _making(table: str, shards: int) -> str:
    # Numbers and names of ours.
    where = f"colocate_with => 'none', shard_count => {shards}" if table == "event" else "colocate_with => 'event'"
    return f"select create_distributed_table('{table}', 'bucket', {where})"


def _truncating(table: str) -> str:
    return f"select truncate_local_data_after_distributing_table('{table}')"


def _analyzing(table: str) -> str:
    return f"analyze {table}"


async def _setting(connection: Connection) -> str:
    """Return what has each session of the database use one connection to each worker, as this program does."""
    name = await connection.fetchval("select quote_ident(current_database())")
    return f"alter database {name} set citus.max_adaptive_executor_pool_size = 1"


async def _count(connection: Connection, table: str) -> int:
    return int(await connection.fetchval(f"select count(*) from {table}"))


async def _is_left_behind(connection: Connection, table: str) -> bool:
    """Return whether the coordinator still has the rows that were copied to the shards, unseen by anybody."""
    return bool(
        await connection.fetchval(_LEFT_BEHIND, table) or await connection.fetchval(_LEFT_BEHIND_OF_ONE, table)
    )


async def _checked(connection: Connection) -> list[str]:
    """Return which tables are distributed already, where the database's cluster can take the store."""
    version = await connection.fetchval(_VERSION)
    if version is None or not await has_cluster(connection):
        raise EngineRefused(
            "the database has no Citus; install it on every node, name it in shared_preload_libraries, and run "
            "CREATE EXTENSION citus in the database of each"
        )
    major = version.split(".")[0]
    if not major.isdecimal() or int(major) < CITUS_MIN:
        raise EngineRefused(f"Citus {version} is too old; Tocsin needs {CITUS_MIN} or later")
    row = await connection.fetchrow(_COORDINATOR)
    assert row is not None
    is_coordinator, replicas = row
    if not is_coordinator:
        raise EngineRefused("the server is a worker of its cluster; name the coordinator")
    if replicas != 1:
        raise EngineRefused(
            f"citus.shard_replication_factor is {replicas}, with which no rows can be locked; set it to 1"
        )
    await _check_nodes(connection)
    found = await distributions(connection)
    check_distributions(found)
    return [table for table in DISTRIBUTED if table in found]


async def _check_nodes(connection: Connection) -> None:
    nodes = {row[0]: (f"{row[1]}:{row[2]}", row[3]) for row in await connection.fetch(_NODES)}
    if not any(takes_shards for _, takes_shards in nodes.values()):
        raise EngineRefused(
            "the cluster has no node that takes shards; add workers with SELECT citus_add_node('host', 5432)"
        )
    for nodeid, success, result in await connection.fetch(_ASK_NODES):
        # One that is not in the list is the coordinator, which need not be.
        name, _ = nodes.get(nodeid, ("the coordinator", False))
        if not success:
            raise EngineRefused(f"{name} does not answer; see to it, to pg_dist_node, and to citus.local_hostname")
        prepared_max, _, version = result.partition(" ")
        if int(version) < VERSION_MIN * 10_000:
            raise EngineRefused(f"{name} runs a PostgreSQL older than {VERSION_MIN}; upgrade it")
        if int(prepared_max) == 0:
            raise EngineRefused(
                f"max_prepared_transactions is 0 at {name}, and transactions over several nodes need it; set it to "
                "the sum of all processes' connections at least, there and at every other node"
            )


async def _check_alone(connection: Connection) -> None:
    """Return if nobody else uses the database: whoever does would go on as if it were not distributed."""
    others = await connection.fetch(_OTHERS)
    for pause_s in _PAUSES_S:
        if not others:
            return
        await asyncio.sleep(pause_s)
        # Within a transaction the list would be the one that was looked at first.
        await connection.execute("select pg_stat_clear_snapshot()")
        others = await connection.fetch(_OTHERS)
    if not others:
        return
    named = ", ".join(f"{row[0] or 'unnamed'} ({row[1]})" for row in others)
    raise EngineRefused(f"others use the database: {named}; stop every gateway and dispatcher, and end the rest")


async def _check_lanes(connection: Connection) -> None:
    """Return if what waits in an order lies where that order is kept; needs a transaction."""
    strays = 0
    await connection.execute(_LANES)
    while rows := await connection.fetch(f"fetch {_LANES_AT_ONCE} from stray"):
        strays += sum(lane_bucket(lane) != bucket for bucket, lane in rows)
    await connection.execute("close stray")
    if strays:
        raise EngineRefused(
            f"{strays} deliveries to ordered destinations were stored by an older Tocsin, which kept their order "
            "elsewhere; let a gateway send them, or cancel them, and try again"
        )

"""Opening the store: which servers are taken, and bringing the schema up to date."""

from __future__ import annotations

import asyncio

import asyncpg
import msgspec

from tocsin.engine import migrations
from tocsin.engine.postgres.cluster import found_parts
from tocsin.engine.postgres.parts import ONE_PART, Parts
from tocsin.engine.postgres.pool import Pool
from tocsin.engine.postgres.refusals import refusal_of
from tocsin.engine.postgres.sql import Connection, first
from tocsin.engine.rows import EngineRefused

VERSION_MIN = 15
"""The oldest version of PostgreSQL that is tested with."""

MIGRATION_LOCK = 0x746F6373696E
"""Names the lock that keeps two processes from migrating at once: "tocsin"."""

_LOOK_MAX_S = 5.0


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """What the server said of itself.

    Attributes:
        replicates: whether a commit waits for another server.
        is_pooled: whether a pooler stands before it.
        parts: how the buckets are spread over its cluster.
    """

    version: str
    replicates: bool
    is_pooled: bool
    parts: Parts


async def open_store(
    pool: Pool,
    *,
    fsync_needed: bool,
    version_min: int = VERSION_MIN,
    migrates: bool = True,
    is_moving: bool = False,
    is_distributing: bool = False,
) -> Server:
    """Check the server, then bring the schema up to date.

    Args:
        fsync_needed: False takes a server that loses what it acknowledged, for tests.
        version_min: the oldest that is taken.
        migrates: False leaves the schema as it is, for whoever only looks.
        is_moving: True takes a store into which another one is still being moved.
        is_distributing: True takes a store that is distributed in part.

    Raises:
        EngineRefused: the server is too old, cannot keep what is stored, or is not to be reached; or the schema is
            newer than this program.
    """
    try:
        connection = await pool.connect()
    except (
        OSError,
        TimeoutError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        ValueError,
    ) as error:
        raise EngineRefused(f"the database cannot be reached: {refusal_of(error)}") from error
    try:
        version, replicates = await _checked(connection, fsync_needed=fsync_needed, version_min=version_min)
        if pool.is_pooled:
            await _check_statements(pool)
        if migrates:
            await _migrate(connection)
        if not is_moving and await connection.fetchval("select to_regclass('moving') is not null"):
            raise EngineRefused(
                "a gateway is being moved into the database, and not all of it is there; run tocsin migrate again"
            )
        parts = ONE_PART if is_distributing else await found_parts(connection)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise EngineRefused(f"the database cannot be used: {refusal_of(error)}") from error
    finally:
        connection.terminate()
    return Server(version=version, replicates=replicates, is_pooled=pool.is_pooled, parts=parts)


async def _checked(connection: Connection, *, fsync_needed: bool, version_min: int) -> tuple[str, bool]:
    """Return the server's version, and whether a commit waits for another server."""
    row = await first(connection, "server")
    assert row is not None
    number, version, encoding, is_standby, has_fsync, replicates = row
    if number < version_min * 10_000:
        raise EngineRefused(f"PostgreSQL {version} is too old; Tocsin needs {version_min} or later")
    if encoding != "UTF8":
        raise EngineRefused(f"the database has the encoding {encoding}; make one with UTF8")
    if is_standby:
        raise EngineRefused("the server is a standby that takes no writes; name the primary one")
    if fsync_needed and not has_fsync:
        raise EngineRefused("the server runs with fsync off and would lose what was accepted; switch it on")
    return str(version).split()[0], replicates


async def _check_statements(pool: Pool) -> None:
    """Return if prepared statements are found again behind the pooler, or none are kept.

    One is prepared on the connection of the server's that is used next; while another client holds that one, it is to
    be found on a further one.
    """
    if not pool.keeps_statements:
        return
    one = await pool.connect()
    other = await pool.connect()
    try:
        async with asyncio.timeout(_LOOK_MAX_S):
            statement = await one.prepare("select 1")
            await statement.fetch()
            await other.execute("begin")
            await statement.fetch()
    except TimeoutError:
        # It has no other connection to spare now.
        return
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError) as error:
        raise EngineRefused(
            "the pooler loses prepared statements; set TOCSIN_POSTGRES_POOLER_KEEPS_STATEMENTS=false, or its own "
            "max_prepared_statements above 0"
        ) from error
    finally:
        one.terminate()
        other.terminate()


async def _migrate(connection: Connection) -> None:
    """Run what is pending in one transaction, one process at a time."""
    await connection.execute("begin isolation level read committed read write")
    await connection.execute(f"select pg_advisory_xact_lock({MIGRATION_LOCK})")
    await connection.execute(
        "create table if not exists schema_migration (number integer primary key, name text, checksum text not null)"
    )
    rows = await connection.fetch("select number, checksum from schema_migration")
    applied = {int(row[0]): str(row[1]) for row in rows}
    try:
        steps = migrations.pending(migrations.load("postgres"), applied)
    except ValueError as error:
        raise EngineRefused(f"the database cannot be used: {error}") from error
    for step in steps:
        await connection.execute(step.text)
        await connection.execute(
            "insert into schema_migration (number, name, checksum) values ($1, $2, $3)",
            step.number,
            step.name,
            step.checksum,
        )
    await _catch_up(connection)
    await connection.execute("commit")


async def _catch_up(connection: Connection) -> None:
    """Let positions go on rising where the store comes from a server whose transaction ids were ahead of these."""
    # By itself: a cluster adds it up from all shards, but not within a statement over a table that has none.
    newest = await connection.fetchval("select max(seq) >> 20 from event")
    if newest is not None:
        await connection.execute(
            "update store set xid_offset = $1::bigint + 1 - pg_snapshot_xmin(pg_current_snapshot())::text::bigint "
            "where $1 >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint + xid_offset",
            newest,
        )

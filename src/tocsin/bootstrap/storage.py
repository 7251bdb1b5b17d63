"""Which store the settings name: the embedded SQLite, or a PostgreSQL that several processes share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg

from tocsin.bootstrap.configuration import retention_ms
from tocsin.core.clock import Clock
from tocsin.engine.postgres import PostgresEngine, PostgresSettings
from tocsin.engine.postgres.opening import Server, open_store
from tocsin.engine.postgres.pool import Pool, PoolSettings
from tocsin.engine.postgres.refusals import refusal_of
from tocsin.engine.postgres.sql import Connection
from tocsin.engine.postgres.urls import shown_url
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import EngineRefused
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.settings import Settings, SettingsFault
from tocsin.telemetry import Metrics

_PORT_MAX = 65_535


def build_engine(settings: Settings, clock: Clock, on_fatal: Callable[[str], None], metrics: Metrics) -> Engine:
    """Build the engine that the settings name; it is not open yet.

    Args:
        on_fatal: called, from any thread, when the disk cannot be trusted any more.
    """
    if settings.values.database is not None:
        return PostgresEngine(postgres_settings(settings), clock=clock, metrics=metrics)
    store = settings.limits(
        "store", SqliteSettings, directory=settings.values.data, retention_ms=retention_ms(settings)
    )
    return SqliteEngine(store, clock=clock, on_fatal=on_fatal, metrics=metrics)


def postgres_settings(settings: Settings) -> PostgresSettings:
    """Return the bounds of the engine on the PostgreSQL that the settings name."""
    url, listens_at = settings.values.database, settings.values.database_listen
    return settings.limits(
        "postgres",
        PostgresSettings,
        dsn=url.get_secret_value(),
        listen_dsn=None if listens_at is None else listens_at.get_secret_value(),
        retention_ms=retention_ms(settings),
    )


def shared_database(settings: Settings) -> str | None:
    """Return the database that several processes may share, without user and password; None for the embedded one."""
    url = settings.values.database
    return None if url is None else shown_url(url.get_secret_value())


def check_processes(settings: Settings) -> None:
    """Return if the store can be shared by as many processes as are wanted, and each can have a port for its metrics.

    Raises:
        SettingsFault: it cannot.
    """
    values = settings.values
    if values.metrics_port is not None and values.metrics_port + values.processes - 1 > _PORT_MAX:
        raise SettingsFault(
            f"setting metrics_port (TOCSIN_METRICS_PORT): {values.processes} processes count up from it, past "
            f"{_PORT_MAX}; begin lower"
        )
    if values.database is not None:
        return
    wanted = None
    if values.role != "all":
        wanted = f"role (TOCSIN_ROLE): a {values.role} shares its store with other processes"
    elif values.processes > 1:
        wanted = f"processes (TOCSIN_PROCESSES): {values.processes} of them share a store"
    if wanted is not None:
        raise SettingsFault(
            f"setting {wanted}, and the embedded SQLite is for one alone; give a PostgreSQL with --database "
            "(TOCSIN_DATABASE)"
        )


async def look_at_database(settings: Settings) -> Server:
    """Return what the PostgreSQL that the settings name says of itself, once it was found fit; nothing is changed.

    Raises:
        EngineRefused: it is not fit, or not to be reached.
    """
    chosen = postgres_settings(settings)
    return await _looked(chosen, chosen.dsn)


async def look_for_listening(settings: Settings) -> Server | None:
    """Return the same of what `TOCSIN_DATABASE_LISTEN` names; None where that is not set.

    Raises:
        EngineRefused: it is not fit, or not to be reached.
    """
    chosen = postgres_settings(settings)
    return None if chosen.listen_dsn is None else await _looked(chosen, chosen.listen_dsn)


async def _looked(chosen: PostgresSettings, dsn: str) -> Server:
    pool = Pool(
        PoolSettings(
            dsn=dsn,
            connect_max_s=chosen.connect_max_s,
            statements_kept=chosen.statements_kept,
            pooler_keeps_statements=chosen.pooler_keeps_statements,
        )
    )
    return await open_store(pool, fsync_needed=chosen.fsync_needed, migrates=False)


@asynccontextmanager
async def own_connection(pool: Pool) -> AsyncIterator[Connection]:
    """Lend a connection for long work that the same command goes on with when it broke off.

    Raises:
        EngineRefused: the database cannot be reached, or broke off meanwhile.
    """
    connection: Connection | None = None
    try:
        connection = await pool.connect()
        yield connection
    except (
        OSError,
        TimeoutError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    ) as error:
        raise EngineRefused(
            f"the database broke off: {refusal_of(error)}; the same command goes on where it was"
        ) from error
    finally:
        if connection is not None:
            connection.terminate()

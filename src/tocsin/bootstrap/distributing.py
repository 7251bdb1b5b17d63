"""Distributing the store that the settings name over its cluster."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from tocsin.bootstrap.storage import own_connection, postgres_settings
from tocsin.engine.postgres import distributing
from tocsin.engine.postgres.distributing import Advance, Distributed
from tocsin.engine.postgres.opening import open_store
from tocsin.engine.postgres.pool import Pool, PoolSettings
from tocsin.engine.postgres.sql import Connection
from tocsin.settings import Settings

_NAME = "tocsin db distribute"
"""How the server's lists name us: not as they name gateways."""


async def planned(settings: Settings, *, shards: int) -> list[str]:
    """Return the statements that distribute the store; nothing is changed.

    Raises:
        EngineRefused: the database is not to be reached, or cannot take it.
    """
    async with _opened(settings, migrates=False) as connection:
        return await distributing.planned(connection, shards)


async def distribute(settings: Settings, *, shards: int, advance: Advance) -> list[Distributed]:
    """Bring the schema up to date and distribute the store; return its tables.

    Raises:
        EngineRefused: the database is not to be reached, or cannot take it, or is used by others.
    """
    async with _opened(settings, migrates=True) as connection:
        return await distributing.distribute(connection, shards, advance)


@contextlib.asynccontextmanager
async def _opened(settings: Settings, *, migrates: bool) -> AsyncIterator[Connection]:
    """Open a connection to the store.

    Raises:
        EngineRefused: it cannot be used, or broke off meanwhile.
    """
    chosen = postgres_settings(settings)
    # What is prepared before a table is distributed may not fit it afterwards.
    pool = Pool(
        PoolSettings(dsn=chosen.dsn, connect_max_s=chosen.connect_max_s, statements_kept=0, application_name=_NAME)
    )
    await open_store(pool, fsync_needed=chosen.fsync_needed, migrates=migrates, is_distributing=True)
    async with own_connection(pool) as connection:
        yield connection

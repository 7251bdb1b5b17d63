"""The checks of ``tocsin doctor`` of a PostgreSQL, and of the key that goes with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from tocsin.bootstrap import shared_database
from tocsin.bootstrap.configuration import secret_key
from tocsin.bootstrap.storage import look_at_database
from tocsin.cli.gateway.checks import Finding
from tocsin.engine.rows import EngineRefused
from tocsin.settings import Settings, SettingsFault


def database_findings(settings: Settings) -> Iterator[Finding]:
    """Yield what is found of the database that the settings name; nothing is changed there."""
    try:
        version = asyncio.run(look_at_database(settings))
    except EngineRefused as error:
        found, _, do = str(error).partition("; ")
        yield Finding("database", "fault", found, do or "see docs/operations.md")
    else:
        yield Finding("database", "ok", f"PostgreSQL {version} answers at {shared_database(settings)}")
    try:
        secret_key(settings, fresh=False)
    except SettingsFault as error:
        yield Finding("secret key", "fault", str(error), "give each process the same one")
    else:
        yield Finding("secret key", "ok", "is there; every process that uses the database needs the same one")

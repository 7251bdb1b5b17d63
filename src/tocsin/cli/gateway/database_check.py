"""The checks of ``tocsin doctor`` of a PostgreSQL, and of the key that goes with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from tocsin.bootstrap import shared_database
from tocsin.bootstrap.configuration import secret_key
from tocsin.bootstrap.storage import look_at_database, look_for_listening
from tocsin.cli.gateway.checks import Finding
from tocsin.engine.rows import EngineRefused
from tocsin.settings import Settings, SettingsFault


def database_findings(settings: Settings) -> Iterator[Finding]:
    """Yield what is found of the database that the settings name; nothing is changed there."""
    try:
        server = asyncio.run(look_at_database(settings))
    except EngineRefused as error:
        yield _fault("database", error)
    else:
        through = ", through a pooler" if server.is_pooled else ""
        shards = f", distributed over {len(server.parts.all)} shards" if server.parts.is_cluster else ""
        found = f"PostgreSQL {server.version} answers at {shared_database(settings)}{through}{shards}"
        yield Finding("database", "ok", found)
        yield from _listening_findings(settings, is_pooled=server.is_pooled)
    try:
        secret_key(settings, fresh=False)
    except SettingsFault as error:
        yield Finding("secret key", "fault", str(error), "give each process the same one")
    else:
        yield Finding("secret key", "ok", "is there; every process that uses the database needs the same one")


def _listening_findings(settings: Settings, *, is_pooled: bool) -> Iterator[Finding]:
    """Yield whether processes can tell each other of work, where that takes a setting of its own."""
    try:
        server = asyncio.run(look_for_listening(settings))
    except EngineRefused as error:
        yield _fault("listening", error)
        return
    if is_pooled if server is None else server.is_pooled:
        yield Finding(
            "listening",
            "warning",
            "processes cannot tell each other of work through a pooler; each finds it when it next looks",
            "give TOCSIN_DATABASE_LISTEN the address of the server itself",
        )
    elif server is not None:
        yield Finding("listening", "ok", "processes tell each other of work past the pooler")


def _fault(check: str, error: EngineRefused) -> Finding:
    found, _, do = str(error).partition("; ")
    return Finding(check, "fault", found, do or "see docs/operations.md")

"""The composition root: the only place that names a concrete engine or transport."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from tocsin.bootstrap.adapters import SystemClock
from tocsin.bootstrap.configuration import LIMITS, load_settings, secret_key
from tocsin.bootstrap.key_mark import check_key
from tocsin.bootstrap.operating import build_operations_app
from tocsin.bootstrap.parts import Parts, UseCases, build_parts, build_use_cases, open_catalog, start
from tocsin.bootstrap.storage import check_processes, shared_database
from tocsin.bootstrap.surface import build_app
from tocsin.core.clock import Clock
from tocsin.core.identifiers import IdSequence
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.keys import Keys
from tocsin.pipeline.provisioning import FirstKeys, make_keys, provision
from tocsin.settings import Settings
from tocsin.telemetry import Metrics
from tocsin.web.app import App

__all__ = [
    "LIMITS",
    "Gateway",
    "SystemClock",
    "check_processes",
    "gateway",
    "initialise",
    "load_settings",
    "prepare",
    "shared_database",
]


class Gateway(msgspec.Struct, frozen=True):
    """A running gateway, without its HTTP server.

    Attributes:
        app: of every dialect; where the process only sends, the same as ``operations``.
        operations: readiness and metrics alone, for a port of their own.
        first_keys: what a fresh installation shows once; None later.
    """

    app: App
    operations: App
    parts: Parts
    use: UseCases
    first_keys: FirstKeys | None


@asynccontextmanager
async def gateway(settings: Settings, *, clock: Clock, on_fatal: Callable[[str], None]) -> AsyncIterator[Gateway]:
    """Build a gateway and start it; at the end drain it.

    Args:
        on_fatal: called, from any thread, when the process must end at once: the disk cannot be trusted, or a part of
            it broke.

    Raises:
        EngineRefused: the store cannot be opened.
        SettingsFault: a setting is refused.
    """
    async with AsyncExitStack() as stack:
        metrics = Metrics()
        engine, catalog = await open_catalog(settings, clock, on_fatal, stack, metrics)
        parts = await build_parts(settings, clock, engine, catalog, stack, metrics)
        use = build_use_cases(parts)
        stack.push_async_callback(use.telegram_links.close)
        takes_events = settings.values.role != "dispatcher"
        first_keys = await provision(catalog, use.keys, clock) if takes_events else None
        operations = build_operations_app(parts)
        app = build_app(parts, use) if takes_events else operations
        await start(parts, stack, on_fatal)
        yield Gateway(app, operations, parts, use, first_keys)


async def initialise(settings: Settings, *, new_keys: bool) -> FirstKeys | None:
    """Create the data; return the first keys, or None where they were made before.

    Args:
        new_keys: on existing data, make and return further keys.

    Raises:
        EngineRefused: the store cannot be opened, or a running gateway has it.
        SettingsFault: a setting is refused.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        _, catalog = await open_catalog(settings, clock, lambda _reason: None, stack, Metrics())
        await check_key(secret_key(settings, fresh=not catalog.organisations()), catalog)
        keys = _keys(catalog, clock)
        first_keys = await provision(catalog, keys, clock)
        if first_keys is None and new_keys:
            return await make_keys(catalog, keys)
        return first_keys


async def prepare(settings: Settings) -> FirstKeys | None:
    """Do once what several processes need before any of them starts; return the first keys, where they were made.

    Raises:
        EngineRefused: the store cannot be opened.
        SettingsFault: a setting is refused.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        _, catalog = await open_catalog(settings, clock, lambda _reason: None, stack, Metrics())
        await check_key(secret_key(settings, fresh=not catalog.organisations()), catalog)
        return (
            None if settings.values.role == "dispatcher" else await provision(catalog, _keys(catalog, clock), clock)
        )


def _keys(catalog: Catalog, clock: Clock) -> Keys:
    return Keys(catalog=catalog, clock=clock, ids=IdSequence(os.urandom), entropy=os.urandom)

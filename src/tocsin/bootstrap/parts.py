"""Building the engine and the pipeline."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import structlog

from tocsin.bootstrap.adapters import EngineMailboxes
from tocsin.bootstrap.configuration import check_key, plan_limits, retention_ms, secret_key, transaction_lease_ms
from tocsin.core.clock import Clock
from tocsin.core.destination import Transport
from tocsin.core.identifiers import IdSequence
from tocsin.dialects.pushgo import PushGoLimits
from tocsin.engine.protocol import Engine
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.pipeline.account import Accounts, Categories
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.consumption import Consumption
from tocsin.pipeline.destinations import DestinationBounds, Destinations
from tocsin.pipeline.dispatcher import Dispatcher, DispatchLimits
from tocsin.pipeline.first_attempts import FirstAttempts
from tocsin.pipeline.health import DestinationHealth, HealthLimits
from tocsin.pipeline.ingest import Ingest, IngestLimits
from tocsin.pipeline.keys import Keys
from tocsin.pipeline.lane import LaneLimits
from tocsin.pipeline.maintenance import MaintenanceLimits, tend_for_ever
from tocsin.pipeline.recovery import Recovery, RecoveryLimits
from tocsin.pipeline.replay import Replay
from tocsin.pipeline.vault import Vault
from tocsin.settings import Settings, parse_networks
from tocsin.telemetry import Metrics
from tocsin.transports import outbound, protocol
from tocsin.transports.addresses import AddressPolicy, UrlChecks
from tocsin.transports.mailbox import MailboxTransport
from tocsin.transports.webhook import WebhookTransport
from tocsin.web.passwords import ChannelPasswords, PasswordLimits
from tocsin.web.server import ServerLimits

_log = structlog.get_logger("tocsin")


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """An event's way through the gateway, and what everything needs."""

    settings: Settings
    clock: Clock
    ids: IdSequence
    metrics: Metrics
    vault: Vault
    engine: Engine
    catalog: Catalog
    client: outbound.Sends
    urls: UrlChecks
    dispatcher: Dispatcher
    first_attempts: FirstAttempts
    health: DestinationHealth
    ingest: Ingest
    transports: frozenset[Transport]


class UseCases(msgspec.Struct, frozen=True, kw_only=True):
    """What the dialects call."""

    keys: Keys
    passwords: ChannelPasswords
    destinations: Destinations
    replay: Replay
    recovery: Recovery
    consumption: Consumption
    accounts: Accounts
    categories: Categories


async def open_catalog(
    settings: Settings, clock: Clock, on_fatal: Callable[[str], None], stack: AsyncExitStack
) -> tuple[Engine, Catalog]:
    """Open the store and read the catalog; the stack closes the store."""
    engine = _engine(settings, clock, on_fatal)
    stack.push_async_callback(engine.close)
    info = await engine.open()
    _log.info("store_opened", engine=info.engine, version=info.version, durability=info.durability.value)
    catalog = Catalog(engine)
    await catalog.refresh()
    return engine, catalog


async def build_parts(
    settings: Settings, clock: Clock, engine: Engine, catalog: Catalog, stack: AsyncExitStack
) -> Parts:
    """Build an event's way; nothing of it runs yet."""
    ids = IdSequence(os.urandom)
    metrics = Metrics()
    vault = Vault(secret_key(settings, fresh=not catalog.organisations()), os.urandom)
    check_key(vault, catalog)
    policy = AddressPolicy(parse_networks(settings.values.outbound_allow))
    client = outbound.ProcessClient(policy, limits=settings.limits("outbound", outbound.Limits), clock=clock)
    await client.open()
    stack.push_async_callback(client.close)
    transports = _transports(settings, clock, engine, client)
    health = DestinationHealth(catalog=catalog, clock=clock, limits=settings.limits("health", HealthLimits))
    first_attempts = FirstAttempts(engine)
    dispatcher = Dispatcher(
        engine=engine,
        catalog=catalog,
        vault=vault,
        transports=transports,
        health=health,
        first_attempts=first_attempts,
        clock=clock,
        random=random.random,
        metrics=metrics,
        limits=settings.limits("dispatch", DispatchLimits, lane=settings.limits("lane", LaneLimits)),
    )
    ingest = Ingest(
        engine=engine,
        catalog=catalog,
        sender=dispatcher,
        clock=clock,
        ids=ids,
        transports=frozenset(transports),
        limits=settings.limits("ingest", IngestLimits),
    )
    return Parts(
        settings=settings,
        clock=clock,
        ids=ids,
        metrics=metrics,
        vault=vault,
        engine=engine,
        catalog=catalog,
        client=client,
        urls=UrlChecks(policy),
        dispatcher=dispatcher,
        first_attempts=first_attempts,
        health=health,
        ingest=ingest,
        transports=frozenset(transports),
    )


def build_use_cases(parts: Parts) -> UseCases:
    """Build what the dialects call."""
    settings, clock, engine, catalog = parts.settings, parts.clock, parts.engine, parts.catalog
    plans = plan_limits(settings)
    return UseCases(
        keys=Keys(catalog=catalog, clock=clock, ids=parts.ids, entropy=os.urandom),
        passwords=ChannelPasswords(
            clock=clock, entropy=os.urandom, limits=settings.limits("password", PasswordLimits)
        ),
        destinations=Destinations(
            catalog=catalog,
            ingest=parts.ingest,
            vault=parts.vault,
            urls=parts.urls,
            clock=clock,
            ids=parts.ids,
            entropy=os.urandom,
            bounds=settings.limits("destination", DestinationBounds),
        ),
        replay=Replay(engine=engine, ingest=parts.ingest, clock=clock),
        recovery=Recovery(engine=engine, clock=clock, limits=settings.limits("recovery", RecoveryLimits)),
        consumption=Consumption(engine=engine, clock=clock, lease_ms=transaction_lease_ms(settings)),
        accounts=Accounts(
            catalog=catalog, engine=engine, vault=parts.vault, clock=clock, ids=parts.ids, plan_limits=plans
        ),
        categories=Categories(catalog=catalog, clock=clock, ids=parts.ids, plan_limits=plans),
    )


async def start(parts: Parts, stack: AsyncExitStack, on_fatal: Callable[[str], None]) -> None:
    """Start what runs beside the requests; the stack drains it."""
    await parts.dispatcher.start()
    stack.push_async_callback(parts.dispatcher.stop, parts.settings.limits("server", ServerLimits).shutdown_s)
    jobs: tuple[Coroutine[Any, Any, None], ...] = (
        parts.catalog.keep_fresh(),
        parts.health.keep(parts.ingest),
        tend_for_ever(parts.engine, parts.settings.limits("maintenance", MaintenanceLimits)),
    )
    for job in jobs:
        _run_beside(job, stack, on_fatal)


def _transports(
    settings: Settings, clock: Clock, engine: Engine, client: outbound.Sends
) -> dict[Transport, protocol.Transport]:
    kept_ms = settings.limits("pushgo", PushGoLimits).mailbox_kept_ms
    return {
        Transport.WEBHOOK: WebhookTransport(client, clock=clock),
        Transport.MAILBOX: MailboxTransport(EngineMailboxes(engine), clock=clock, kept_ms=kept_ms),
    }


def _engine(settings: Settings, clock: Clock, on_fatal: Callable[[str], None]) -> Engine:
    store = settings.limits(
        "store", SqliteSettings, directory=settings.values.data, retention_ms=retention_ms(settings)
    )
    return SqliteEngine(store, clock=clock, on_fatal=on_fatal)


def _run_beside(job: Coroutine[Any, Any, None], stack: AsyncExitStack, on_fatal: Callable[[str], None]) -> None:
    """Run a job until the stack unwinds; one that breaks ends the process: without it there is half a gateway."""
    task = asyncio.get_running_loop().create_task(job)

    def ended(done: asyncio.Task[None]) -> None:
        fault = None if done.cancelled() else done.exception()
        if fault is not None:
            _log.error("background_job_broke", exc_info=fault)
            on_fatal(f"a background job broke: {type(fault).__name__}")

    task.add_done_callback(ended)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)

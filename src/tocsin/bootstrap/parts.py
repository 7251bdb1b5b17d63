"""Building the engine and the pipeline."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from tocsin.bootstrap.adapters import EngineMailboxes
from tocsin.bootstrap.configuration import plan_limits, secret_key, transaction_lease_ms
from tocsin.bootstrap.contacts import apprise_transport, previews, telegram_links
from tocsin.bootstrap.key_mark import check_key
from tocsin.bootstrap.people import api_client, people_transports
from tocsin.bootstrap.storage import build_engine
from tocsin.core.clock import Clock
from tocsin.core.destination import Transport
from tocsin.core.errors import Unavailable
from tocsin.core.identifiers import IdSequence
from tocsin.core.job import JobKind
from tocsin.dialects.pushgo import PushGoLimits
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import EngineRefused, Settlement
from tocsin.pipeline.account import Accounts, Categories
from tocsin.pipeline.catalog import Catalog, CatalogLimits
from tocsin.pipeline.channels import Channels
from tocsin.pipeline.conditions import ConditionLimits, Conditions
from tocsin.pipeline.consumption import Consumption
from tocsin.pipeline.destinations import DestinationBounds, Destinations
from tocsin.pipeline.dispatcher import Dispatcher, DispatchLimits
from tocsin.pipeline.first_attempts import FirstAttempts
from tocsin.pipeline.health import DestinationHealth, HealthLimits
from tocsin.pipeline.ingest import Ingest, IngestLimits
from tocsin.pipeline.job_runner import JobLimits, JobRunner
from tocsin.pipeline.job_work import RecoveryWork, ReplayWork, Work
from tocsin.pipeline.jobs import Jobs
from tocsin.pipeline.keys import Keys
from tocsin.pipeline.lane import LaneLimits
from tocsin.pipeline.learning import AddressLearning
from tocsin.pipeline.live import Elsewhere, ElsewhereLimits, Live, Positions, StreamLimits
from tocsin.pipeline.maintenance import MaintenanceLimits, tend_for_ever
from tocsin.pipeline.measuring import Measuring, MeasuringLimits
from tocsin.pipeline.previews import Previews
from tocsin.pipeline.recovery import Recovery, RecoveryLimits
from tocsin.pipeline.replay import Replay
from tocsin.pipeline.reporting import AttemptReports, Logged
from tocsin.pipeline.telegram_binding import TelegramLinks
from tocsin.pipeline.unsent import Unsent
from tocsin.pipeline.vault import Vault
from tocsin.settings import Settings, SettingsFault, parse_networks
from tocsin.telemetry import Metrics
from tocsin.transports import outbound, protocol
from tocsin.transports.addresses import AddressPolicy, UrlChecks
from tocsin.transports.mailbox import MailboxTransport
from tocsin.transports.webhook import WebhookTransport
from tocsin.web.passwords import ChannelPasswords, PasswordLimits
from tocsin.web.server import ServerLimits

if TYPE_CHECKING:
    from tocsin.telemetry.tracing import Tracing

_log = structlog.get_logger("tocsin")


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """An event's way through the gateway, and what everything needs."""

    settings: Settings
    clock: Clock
    ids: IdSequence
    metrics: Metrics
    measuring: Measuring
    tracing: Tracing | None
    vault: Vault
    engine: Engine
    catalog: Catalog
    client: outbound.Sends
    to_apis: outbound.Sends
    urls: UrlChecks
    live: Live
    elsewhere: Elsewhere
    dispatcher: Dispatcher
    first_attempts: FirstAttempts
    health: DestinationHealth
    learning: AddressLearning
    ingest: Ingest
    job_runner: JobRunner
    transports: frozenset[Transport]


class UseCases(msgspec.Struct, frozen=True, kw_only=True):
    """What the dialects call."""

    keys: Keys
    channels: Channels
    passwords: ChannelPasswords
    destinations: Destinations
    replay: Replay
    recovery: Recovery
    jobs: Jobs
    consumption: Consumption
    accounts: Accounts
    categories: Categories
    previews: Previews
    telegram_links: TelegramLinks


async def open_catalog(
    settings: Settings, clock: Clock, on_fatal: Callable[[str], None], stack: AsyncExitStack, metrics: Metrics
) -> tuple[Engine, Catalog]:
    """Open the store and read the catalog; the stack closes the store.

    Raises:
        EngineRefused: it cannot be opened or read.
    """
    engine = build_engine(settings, clock, on_fatal, metrics)
    stack.push_async_callback(engine.close)
    info = await engine.open()
    _log.info("store_opened", engine=info.engine, version=info.version, durability=info.durability.value)
    catalog = Catalog(engine)
    try:
        await catalog.refresh()
    except Unavailable as error:
        raise EngineRefused(f"the store cannot be read: {error.detail}") from error
    return engine, catalog


async def build_parts(
    settings: Settings, clock: Clock, engine: Engine, catalog: Catalog, stack: AsyncExitStack, metrics: Metrics
) -> Parts:
    """Build an event's way; nothing of it runs yet."""
    ids = IdSequence(os.urandom)
    tracing = _tracing(settings, stack)
    key, vault = await _vault(settings, catalog)
    policy = AddressPolicy(parse_networks(settings.values.outbound_allow))
    client = await _client(settings, clock, policy, metrics, stack)
    to_apis = await api_client(settings, client, stack)
    transports = _transports(settings, clock, engine, client)
    transports |= people_transports(settings, clock, engine, key, client, to_apis)
    learning = AddressLearning(catalog)
    health = DestinationHealth(catalog=catalog, clock=clock, limits=settings.limits("health", HealthLimits))
    first_attempts = FirstAttempts(engine)
    live, elsewhere = _live(settings, clock, engine, metrics, key)
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
        reports=AttemptReports(metrics, logged=Logged(settings.values.log_attempts), traces=tracing),
        on_verdicts=lambda settlements, verdicts: _settled(live, elsewhere, settlements, verdicts),
        on_learned=learning.note,
    )
    ingest = _ingest(settings, clock, ids, engine, catalog, dispatcher, transports, metrics, tracing, live)
    return Parts(
        settings=settings,
        clock=clock,
        ids=ids,
        metrics=metrics,
        tracing=tracing,
        measuring=_measuring(settings, clock, engine, catalog, metrics),
        vault=vault,
        engine=engine,
        catalog=catalog,
        client=client,
        to_apis=to_apis,
        urls=UrlChecks(policy),
        live=live,
        elsewhere=elsewhere,
        dispatcher=dispatcher,
        first_attempts=first_attempts,
        health=health,
        learning=learning,
        ingest=ingest,
        job_runner=_job_runner(settings, clock, engine, catalog, ingest),
        transports=frozenset(transports),
    )


def _ingest(
    settings: Settings,
    clock: Clock,
    ids: IdSequence,
    engine: Engine,
    catalog: Catalog,
    dispatcher: Dispatcher,
    transports: Collection[Transport],
    metrics: Metrics,
    tracing: Tracing | None,
    live: Live,
) -> Ingest:
    return Ingest(
        engine=engine,
        catalog=catalog,
        conditions=Conditions(metrics=metrics, clock=clock, limits=settings.limits("condition", ConditionLimits)),
        sender=Unsent(clock) if settings.values.role == "gateway" else dispatcher,
        clock=clock,
        ids=ids,
        transports=frozenset(transports),
        limits=settings.limits("ingest", IngestLimits),
        metrics=metrics,
        traces=tracing,
        on_stored=live.stored,
    )


async def _vault(settings: Settings, catalog: Catalog) -> tuple[bytes, Vault]:
    """Return the key that seals secrets, and the vault that uses it."""
    key = secret_key(settings, fresh=not catalog.organisations())
    await check_key(key, catalog)
    return key, Vault(key, os.urandom)


async def _client(
    settings: Settings, clock: Clock, policy: AddressPolicy, metrics: Metrics, stack: AsyncExitStack
) -> outbound.Sends:
    """Start the process that sends; the stack ends it."""
    client = outbound.ProcessClient(policy, limits=settings.limits("outbound", outbound.Limits), clock=clock)
    await client.open()
    stack.push_async_callback(client.close)
    metrics.watch_sender(lambda: client.worker_pid)
    metrics.outbound.follow(lambda: client.under_way)
    return client


def _measuring(settings: Settings, clock: Clock, engine: Engine, catalog: Catalog, metrics: Metrics) -> Measuring:
    limits = settings.limits("metrics", MeasuringLimits)
    return Measuring(engine=engine, catalog=catalog, metrics=metrics, clock=clock, limits=limits)


def build_use_cases(parts: Parts) -> UseCases:
    """Build what the dialects call."""
    settings, clock, engine, catalog = parts.settings, parts.clock, parts.engine, parts.catalog
    plans = plan_limits(settings)
    accounts = Accounts(
        catalog=catalog,
        engine=engine,
        vault=parts.vault,
        clock=clock,
        ids=parts.ids,
        plan_limits=plans,
        transports=parts.transports,
    )
    categories = Categories(catalog=catalog, clock=clock, ids=parts.ids, plan_limits=plans)
    return UseCases(
        keys=Keys(catalog=catalog, clock=clock, ids=parts.ids, entropy=os.urandom),
        channels=Channels(catalog, settings.limits("pushgo", PushGoLimits).channels_max),
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
        jobs=Jobs(
            engine=engine,
            clock=clock,
            ids=parts.ids,
            wake=parts.job_runner.wake,
            queued_max=settings.limits("job", JobLimits).queued_max,
        ),
        consumption=Consumption(engine=engine, clock=clock, lease_ms=transaction_lease_ms(settings)),
        accounts=accounts,
        categories=categories,
        previews=previews(settings, clock, parts.ids, accounts, categories),
        telegram_links=telegram_links(settings, clock, catalog, parts.vault, parts.to_apis),
    )


async def start(parts: Parts, stack: AsyncExitStack, on_fatal: Callable[[str], None]) -> None:
    """Start what runs beside the requests; the stack drains it."""
    role = parts.settings.values.role
    keepers: list[Coroutine[Any, Any, None]] = [
        parts.catalog.keep_fresh(parts.settings.limits("catalog", CatalogLimits))
    ]
    if role != "dispatcher":
        keepers += [parts.live.follow(), parts.live.watch()]
        if parts.settings.values.database is not None:
            keepers.append(parts.elsewhere.keep())
    if role != "gateway":
        await _start_sending(parts, stack)
        keepers += [
            parts.health.keep(parts.ingest),
            parts.learning.keep(),
            parts.job_runner.keep(),
            tend_for_ever(parts.engine, parts.settings.limits("maintenance", MaintenanceLimits)),
        ]
    for keeper in keepers:
        _run_beside(keeper, stack, on_fatal)
    if role != "gateway":
        # Before the dispatcher, which sends what a job has just stored.
        stack.push_async_callback(parts.job_runner.stop, parts.settings.limits("server", ServerLimits).shutdown_s)


async def _start_sending(parts: Parts, stack: AsyncExitStack) -> None:
    await parts.dispatcher.start()
    stack.push_async_callback(parts.dispatcher.stop, parts.settings.limits("server", ServerLimits).shutdown_s)


def _job_runner(settings: Settings, clock: Clock, engine: Engine, catalog: Catalog, ingest: Ingest) -> JobRunner:
    works: dict[JobKind, Work] = {
        JobKind.REPLAY: ReplayWork(engine=engine, replay=Replay(engine=engine, ingest=ingest, clock=clock)),
        JobKind.RECOVERY: RecoveryWork(engine=engine, catalog=catalog, clock=clock),
    }
    return JobRunner(engine=engine, works=works, clock=clock, limits=settings.limits("job", JobLimits))


def _tracing(settings: Settings, stack: AsyncExitStack) -> Tracing | None:
    """Return what traces, if traces are wanted; nothing of it is imported otherwise."""
    if not settings.values.traces:
        return None
    try:
        from tocsin.telemetry.tracing import Tracing  # noqa: PLC0415
    except ImportError as error:
        raise SettingsFault(
            "setting traces (TOCSIN_TRACES): OpenTelemetry is not installed; pip install 'tocsin[otel]'"
        ) from error
    tracing = Tracing()
    stack.push_async_callback(asyncio.to_thread, tracing.close)
    return tracing


def _live(settings: Settings, clock: Clock, engine: Engine, metrics: Metrics, key: bytes) -> tuple[Live, Elsewhere]:
    limits = settings.limits("stream", StreamLimits)
    live = Live(engine=engine, positions=Positions(key), clock=clock, metrics=metrics, limits=limits)
    return live, Elsewhere(live, engine=engine, clock=clock, limits=settings.limits("elsewhere", ElsewhereLimits))


def _settled(live: Live, elsewhere: Elsewhere, settlements: Sequence[Settlement], verdicts: Sequence[bool]) -> None:
    live.settled(settlements, verdicts)
    elsewhere.settled(settlements, verdicts)


def _transports(
    settings: Settings, clock: Clock, engine: Engine, client: outbound.Sends
) -> dict[Transport, protocol.Transport]:
    kept_ms = settings.limits("pushgo", PushGoLimits).mailbox_kept_ms
    return {
        Transport.WEBHOOK: WebhookTransport(client, clock=clock),
        Transport.MAILBOX: MailboxTransport(EngineMailboxes(engine), clock=clock, kept_ms=kept_ms),
        **apprise_transport(settings, clock, engine),
    }


def _run_beside(keeper: Coroutine[Any, Any, None], stack: AsyncExitStack, on_fatal: Callable[[str], None]) -> None:
    """Run what keeps on until the stack unwinds; where it breaks the process ends: there would be half a gateway."""
    task = asyncio.get_running_loop().create_task(keeper)

    def ended(done: asyncio.Task[None]) -> None:
        fault = None if done.cancelled() else done.exception()
        if fault is not None:
            _log.error("background_work_broke", exc_info=fault)
            on_fatal(f"background work broke: {type(fault).__name__}")

    task.add_done_callback(ended)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)

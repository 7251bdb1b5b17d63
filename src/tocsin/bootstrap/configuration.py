"""The settings of all parts, and the key that seals secrets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from tocsin.core.clock import DAY_MS
from tocsin.core.quota import PLAN_LIMITS, Plan, PlanLimits
from tocsin.dialects.buildable import BuildableLimits
from tocsin.dialects.native import CloudEventsLimits, NativeLimits
from tocsin.dialects.nativeframe import NativeFrameLimits
from tocsin.dialects.pingpilot import PingPilotLimits
from tocsin.dialects.promptjang import PromptJangLimits
from tocsin.dialects.pushgo import PushGoLimits
from tocsin.engine.postgres import PostgresSettings
from tocsin.engine.sqlite import SqliteSettings
from tocsin.pipeline.catalog import CatalogLimits
from tocsin.pipeline.conditions import ConditionLimits
from tocsin.pipeline.destinations import DestinationBounds
from tocsin.pipeline.dispatcher import LEASE_MARGIN_MS, DispatchLimits
from tocsin.pipeline.health import HealthLimits
from tocsin.pipeline.ingest import IngestLimits
from tocsin.pipeline.job_runner import JobLimits
from tocsin.pipeline.lane import LaneLimits
from tocsin.pipeline.live import ElsewhereLimits, StreamLimits
from tocsin.pipeline.maintenance import MaintenanceLimits
from tocsin.pipeline.measuring import MeasuringLimits
from tocsin.pipeline.recovery import RecoveryLimits
from tocsin.pipeline.telegram_binding import TelegramLinkLimits
from tocsin.pipeline.vault import KEY_BYTES
from tocsin.settings import Settings, SettingsFault, parse_secret_key
from tocsin.transports import outbound
from tocsin.transports.apprise_services import AppriseLimits
from tocsin.transports.smtp.connections import SmtpLimits
from tocsin.web.limits import RateSettings
from tocsin.web.passwords import PasswordLimits
from tocsin.web.server import ServerLimits
from tocsin.web.tokens import TokenLimits

LIMITS: dict[str, msgspec.Struct] = {
    "catalog": CatalogLimits(),
    "ingest": IngestLimits(),
    "condition": ConditionLimits(),
    "dispatch": DispatchLimits(),
    "lane": LaneLimits(),
    "health": HealthLimits(),
    "stream": StreamLimits(),
    "elsewhere": ElsewhereLimits(),
    "maintenance": MaintenanceLimits(),
    "metrics": MeasuringLimits(),
    "destination": DestinationBounds(),
    "recovery": RecoveryLimits(),
    "job": JobLimits(),
    "outbound": outbound.Limits(),
    "smtp": SmtpLimits(),
    "apprise": AppriseLimits(),
    "telegram_link": TelegramLinkLimits(),
    "store": SqliteSettings(directory=Path()),
    "postgres": PostgresSettings(dsn=""),
    "server": ServerLimits(),
    "rate": RateSettings(),
    "password": PasswordLimits(),
    "jwt": TokenLimits(),
    "pushgo": PushGoLimits(),
    "pingpilot": PingPilotLimits(),
    "buildable": BuildableLimits(),
    "nativeframe": NativeFrameLimits(),
    "native": NativeLimits(),
    "cloudevents": CloudEventsLimits(),
    "promptjang": PromptJangLimits(),
} | {f"plan_{plan}": limits for plan, limits in PLAN_LIMITS.items()}
"""The default limits of each part, by the prefix of their settings."""

_NEVER_ZERO = (
    "catalog_refresh_every_s",
    "ingest_batch_max",
    "ingest_waiting_max",
    "ingest_batches_at_once",
    "dispatch_sending_max",
    "dispatch_held_max",
    "dispatch_claim_max",
    "dispatch_claim_per_destination",
    "dispatch_poll_s",
    "lane_held_max",
    "maintenance_every_s",
    "maintenance_budget_ms",
    "outbound_connections_max",
    "smtp_connections_max",
    "smtp_mails_max",
    "smtp_connect_s",
    "apprise_threads_max",
    "apprise_abandoned_max",
    "telegram_link_expires_s",
    "telegram_link_poll_s",
    "telegram_link_pause_s",
    "store_waiting_max",
    "store_readers",
    "store_scan_events_max",
    "postgres_connections",
    "postgres_waiting_max",
    "postgres_batch_max",
    "postgres_batches_at_once",
    "postgres_connect_max_s",
    "postgres_wait_max_s",
    "postgres_write_max_s",
    "postgres_idle_max_s",
    "postgres_query_max_s",
    "postgres_scan_events_max",
    "postgres_partitions_ahead_ms",
    "password_memory_kib",
    "password_passes",
    "password_lanes",
    "recovery_page_rows",
    "elsewhere_look_every_s",
    "elsewhere_deliveries_max",
    "stream_page_events",
    "stream_page_data_events",
    "stream_poll_s",
    "stream_check_s",
    "stream_write_bytes",
    "stream_keep_alive_s",
    "job_events_per_s",
    "job_batch_max",
    "job_at_once_max",
    "job_running_max",
    "job_queued_max",
    "job_look_every_s",
    "job_pause_s",
    "server_head_deadline_s",
    "server_body_deadline_s",
    "server_head_bytes_max",
    "server_headers_max",
    "server_pipelined_max",
    "server_connections_max",
)
"""Without these nothing would be taken, stored, found or sent, or a loop would never rest."""

SECRET_KEY_FILE = "secret.key"  # noqa: S105  a file's name


def load_settings(**flags: Any) -> Settings:
    """Return the settings; ``flags`` of None are not given.

    Raises:
        SettingsFault: a value is refused.
    """
    settings = Settings(LIMITS, **flags)
    for name in _NEVER_ZERO:
        if not getattr(settings.values, name):
            raise SettingsFault(f"setting {name} (TOCSIN_{name.upper()}): must be above 0")
    # An attempt is begun with a margin at its end; with no time before it, none would ever be.
    if settings.values.dispatch_lease_ms < settings.values.destination_timeout_max_s * 1000 + 2 * LEASE_MARGIN_MS:
        raise SettingsFault(
            "setting dispatch_lease_ms (TOCSIN_DISPATCH_LEASE_MS): must be at least "
            f"{2 * LEASE_MARGIN_MS // 1000} s longer than destination_timeout_max_s, or what is still being sent "
            "would be sent again"
        )
    return settings


def secret_key(settings: Settings, *, fresh: bool) -> bytes:
    """Return the key that seals secrets: the setting's, else the one beside the data.

    On the first run it is made, but not for a database that several machines share: each would make its own. Called
    once the store is open, whose lock keeps a second process from making another one.

    Args:
        fresh: there are no data yet, so that nothing can have been sealed.

    Raises:
        SettingsFault: the file does not hold a key, is gone, or cannot be read or made; or there is none for a
            database that is shared.
    """
    given = settings.values.secret_key
    if given is not None:
        return parse_secret_key(given.get_secret_value())
    path: Path = settings.values.data / SECRET_KEY_FILE
    try:
        if path.exists():
            return parse_secret_key(path.read_bytes().decode("ascii", "replace"))
        if fresh and settings.values.database is None:
            return _make_secret_key(path)
    except ValueError as error:
        raise SettingsFault(f"{path} holds no key: it {error}; restore it from a backup") from error
    except OSError as error:
        raise SettingsFault(f"{path} cannot be used: {error.strerror}") from error
    if settings.values.database is not None:
        raise SettingsFault(
            "setting secret_key (TOCSIN_SECRET_KEY): --database wants it, the same for every process that uses the "
            f"database, or the file {path}; a new installation makes one with: openssl rand -hex 32"
        )
    raise SettingsFault(
        f"{path} is gone, with which the secrets in {path.parent} are sealed; restore it from a backup, or set "
        "TOCSIN_SECRET_KEY to the key that was used"
    )


def _make_secret_key(path: Path) -> bytes:
    """Write a new key; it is on the disk, name and content, before anything is sealed with it."""
    key = os.urandom(KEY_BYTES)
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return key


def plan_limits(settings: Settings) -> dict[Plan, PlanLimits]:
    """Return what each plan allows."""
    return {plan: settings.limits(f"plan_{plan}", PlanLimits) for plan in Plan}


def transaction_lease_ms(settings: Settings) -> int | None:
    """Return how long a consumer may keep a transaction unfinished; None is for ever."""
    lease_s: float = settings.values.transaction_lease_s
    return round(lease_s * 1000) if lease_s else None


def retention_ms(settings: Settings) -> int | None:
    """Return how long events are kept; None is for ever."""
    days: float = settings.values.retention_days
    return round(days * DAY_MS) if days else None

"""The settings of all parts, and the key that seals secrets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from tocsin.core.clock import DAY_MS
from tocsin.core.quota import PLAN_LIMITS, Plan, PlanLimits
from tocsin.dialects.buildable import BuildableLimits
from tocsin.dialects.native import NativeLimits
from tocsin.dialects.nativeframe import NativeFrameLimits
from tocsin.dialects.pingpilot import PingPilotLimits
from tocsin.dialects.promptjang import PromptJangLimits
from tocsin.dialects.pushgo import PushGoLimits
from tocsin.engine.sqlite import SqliteSettings
from tocsin.pipeline.destinations import DestinationBounds
from tocsin.pipeline.dispatcher import DispatchLimits
from tocsin.pipeline.health import HealthLimits
from tocsin.pipeline.ingest import IngestLimits
from tocsin.pipeline.lane import LaneLimits
from tocsin.pipeline.maintenance import MaintenanceLimits
from tocsin.pipeline.recovery import RecoveryLimits
from tocsin.pipeline.vault import KEY_BYTES
from tocsin.settings import Settings, SettingsFault, parse_secret_key
from tocsin.transports import outbound
from tocsin.web.limits import RateSettings
from tocsin.web.passwords import PasswordLimits
from tocsin.web.server import ServerLimits
from tocsin.web.tokens import TokenLimits

LIMITS: dict[str, msgspec.Struct] = {
    "ingest": IngestLimits(),
    "dispatch": DispatchLimits(),
    "lane": LaneLimits(),
    "health": HealthLimits(),
    "maintenance": MaintenanceLimits(),
    "destination": DestinationBounds(),
    "recovery": RecoveryLimits(),
    "outbound": outbound.Limits(),
    "store": SqliteSettings(directory=Path()),
    "server": ServerLimits(),
    "rate": RateSettings(),
    "password": PasswordLimits(),
    "jwt": TokenLimits(),
    "pushgo": PushGoLimits(),
    "pingpilot": PingPilotLimits(),
    "buildable": BuildableLimits(),
    "nativeframe": NativeFrameLimits(),
    "native": NativeLimits(),
    "promptjang": PromptJangLimits(),
} | {f"plan_{plan}": limits for plan, limits in PLAN_LIMITS.items()}
"""The default limits of each part, by the prefix of their settings."""

SECRET_KEY_FILE = "secret.key"  # noqa: S105  a file's name


def load_settings(**flags: Any) -> Settings:
    """Return the settings; ``flags`` of None are not given.

    Raises:
        SettingsFault: a value is refused.
    """
    return Settings(LIMITS, **flags)


def secret_key(settings: Settings) -> bytes:
    """Return the key that seals secrets: the setting's, else the one beside the data, made on the first run.

    Raises:
        SettingsFault: the file does not hold a key.
    """
    given = settings.values.secret_key
    if given is not None:
        return parse_secret_key(given.get_secret_value())
    directory: Path = settings.values.data
    path = directory / SECRET_KEY_FILE
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        try:
            return parse_secret_key(path.read_text("ascii"))
        except ValueError as error:
            raise SettingsFault(f"{path}: {error}") from error
    key = os.urandom(KEY_BYTES)
    with os.fdopen(descriptor, "w") as file:
        file.write(key.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
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

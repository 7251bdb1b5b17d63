"""Every setting, with its unit, default and bound; read once, at start.

A setting comes from a flag, else from the environment (``TOCSIN_`` and the name in capitals), else from
``tocsin.toml`` in the working directory, else from its default. The bounds of each part of the program are declared
where they are used, as a struct of limits, and show up here under that part's prefix: ``DispatchLimits.held_max`` is
the setting ``dispatch_held_max``.
"""

from __future__ import annotations

import base64
import binascii
import os
import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, create_model, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from tocsin.engine.postgres.urls import check_database_url
from tocsin.transports.apprise_services import read_services
from tocsin.transports.mail_addresses import parse_sender
from tocsin.transports.smtp.server import parse_smtp_url, sender_of

L = TypeVar("L", bound=msgspec.Struct)

SETTINGS_FILE = "tocsin.toml"
DISCORD_API_BASE = "https://discord.com/api/v10"
TELEGRAM_API_BASE = "https://api.telegram.org"
FOR_TESTS = "TOCSIN_TEST_"
"""Environment variables that only the tests read."""


class SettingsFault(Exception):
    """A setting is unknown or out of its bounds; the text says which, and where it came from."""


class _Base(BaseSettings):
    """Settings that are not limits."""

    model_config = SettingsConfigDict(
        env_prefix="TOCSIN_",
        env_parse_none_str="none",
        extra="forbid",
        allow_inf_nan=False,
        toml_file=SETTINGS_FILE,
        validate_default=True,
    )

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    data: Path = Field(
        Path("tocsin-data"),
        description="Directory of the embedded database; of its key alone where `database` is set.",
    )
    database: SecretStr | None = Field(
        None,
        description=(
            "PostgreSQL to store in, which processes and machines may share, percent-encoded: "
            "`postgresql://user:password@host:5432/name?sslmode=verify-full`. Without it, SQLite in `TOCSIN_DATA`."
        ),
    )
    database_listen: SecretStr | None = Field(
        None,
        description="The same database past the pooler that `TOCSIN_DATABASE` names: there processes tell of work.",
    )
    role: str = Field(
        "all",
        pattern="^(all|gateway|dispatcher)$",
        description="What it does: `gateway` takes events, `dispatcher` sends them; these two want PostgreSQL.",
    )
    processes: int = Field(1, ge=1, le=64, description="How many processes; more than one want PostgreSQL.")
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="For the `/ready` and `/metrics` of one process; the second has the next port.",
    )
    secret_key: SecretStr | None = Field(
        None, description="32 bytes, base64 or hex, that seal secrets at rest; made beside the data when absent."
    )
    outbound_allow: str = Field(
        "", description="Networks, separated by commas, that destinations may reach although they are private."
    )
    pushgo_token: SecretStr | None = Field(
        None,
        min_length=1,
        description="PushGo's gateway token; once set, PushGo's routes want it or an API key.",
    )
    smtp_url: SecretStr | None = Field(
        None,
        description=(
            "Mail server for email destinations, with user and password where it wants them, percent-encoded: "
            "`smtps://` (TLS, port 465), `smtp+starttls://` (TLS required, port 587), or `smtp://` (port 25), by "
            "which everything, the password too, goes in clear. Certificates are checked. Without it there is no "
            "email."
        ),
    )
    smtp_from: str | None = Field(
        None,
        description=(
            "Who mails are from: `alerts@example.com` or `Tocsin <alerts@example.com>`. Without it, the user of "
            "`TOCSIN_SMTP_URL`, which must be a mail address then; `tocsin@localhost` at a server on this machine."
        ),
    )
    smtp_subject: str = Field(
        "PingPilot Alert", min_length=1, max_length=200, description="Subject of mails that tell a category's event."
    )
    public_url: str | None = Field(
        None,
        description=(
            "Where people reach this gateway from outside, `https://tocsin.example.com`. Mails then say how to get "
            "no more of them."
        ),
    )
    discord_api_base: str = Field(
        DISCORD_API_BASE,
        description=(
            "Where Discord's API is, its version included. One of your own may be private, and so may webhooks right "
            "below it."
        ),
    )
    telegram_api_base: str = Field(
        TELEGRAM_API_BASE,
        description="Where Telegram's Bot API is; a server of your own may be private.",
    )
    apprise_services: Annotated[dict[str, SecretStr], NoDecode] = Field(
        {},
        description=(
            "Services of Apprise that destinations may send to, by names of your choice: the table "
            '`[apprise_services]` of `tocsin.toml`, or a JSON object, `{"ops": "ntfy://..."}`. The URLs are '
            "secrets, and reach whatever they name. Wants `pip install 'tocsin[apprise]'`."
        ),
    )
    apprise_organisations: str = Field(
        "default",
        pattern="^(default|all)$",
        description=(
            "Who may send to Apprise's services: the organisation that the installation came with, or `all`."
        ),
    )
    jwt_issuer: str = Field("tocsin", min_length=1, description="Claim iss of the tokens that Tocsin mints.")
    jwt_audience: str = Field("tocsin", min_length=1, description="Claim aud that tokens must have.")
    plan_changes: bool = Field(True, description="Whether an organisation may change its own plan.")
    retention_days: float = Field(90.0, ge=0, description="How long events are kept, in days; 0 is for ever.")
    transaction_lease_s: float = Field(
        0.0, ge=0, description="How long a consumer may keep a transaction unfinished, in seconds; 0 is for ever."
    )
    debug: bool = Field(False, description="Whether error answers tell internal details; never in production.")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="The least severe to log.")
    log_format: str = Field("auto", pattern="^(auto|json|text)$", description="auto is text on a terminal.")

    traces: bool = Field(
        False,
        description=(
            "Whether to send OpenTelemetry traces. Wants `pip install 'tocsin[otel]'`; where they go say the "
            "standard variables, such as `OTEL_EXPORTER_OTLP_ENDPOINT`."
        ),
    )
    log_attempts: str = Field(
        "failed",
        pattern="^(off|failed|all)$",
        description="Of which attempts the log has a line, at level info; `all` is one for each delivery at least.",
    )

    @field_validator("outbound_allow")
    @classmethod
    def _networks(cls, text: str) -> str:
        parse_networks(text)
        return text

    @field_validator("database", "database_listen")
    @classmethod
    def _server_of_data(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            check_database_url(url.get_secret_value())
        return url

    @field_validator("smtp_url")
    @classmethod
    def _mail_server(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            check_smtp_url(url.get_secret_value())
        return url

    @field_validator("smtp_from")
    @classmethod
    def _mail_sender(cls, text: str | None, info: ValidationInfo) -> str | None:
        url = info.data.get("smtp_url")
        if text is not None:
            parse_sender(text)
        elif url is not None:
            sender_of(None, parse_smtp_url(url.get_secret_value()))
        return text

    @field_validator("public_url")
    @classmethod
    def _reached_at(cls, url: str | None) -> str | None:
        if url is None:
            return None
        check_api_base(url)
        return url.rstrip("/")

    @field_validator("discord_api_base", "telegram_api_base")
    @classmethod
    def _api_base(cls, url: str) -> str:
        check_api_base(url)
        return url.rstrip("/")

    @field_validator("apprise_services", mode="before")
    @classmethod
    def _services(cls, given: object) -> dict[str, str]:
        return read_services(given)

    @field_validator("secret_key")
    @classmethod
    def _key(cls, text: SecretStr | None) -> SecretStr | None:
        if text is not None:
            parse_secret_key(text.get_secret_value())
        return text

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic names the arguments
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where settings come from, the strongest first."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def parse_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return the networks of a list separated by commas.

    Raises:
        ValueError: one is not a network.
    """
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def parse_secret_key(text: str) -> bytes:
    """Return the 32 bytes of a key written as hex or base64.

    Raises:
        ValueError: it is neither, or not 32 bytes long.
    """
    for decode in (bytes.fromhex, lambda value: base64.b64decode(value, validate=True)):
        try:
            key = decode(text.strip())
        except (ValueError, binascii.Error):
            continue
        if len(key) == 32:
            return key
    raise ValueError("must be 32 bytes, as 64 hex digits or as base64")


def check_smtp_url(url: str) -> None:
    """Return if this is the URL of a mail server.

    Raises:
        ValueError: it is not. The text repeats nothing of the URL, of which any part may belong to the password.
    """
    parts = _server(url, ("smtp", "smtps", "smtp+starttls"))
    if parts is None or parts.path not in ("", "/") or bool(parts.username) is not bool(parts.password):
        raise ValueError(
            "must be smtp://, smtps:// or smtp+starttls://, then user:password@ where they are wanted, "
            "percent-encoded, a host, and a port if it is not the usual one"
        )
    try:
        parse_smtp_url(url)
    except ValueError:
        raise ValueError("must be percent-encoded UTF-8 where it names a user and a password") from None


def check_api_base(url: str) -> None:
    """Return if this is a URL to which the paths of an HTTP API can be appended.

    Raises:
        ValueError: it is not.
    """
    parts = _server(url, ("http", "https"))
    if parts is None or "@" in parts.netloc:
        raise ValueError("must be http:// or https://, a host, and a port and a path if they are wanted")


def _server(url: str, schemes: tuple[str, ...]) -> SplitResult | None:
    """Return the parts of a server's URL, or None where it is none, or goes on behind its path."""
    # urlsplit drops line ends and tabs in silence.
    if not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in schemes or not parts.hostname or port == 0 or "?" in url or "#" in url:
        return None
    return parts


class Settings:
    """The settings of one process.

    Args:
        groups: the default limits of each part of the program, by the prefix of their settings.
        flags: what the command line says; None where it says nothing.

    Raises:
        SettingsFault: a value is refused, or an environment variable of ours is no setting.
    """

    def __init__(self, groups: dict[str, msgspec.Struct], **flags: Any) -> None:
        self._groups = groups
        given = {name: value for name, value in flags.items() if value is not None}
        try:
            model = settings_model(groups)
            _check_environment(model)
            self.values: Any = model(**given)
        except ValidationError as error:
            raise SettingsFault("; ".join(_fault(each, model) for each in error.errors())) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsFault(f"{SETTINGS_FILE} is no TOML: {error}") from None
        except OSError as error:
            raise SettingsFault(f"{SETTINGS_FILE} cannot be read: {error.strerror}") from None

    def limits(self, prefix: str, kind: type[L], **others: Any) -> L:
        """Return the limits of one part of the program.

        Args:
            others: the fields that are no settings of their own.
        """
        defaults = self._groups[prefix]
        assert isinstance(defaults, kind)
        given = {name: getattr(self.values, f"{prefix}_{name}") for name, _ in scalars(defaults)}
        return msgspec.structs.replace(defaults, **given, **others)


def settings_model(groups: dict[str, msgspec.Struct]) -> type[BaseSettings]:
    """Return the model of all settings: the named ones, and every limit of every group."""
    fields: dict[str, Any] = {}
    for prefix, defaults in groups.items():
        for name, annotation in scalars(defaults):
            bound = None if annotation is bool else 0
            fields[f"{prefix}_{name}"] = (annotation, Field(getattr(defaults, name), ge=bound))
    return create_model("AllSettings", __base__=_Base, **fields)


def scalars(defaults: msgspec.Struct) -> list[tuple[str, Any]]:
    """Return name and type of a struct's numbers and flags; no other field is a setting.

    A number that may be None is one where its default is a number: a limit that can be lifted by ``none``.
    """
    return [
        (field.name, field.type)
        for field in msgspec.structs.fields(type(defaults))
        if field.type in (int, float, bool)
        or (field.type == int | None and getattr(defaults, field.name) is not None)
    ]


def _check_environment(model: type[BaseSettings]) -> None:
    """Refuse a misspelt variable, which would otherwise be passed over in silence, and an empty one.

    An empty one is mostly a reference to nothing: taken as unset, ``TOCSIN_PUSHGO_TOKEN`` would open the door.
    """
    known = {f"TOCSIN_{name.upper()}": field for name, field in model.model_fields.items()}
    for name, value in os.environ.items():
        if not name.startswith("TOCSIN_") or name.startswith(FOR_TESTS):
            continue
        if name not in known:
            raise SettingsFault(f"environment variable {name} is no setting{_hint(name, known)}")
        if not value and known[name].default != "":
            raise SettingsFault(f"environment variable {name} is empty; unset it, or give it a value")


def _hint(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _fault(error: Any, model: type[BaseSettings]) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{SETTINGS_FILE}: {name} is no setting{_hint(name, model.model_fields)}"
    return f"setting {name} (TOCSIN_{name.upper()}): {error['msg'].removeprefix('Value error, ')}"

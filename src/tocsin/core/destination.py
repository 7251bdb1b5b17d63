"""Destinations: where events go, and which ones."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from tocsin.core.event import Dialect, Severity
from tocsin.core.glob import glob, is_glob, prefix_of
from tocsin.core.identifiers import DestinationId, OrganisationId
from tocsin.core.quiet_hours import QuietHours
from tocsin.core.retry import NATIVE, RetryPolicy


class Transport(StrEnum):
    """A way out."""

    WEBHOOK = "webhook"
    DISCORD = "discord"
    TELEGRAM = "telegram"
    EMAIL = "email"
    MAILBOX = "mailbox"
    APPRISE = "apprise"
    """Any of Apprise's services, by the name that the operator gave it."""


class Format(StrEnum):
    """How an event is written for a webhook.

    ``raw`` is the event's data alone, ``standard`` wraps it as Standard Webhooks advises, the others are
    CloudEvents' structured and binary modes.
    """

    RAW = "raw"
    STANDARD = "standard"
    CLOUDEVENTS = "cloudevents"
    CLOUDEVENTS_BINARY = "cloudevents_binary"


class IncidentStyle(StrEnum):
    """What becomes of the message that told an incident when the incident goes on."""

    EDIT = "edit"
    """It is changed where it stands, by remotes that can; nobody's telephone rings again."""
    POST = "post"
    """It stays, and another one follows."""


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events a destination gets; an empty list does not restrict.

    ``sources``, ``types`` and ``subjects`` are globs: ``*``, ``?`` and ``[...]``, case-sensitive.

    Attributes:
        where: a condition on the event's data, in JMESPath; None does not restrict either. See ``core.condition``.
    """

    dialects: tuple[Dialect, ...] = ()
    sources: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ()
    where: str | None = None


class SealedSecret(msgspec.Struct, frozen=True):
    """A signing secret, sealed; the newest comes first and signs alone once the others have run out.

    Attributes:
        expires_ms: until when it also signs after a rotation; None for the newest.
    """

    sealed: bytes
    created_ms: int
    expires_ms: int | None = None


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """Where events go.

    Attributes:
        origin: the dialect by whose routes it was made, which decides how it is shown and signed.
        address: the public part of the address, by transport: webhook ``url``, ``method``; email ``to``; ...
        learned: what the remote told of the address, such as the chat that a chat became; it counts in place of what
            the address says, and is forgotten when that is changed.
        sealed_address: the secret part (header values, tokens), a sealed JSON object; None without one.
        secrets: signing secrets, newest first.
        success_headers: response headers that must be present and equal for success.
        timeout_s: the whole attempt.
        rate_per_s: attempts a second at the most; None is no limit.
        concurrency: attempts at once.
        ordered: events of one subject are sent one after another.
        incidents: whether the message that told an incident is edited; only where ``ordered`` is set.
        quiet_hours: when only what is critical is sent; None is never.
        enabled: False gets nothing new, and what waits goes on waiting.
        paused: gets new events, but nothing is sent until it is resumed.
        disabled_reason: why Tocsin disabled it by itself; None otherwise.
        failing_since_ms: since when every attempt failed; None while healthy.
        revision: rises with every change; for compare-and-set.
    """

    id: DestinationId
    organisation_id: OrganisationId
    name: str
    transport: Transport
    created_ms: int
    updated_ms: int
    origin: Dialect = Dialect.TOCSIN
    description: str = ""
    address: dict[str, Any] = {}
    learned: dict[str, Any] = {}
    sealed_address: bytes | None = None
    secrets: tuple[SealedSecret, ...] = ()
    success_headers: dict[str, str] = {}
    filter: Filter = Filter()
    format: Format = Format.RAW
    retry: RetryPolicy = NATIVE
    timeout_s: float = 15.0
    rate_per_s: float | None = None
    concurrency: int = 32
    ordered: bool = False
    incidents: IncidentStyle = IncidentStyle.EDIT
    quiet_hours: QuietHours | None = None
    enabled: bool = True
    paused: bool = False
    disabled_reason: str | None = None
    failing_since_ms: int | None = None
    revision: int = 0

    @property
    def timeout_min_s(self) -> float:
        """The least that ``timeout_s`` may be: an attempt by Apprise cannot be ended, and holds a thread after it."""
        return 5.0 if self.transport is Transport.APPRISE else 0.1


def is_addressed(destination: Destination) -> bool:
    """Return whether a destination can be sent to: a person's contact may have no address yet, a bot no chat."""
    address = destination.address
    return bool(address) and (destination.transport is not Transport.TELEGRAM or "chat_id" in address)


def globs_of(wanted: Filter) -> list[str]:
    """Return the patterns of a filter that every event is to be held against, one by one."""
    return [
        pattern
        for patterns in (wanted.sources, wanted.types, wanted.subjects)
        for pattern in filter(is_glob, patterns)
    ]


class _Texts:
    """A list of patterns, made ready to be asked often."""

    __slots__ = ("_any", "_exact", "_globs", "_prefixes")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._any = not patterns
        self._exact = frozenset(pattern for pattern in patterns if not is_glob(pattern))
        prefixes = {pattern: prefix_of(pattern) for pattern in patterns}
        self._prefixes = tuple(prefix for prefix in prefixes.values() if prefix is not None)
        self._globs = tuple(glob(each) for each in patterns if is_glob(each) and prefixes[each] is None)

    def match(self, text: str | None) -> bool:
        if self._any:
            return True
        if text is None:
            return False
        return text in self._exact or text.startswith(self._prefixes) or any(match(text) for match in self._globs)


class Matcher:
    """A filter, made ready once for all events that are held against it.

    No cache stands in for this: patterns belong to tenants, and whoever has more of them than a cache holds would
    have every one compiled again for every event.
    """

    __slots__ = ("_dialects", "_severities", "_sources", "_subjects", "_types", "_wanted")

    def __init__(self, wanted: Filter) -> None:
        self._wanted = wanted
        self._dialects = frozenset(wanted.dialects)
        self._severities = frozenset(wanted.severities)
        self._sources = _Texts(wanted.sources)
        self._types = _Texts(wanted.types)
        self._subjects = _Texts(wanted.subjects)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Matcher) and self._wanted == other._wanted

    def __hash__(self) -> int:
        return hash(self._wanted)

    def passes(
        self,
        *,
        dialect: Dialect,
        source: str,
        type: str,  # noqa: A002  CloudEvents' own word
        subject: str | None,
        severity: Severity | None,
    ) -> bool:
        """Return whether an event of these attributes passes the filter; its condition is another matter."""
        return (
            (not self._dialects or dialect in self._dialects)
            and (not self._severities or severity in self._severities)
            and self._sources.match(source)
            and self._types.match(type)
            and self._subjects.match(subject)
        )


def matches(
    wanted: Filter,
    *,
    dialect: Dialect,
    source: str,
    type: str,  # noqa: A002  CloudEvents' own word
    subject: str | None,
    severity: Severity | None,
) -> bool:
    """Return whether one event passes a filter."""
    return Matcher(wanted).passes(dialect=dialect, source=source, type=type, subject=subject, severity=severity)


TELL_PEOPLE = frozenset({Transport.DISCORD, Transport.TELEGRAM, Transport.EMAIL, Transport.APPRISE})
"""The ways out to people, who read in order."""

USUAL_CONCURRENCY: dict[Transport, int] = {
    Transport.DISCORD: 1,
    Transport.TELEGRAM: 1,
    Transport.EMAIL: 4,
    Transport.APPRISE: 1,
}
"""Attempts at once where nobody says, for the transports that differ from ``Destination``'s own default: a chat takes
one message at a time, and a mail server a few connections of one client."""

_EDITING = frozenset({Transport.DISCORD, Transport.TELEGRAM})
"""The ways out whose remotes let a message be changed that was sent."""


def edits_in_vain(transport: Transport, incidents: IncidentStyle, *, ordered: bool) -> bool:
    """Return whether messages are asked to be edited although nobody knows which one came last."""
    return transport in _EDITING and incidents is IncidentStyle.EDIT and not ordered


SECRET_ADDRESS_FIELDS: dict[Transport, frozenset[str]] = {
    Transport.WEBHOOK: frozenset({"headers"}),
    Transport.DISCORD: frozenset({"webhook_url", "bot_token"}),
    Transport.TELEGRAM: frozenset({"bot_token"}),
    Transport.EMAIL: frozenset(),
    Transport.MAILBOX: frozenset({"device_key"}),
    Transport.APPRISE: frozenset(),
}
"""Which parts of an address are sealed at rest and shown masked."""

MASK = "***"
"""What stands in the place of a secret."""

"""Requests read into values; pure."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

import msgspec

from tocsin.core.clock import parse_rfc3339
from tocsin.core.delivery import DeliveryPhase
from tocsin.core.errors import MalformedBody
from tocsin.core.event import Dialect, Draft, Environment, idempotency_key
from tocsin.core.identifiers import DeliveryId, OrganisationId, dashed, digest, parse_dashed
from tocsin.dialects import strict_json
from tocsin.dialects.nativeframe.faults import Fault, FaultCode, refuse
from tocsin.dialects.nativeframe.limits import NativeFrameLimits

NAME_LENGTH_MAX = 64
_NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "_-")
_NAME_RULE = f"must be 1 to {NAME_LENGTH_MAX} characters of A-Z, a-z, 0-9, _ and -"

PROJECT_SOURCE = "nativeframe/project/"
"""What stands before the project's name in the source of its events."""

PHASES_OF_STATUS: dict[str, frozenset[DeliveryPhase]] = {
    "NEW": frozenset({DeliveryPhase.NEW}),
    "IN_PROCESS": frozenset({DeliveryPhase.SENDING, DeliveryPhase.RETRYING}),
    "DELIVERED": frozenset({DeliveryPhase.DELIVERED}),
    "CANCELED": frozenset({DeliveryPhase.CANCELLED}),
    "FAILED": frozenset({DeliveryPhase.EXPIRED}),
}
"""The published statuses in our words; a delivery is in process from its first attempt until its last."""

_NUMBER_MAX = 2**31 - 1
"""Larger numbers mean the same where no upper bound is published: more than there can be."""
_DIGITS_MAX = 18
_TIME_PART = 11
"""Where the time of day begins in ``2026-05-26T12:00:00``."""
_ID_RULE = "must be a UUID with dashes"

# One form for equal payloads however they were spaced and ordered.
_canonical = msgspec.json.Encoder(order="sorted").encode


class HistorySearch(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks of the history; both times are inclusive, in milliseconds, on when a delivery was made."""

    limit: int
    offset: int
    event: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    status_code: int | None = None
    attempts_min: int | None = None
    phases: frozenset[DeliveryPhase] = frozenset()


class NewNativeEvent(msgspec.Struct, frozen=True):
    """An event to store, and the id that the client gave it, dashed; None leaves it to us."""

    draft: Draft
    source_id: str | None


def is_name(text: str) -> bool:
    """Return whether a text may name a project, an event or a webhook.

    Source: the published pattern, ``^[a-zA-Z0-9_-]+$``, without the line break that ``$`` lets through.
    """
    return 1 <= len(text) <= NAME_LENGTH_MAX and _NAME_CHARACTERS.issuperset(text)


def name_faults(names: Mapping[str, str]) -> list[Fault]:
    """Return a fault for each of these values that may not be a name."""
    return [Fault(field, _NAME_RULE, FaultCode.PATTERN) for field, text in names.items() if not is_name(text)]


def parse_names(path: Mapping[str, str], *fields: str) -> tuple[str, ...]:
    """Return these parameters of the path.

    Raises:
        InvalidFields: some are not names.
    """
    refuse(name_faults({field: path[field] for field in fields}))
    return tuple(path[field] for field in fields)


def parse_history(path: Mapping[str, str], query: Mapping[str, str], limits: NativeFrameLimits) -> HistorySearch:
    """Return what is searched for.

    Parameters of other names are not looked at; of a repeated one the last counts.

    Raises:
        InvalidFields: lists every faulty parameter.
    """
    reader = _Reader(query)
    reader.faults += name_faults({"name": path["name"]})
    search = HistorySearch(
        event=reader.name("event"),
        since_ms=reader.time("from"),
        until_ms=reader.time("to"),
        limit=reader.integer("limit", 1, limits.rows_max) or limits.rows_max,
        offset=reader.integer("offset", 0) or 0,
        status_code=reader.integer("responseCode", 100, 599),
        attempts_min=reader.integer("minAttempts", 0),
        phases=reader.status("status"),
    )
    refuse(reader.faults)
    return search


class _Reader:
    """Reads parameters and gathers their faults."""

    def __init__(self, query: Mapping[str, str]) -> None:
        self._query = query
        self.faults: list[Fault] = []

    def name(self, field: str) -> str | None:
        text = self._query.get(field)
        if text is not None:
            self.faults += name_faults({field: text})
        return text

    def time(self, field: str) -> int | None:
        text = self._query.get(field)
        if text is None:
            return None
        # An offset's "+" that was not escaped arrives as a space.
        at_ms = parse_rfc3339(text[:_TIME_PART] + text[_TIME_PART:].replace(" ", "+"))
        if at_ms is None:
            self.faults.append(Fault(field, "must be an ISO 8601 date-time", FaultCode.PATTERN))
        return at_ms

    def integer(self, field: str, low: int, high: int | None = None) -> int | None:
        text = self._query.get(field)
        if text is None:
            return None
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            self.faults.append(Fault(field, "must be an integer in decimal digits", FaultCode.TYPE))
            return None
        number = int(digits) if len(digits) <= _DIGITS_MAX else _NUMBER_MAX
        if digits != text:
            number = -number
        if number < low or (high is not None and number > high):
            bounds = f"{low} or more" if high is None else f"{low} to {high}"
            self.faults.append(Fault(field, f"must be {bounds}", FaultCode.RANGE))
        return min(number, _NUMBER_MAX)

    def status(self, field: str) -> frozenset[DeliveryPhase]:
        text = self._query.get(field)
        phases = PHASES_OF_STATUS.get(text, frozenset()) if text is not None else frozenset()
        if text is not None and not phases:
            self.faults.append(Fault(field, f"must be one of {', '.join(PHASES_OF_STATUS)}", FaultCode.CHOICE))
        return phases


def parse_delivery_id(path: Mapping[str, str]) -> tuple[str, DeliveryId]:
    """Return the webhook's name and the delivery's id.

    Raises:
        InvalidFields: one of them is malformed.
    """
    faults = name_faults({"name": path["name"]})
    found = parse_dashed(path["id"])
    if found is None:
        faults.append(Fault("id", _ID_RULE, FaultCode.PATTERN))
    refuse(faults)
    return path["name"], DeliveryId(found or b"")


def parse_event(
    path: Mapping[str, str],
    query: Mapping[str, str],
    body: bytes,
    *,
    organisation_id: OrganisationId,
    environment: Environment,
    now_ms: int,
    limits: NativeFrameLimits,
) -> NewNativeEvent:
    """Return the event to store; its data are the bytes of the body.

    The client's own id is its idempotency key in its environment. The same request means the same project, event and
    payload as a value: spaces and the order of members do not count.

    Raises:
        InvalidFields: a name or the id is malformed, or the payload is no object.
        MalformedBody: the body is not JSON.
    """
    project, event = path["project"], path["event"]
    faults = name_faults({"project": project, "event": event})
    given = query.get("id")
    client_id = None if given is None else parse_dashed(given)
    if given is not None and client_id is None:
        faults.append(Fault("id", _ID_RULE, FaultCode.PATTERN))
    payload = read_object(body, faults)
    refuse(faults)
    source_id = None if client_id is None else dashed(client_id)
    draft = Draft(
        organisation_id=organisation_id,
        dialect=Dialect.NATIVEFRAME,
        source=PROJECT_SOURCE + project,
        type=event,
        time_ms=now_ms,
        data=body,
        environment=environment,
    )
    if source_id is None:
        return NewNativeEvent(draft, None)
    key = idempotency_key(
        organisation_id,
        f"nativeframe/{environment}",
        source_id,
        digest(project.encode(), event.encode(), _canonical(payload)),
        expires_after_ms=limits.idempotency_ms,
    )
    draft = msgspec.structs.replace(draft, extension={"source_id": source_id}, idempotency=(key,))
    return NewNativeEvent(draft, source_id)


def parse_ttl_s(body: bytes) -> int | None:
    """Return the lifetime that is asked for a token; None without one, as in an empty body.

    Raises:
        InvalidFields: another member, or no integer.
        MalformedBody: the body is not JSON.
    """
    if not body.strip():
        return None
    faults: list[Fault] = []
    value = read_object(body, faults) or {}
    faults += unknown_faults(value, {"ttl_s"})
    ttl_s = value.get("ttl_s")
    is_integer = isinstance(ttl_s, int) and not isinstance(ttl_s, bool)
    if "ttl_s" in value and not is_integer:
        faults.append(Fault("ttl_s", "must be an integer", FaultCode.TYPE))
    refuse(faults)
    return ttl_s if is_integer else None


def read_object(body: bytes, faults: list[Fault]) -> dict[str, Any] | None:
    """Return the object that a body holds; None, and one more fault, where it holds something else.

    Raises:
        MalformedBody: the body is not JSON, and there are no other faults to list it with.
    """
    try:
        value = strict_json.decode(body)
    except MalformedBody:
        if not faults:
            raise
        value = None
    if isinstance(value, dict):
        return value
    faults.append(Fault("body", "must be a JSON object", FaultCode.TYPE))
    return None


def unknown_faults(value: Mapping[str, Any], known: set[str] | frozenset[str]) -> list[Fault]:
    """Return a fault for each member that is not known."""
    return [Fault(name, "is not a field of this request", FaultCode.UNKNOWN) for name in value if name not in known]

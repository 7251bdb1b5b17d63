"""What a list of events asks for: from the query's text to the engine's query."""

from __future__ import annotations

import base64
import string
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

import msgspec

from tocsin.core.clock import TIME_MIN_MS
from tocsin.core.delivery import EventStatus
from tocsin.core.destination import Filter
from tocsin.core.event import Dialect, Environment, Severity
from tocsin.core.glob import glob, is_glob
from tocsin.core.identifiers import DestinationId, OrganisationId, parse_prefixed
from tocsin.dialects.promptjang.limits import PromptJangLimits
from tocsin.dialects.promptjang.parsing import (
    ENDPOINT,
    endpoint_source,
    invalid,
    number_of,
    parse_endpoint_id,
    pattern_of,
    time_of,
)
from tocsin.engine.rows import EventQuery

OFFSET_MAX = 2**63 - 1
"""The largest offset that a store can be asked for."""

_CURSOR = frozenset(string.ascii_letters + string.digits + "-_")
_CURSOR_CHARACTERS = 22
"""Those of 16 bytes: a list's cursor is the id of its last event."""

FILTER_NAMES = (
    "status",
    "type",
    "event_type",
    "source",
    "subject",
    "endpoint_id",
    "dialect",
    "destination",
    "severity",
    "q",
    "since",
    "until",
)
"""Every parameter that narrows the list, by which a bulk replay is narrowed too."""

FAILED = "FAILED"
"""A published state that no event is ever seen in: what failed is at once waiting for its retry, or given up."""

EnumT = TypeVar("EnumT", bound=StrEnum)


class EventListing(msgspec.Struct, frozen=True, kw_only=True):
    """A page of events that was asked for.

    Attributes:
        query: None where nothing can match, such as an endpoint that cannot exist.
        cursor: where the page begins, instead of ``offset``.
        searched_since_ms: since when a text is searched for, where the request did not say.
    """

    query: EventQuery | None
    limit: int
    offset: int
    cursor: bytes | None
    searched_since_ms: int | None = None


def parse_listing(
    query: Mapping[str, str],
    *,
    organisation_id: OrganisationId,
    environment: Environment,
    now_ms: int,
    limits: PromptJangLimits,
) -> EventListing:
    """Return what the parameters ask for; those it does not know are passed over.

    A search text without ``since`` is bounded to the latest stretch of time before ``until``.

    Raises:
        InvalidRequest: a value is out of bounds or malformed.
    """
    limit = number_of(query, "limit", default=limits.page_default, least=1, most=limits.page_max)
    offset = number_of(query, "offset", default=0, least=0, most=OFFSET_MAX)
    cursor = parse_cursor(query.get("cursor"))
    if cursor is not None and offset:
        raise invalid("offset", "cannot be combined with cursor")
    status = query.get("status")
    since_ms, until_ms, text = _time(query, "since"), _time(query, "until"), _text(query, limits)
    types = _types(query, limits)
    looks_back = text is not None and since_ms is None
    if looks_back:
        latest_ms = min(now_ms, now_ms if until_ms is None else until_ms)
        since_ms = max(TIME_MIN_MS, latest_ms - limits.search_window_ms)
    wanted = _only(
        EventQuery(
            organisation_id=organisation_id,
            environment=environment,
            since_ms=since_ms,
            until_ms=until_ms,
            filter=_filter(query, types or (), limits),
            text=text,
            status=None if status == FAILED else _choice(EventStatus, query, "status"),
            with_data=False,
        ),
        query,
    )
    return EventListing(
        query=None if status == FAILED or types is None else wanted,
        limit=limit,
        offset=offset,
        cursor=cursor,
        searched_since_ms=since_ms if looks_back else None,
    )


def _text(query: Mapping[str, str], limits: PromptJangLimits) -> str | None:
    text = query.get("q")
    if text is not None and not 0 < len(text) <= limits.search_characters_max:
        raise invalid("q", f"must have 1 to {limits.search_characters_max} characters")
    return text


def _filter(query: Mapping[str, str], types: tuple[str, ...], limits: PromptJangLimits) -> Filter:
    return Filter(
        dialects=_choices(Dialect, query, "dialect", limits),
        severities=_choices(Severity, query, "severity", limits),
        sources=() if "source" not in query else (pattern_of(query["source"], "source", limits),),
        subjects=() if "subject" not in query else (pattern_of(query["subject"], "subject", limits),),
        types=types,
    )


def _types(query: Mapping[str, str], limits: PromptJangLimits) -> tuple[str, ...] | None:
    """Return what ``type`` and ``event_type``, two names of one thing, want together; None where they exclude all."""
    ours, published = (_patterns(query, name, limits) for name in ("type", "event_type"))
    if not ours or not published or ours == published:
        return ours or published
    exact, others = (ours, published) if not any(map(is_glob, ours)) else (published, ours)
    if any(map(is_glob, exact)):
        raise invalid("type", "cannot be combined with another event_type where both have patterns")
    return tuple(each for each in exact if any(glob(pattern)(each) for pattern in others)) or None


def _patterns(query: Mapping[str, str], name: str, limits: PromptJangLimits) -> tuple[str, ...]:
    return tuple(pattern_of(each, name, limits) for each in _several(query, name, limits))


def _several(query: Mapping[str, str], name: str, limits: PromptJangLimits) -> list[str]:
    """Return the values of a parameter, with commas between them."""
    if name not in query:
        return []
    values = query[name].split(",")
    if len(values) > limits.values_max:
        raise invalid(name, f"must be at most {limits.values_max} values with commas between them")
    return values


def _only(wanted: EventQuery, query: Mapping[str, str]) -> EventQuery | None:
    """Return the query narrowed to an endpoint and a destination; None where they exclude all.

    Raises:
        InvalidRequest: the destination's id is none: whoever gives a name would take no events for an answer.
    """
    if "destination" in query:
        destination_id = parse_destination_id(query["destination"])
        if destination_id is None:
            raise invalid("destination", "must be a destination's id: dst_ and 32 hex digits")
        wanted = msgspec.structs.replace(wanted, destination_id=destination_id)
    if "endpoint_id" in query:
        endpoint_id = parse_endpoint_id(query["endpoint_id"])
        if endpoint_id is None:
            return None
        source = endpoint_source(endpoint_id)
        wanted = msgspec.structs.replace(wanted, dialect=Dialect.PROMPTJANG, source=source)
    return wanted


def parse_destination_id(text: str) -> DestinationId | None:
    """Return a destination's id, written as an endpoint's or as the native routes do, or None."""
    found = parse_prefixed("dst", text) or parse_prefixed(ENDPOINT, text)
    return None if found is None else DestinationId(found)


def parse_cursor(text: str | None) -> bytes | None:
    """Return the engine's cursor that ``text`` stands for, or None without one.

    Raises:
        InvalidRequest: no list gave this cursor.
    """
    if text is None:
        return None
    if len(text) == _CURSOR_CHARACTERS and _CURSOR.issuperset(text):
        return base64.urlsafe_b64decode(text + "==")
    raise invalid("cursor", "is not one that a list gave")


def show_cursor(cursor: bytes | None) -> str | None:
    """Return the engine's cursor as text that fits into a URL."""
    return None if cursor is None else base64.urlsafe_b64encode(cursor).rstrip(b"=").decode()


def _time(query: Mapping[str, str], name: str) -> int | None:
    return time_of(query[name], name) if name in query else None


def _choice(kind: type[EnumT], query: Mapping[str, str], name: str) -> EnumT | None:
    return _one(kind, query[name], name) if name in query else None


def _choices(kind: type[EnumT], query: Mapping[str, str], name: str, limits: PromptJangLimits) -> tuple[EnumT, ...]:
    return tuple(_one(kind, each, name) for each in _several(query, name, limits))


def _one(kind: type[EnumT], text: str, name: str) -> EnumT:
    try:
        return kind(text)
    except ValueError:
        raise invalid(name, f"must be one of {', '.join(each.value for each in kind)}") from None

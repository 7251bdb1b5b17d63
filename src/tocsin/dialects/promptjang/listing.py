"""What a list of events asks for: from the query's text to the engine's query."""

from __future__ import annotations

import base64
import string
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

import msgspec

from tocsin.core.delivery import EventStatus
from tocsin.core.event import Dialect, Environment, Severity
from tocsin.core.identifiers import DestinationId, OrganisationId, parse_prefixed
from tocsin.dialects.promptjang.limits import PromptJangLimits
from tocsin.dialects.promptjang.parsing import (
    ENDPOINT,
    endpoint_source,
    invalid,
    number_of,
    parse_endpoint_id,
    time_of,
)
from tocsin.engine.rows import EventQuery

OFFSET_MAX = 2**63 - 1
"""The largest offset that a store can be asked for."""

_CURSOR = frozenset(string.ascii_letters + string.digits + "-_")
_CURSOR_CHARACTERS = 22
"""Those of 16 bytes: a list's cursor is the id of its last event."""

_GLOB = frozenset("*?[")
_EXACT = ("type", "event_type", "source")
"""The parameters that are compared as they stand."""

FAILED = "FAILED"
"""A published state that no event is ever seen in: what failed is at once waiting for its retry, or given up."""

EnumT = TypeVar("EnumT", bound=StrEnum)


class EventListing(msgspec.Struct, frozen=True, kw_only=True):
    """A page of events that was asked for.

    Attributes:
        query: None where nothing can match, such as an endpoint that cannot exist.
        cursor: where the page begins, instead of ``offset``.
    """

    query: EventQuery | None
    limit: int
    offset: int
    cursor: bytes | None


def parse_listing(
    query: Mapping[str, str],
    *,
    organisation_id: OrganisationId,
    environment: Environment,
    limits: PromptJangLimits,
) -> EventListing:
    """Return what the parameters ask for; those it does not know are passed over.

    A search text and a pattern are known and refused, until there is a search: passed over, the one would list
    everything and the other, compared as it stands, nothing.

    Raises:
        InvalidRequest: a value is out of bounds or malformed.
    """
    _refuse_searches(query)
    limit = number_of(query, "limit", default=limits.page_default, least=1, most=limits.page_max)
    offset = number_of(query, "offset", default=0, least=0, most=OFFSET_MAX)
    cursor = parse_cursor(query.get("cursor"))
    if cursor is not None and offset:
        raise invalid("offset", "cannot be combined with cursor")
    status = query.get("status")
    wanted = _only(
        EventQuery(
            organisation_id=organisation_id,
            environment=environment,
            since_ms=_time(query, "since"),
            until_ms=_time(query, "until"),
            status=None if status == FAILED else _choice(EventStatus, query, "status"),
            dialect=_choice(Dialect, query, "dialect"),
            severity=_choice(Severity, query, "severity"),
            with_data=False,
        ),
        query,
    )
    return EventListing(
        query=None if status == FAILED else wanted,
        limit=limit,
        offset=offset,
        cursor=cursor,
    )


def _refuse_searches(query: Mapping[str, str]) -> None:
    if "q" in query:
        raise invalid("q", "is not supported yet")
    for name in _EXACT:
        if not _GLOB.isdisjoint(query.get(name, "")):
            raise invalid(name, "must be an exact value: patterns with *, ? and [ are not supported yet")


def _only(wanted: EventQuery, query: Mapping[str, str]) -> EventQuery | None:
    """Return the query narrowed to an endpoint, a source, a type and a destination; None where they exclude all."""
    sources = [query["source"]] if "source" in query else []
    if "endpoint_id" in query:
        endpoint_id = parse_endpoint_id(query["endpoint_id"])
        if endpoint_id is None or wanted.dialect not in (None, Dialect.PROMPTJANG):
            return None
        sources.append(endpoint_source(endpoint_id))
        wanted = msgspec.structs.replace(wanted, dialect=Dialect.PROMPTJANG)
    types = [query[name] for name in ("event_type", "type") if name in query]
    destination_id = None
    if "destination" in query:
        destination_id = parse_destination_id(query["destination"])
        if destination_id is None:
            return None
    if len(set(sources)) > 1 or len(set(types)) > 1:
        return None
    return msgspec.structs.replace(
        wanted,
        source=sources[0] if sources else None,
        type=types[0] if types else None,
        destination_id=destination_id,
    )


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
    if name not in query:
        return None
    try:
        return kind(query[name])
    except ValueError:
        raise invalid(name, f"must be one of {', '.join(each.value for each in kind)}") from None

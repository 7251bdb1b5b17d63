"""Incidents: what PushGo's events create, update and close."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from tocsin.core.environment import Environment
from tocsin.core.identifiers import EventId, OrganisationId


class IncidentState(StrEnum):
    """Where an incident stands."""

    ONGOING = "ongoing"
    CLOSED = "closed"


class IncidentAction(StrEnum):
    """What an event does to its incident."""

    CREATE = "create"
    UPDATE = "update"
    CLOSE = "close"


class IncidentChange(msgspec.Struct, frozen=True, kw_only=True):
    """An event's effect on an incident.

    Attributes:
        incident_id: whose; None on create, whose event's own id becomes the incident's.
        channel: the scope in which the incident is known; another's incident is not found.
        at_ms: the event's own time, which decides between late and too late.
        environment: the event's; an incident of the other one is not found.
        profile: the fields that this event carries; they replace what stood.
        attrs: a patch, merged by ``patched``.
        attrs_bytes_max: the longest JSON text that the merged attrs may have; None is any length.
    """

    action: IncidentAction
    channel: str
    at_ms: int
    incident_id: EventId | None = None
    environment: Environment = Environment.LIVE
    profile: dict[str, Any] = {}
    attrs: dict[str, Any] = {}
    attrs_bytes_max: int | None = None


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """One incident as it stands.

    Attributes:
        id: the id of the event that created it.
        profile: title, description, status, message, severity, tags, images, ... as last told.
        attrs: the patches of all its events, merged.
    """

    id: EventId
    organisation_id: OrganisationId
    channel: str
    state: IncidentState
    opened_ms: int
    updated_ms: int
    closed_ms: int | None = None
    environment: Environment = Environment.LIVE
    profile: dict[str, Any] = {}
    attrs: dict[str, Any] = {}


class IncidentRefusal(StrEnum):
    """Why an event may not move its incident."""

    NOT_FOUND = "event_not_found"
    CLOSED = "event_closed"
    ATTRS_TOO_LARGE = "attrs_too_large"


def patched(attrs: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Return ``attrs`` with ``patch`` merged in: null deletes a key, a nested object is merged in the same way.

    Source: RFC 7396 for the meaning of null.
    """
    merged = dict(attrs)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            under = merged.get(key)
            merged[key] = patched(under if isinstance(under, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def advance(
    incident: Incident | None, change: IncidentChange, event_id: EventId, organisation_id: OrganisationId
) -> Incident | IncidentRefusal:
    """Return the incident after ``change``, or why it is refused.

    An update that happened before the close is recorded late and changes nothing but the timeline.

    Args:
        incident: as it stands; None when there is none of that id.
        event_id: the id of the event that carries the change.
    """
    if change.action is IncidentAction.CREATE:
        attrs = patched({}, change.attrs)
        if _too_large(attrs, change):
            return IncidentRefusal.ATTRS_TOO_LARGE
        return Incident(
            id=event_id,
            organisation_id=organisation_id,
            channel=change.channel,
            state=IncidentState.ONGOING,
            opened_ms=change.at_ms,
            updated_ms=change.at_ms,
            environment=change.environment,
            profile=change.profile,
            attrs=attrs,
        )
    if incident is None or _scope(incident.organisation_id, incident) != _scope(organisation_id, change):
        return IncidentRefusal.NOT_FOUND
    if incident.state is IncidentState.CLOSED:
        late = (
            change.action is IncidentAction.UPDATE
            and incident.closed_ms is not None
            and change.at_ms < incident.closed_ms
        )
        return incident if late else IncidentRefusal.CLOSED
    closing = change.action is IncidentAction.CLOSE
    attrs = patched(incident.attrs, change.attrs)
    if _too_large(attrs, change):
        return IncidentRefusal.ATTRS_TOO_LARGE
    return msgspec.structs.replace(
        incident,
        state=IncidentState.CLOSED if closing else IncidentState.ONGOING,
        updated_ms=max(incident.updated_ms, change.at_ms),
        closed_ms=change.at_ms if closing else None,
        profile=incident.profile | change.profile,
        attrs=attrs,
    )


def _scope(
    organisation_id: OrganisationId, known: Incident | IncidentChange
) -> tuple[OrganisationId, Environment, str]:
    return organisation_id, known.environment, known.channel


def _too_large(attrs: dict[str, Any], change: IncidentChange) -> bool:
    # A change that brings no attrs is never refused for them: an incident can be closed whatever has piled up in it.
    if change.attrs_bytes_max is None or not change.attrs:
        return False
    return len(msgspec.json.encode(attrs)) > change.attrs_bytes_max

"""The flat map of strings that a device pulls.

What the request said is kept in the event's extension in the payload's own spelling, so that a pulled item is put
together without reading the request again.
"""

from __future__ import annotations

from typing import Any

from tocsin.core.device import MailboxItem
from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import created_ms, hex32
from tocsin.core.incident import IncidentAction, IncidentState
from tocsin.dialects.pushgo.event_request import EventFields
from tocsin.dialects.pushgo.fields import canonical
from tocsin.dialects.pushgo.message_request import MessageFields

SOURCE_PREFIX = "pushgo/channel/"
"""In front of the channel's id, an event's source."""
EVENT_TYPES = {
    IncidentAction.CREATE: "event.created",
    IncidentAction.UPDATE: "event.updated",
    IncidentAction.CLOSE: "event.closed",
}
MESSAGE_TYPE = "message"

_SCHEMA_VERSION = "1"
_PAYLOAD_VERSION = "1"
_STATES = {IncidentState.ONGOING: "ONGOING", IncidentState.CLOSED: "CLOSED"}
_STRANGERS_BODY_CHARACTERS_MAX = 4096


def event_extension(op_id: str, fields: EventFields) -> dict[str, Any]:
    """Return what a pulled event tells of its request."""
    told = {
        "op_id": op_id,
        "event_time": str(fields.event_time_ms),
        "title": fields.title,
        "description": fields.description,
        "status": fields.status,
        "message": fields.message,
        "severity": fields.severity.value,
        "tags": _json_or_none(fields.tags),
        "images": _json_or_none(fields.images),
        "attrs": _json_or_none(fields.attrs),
        "metadata": _json_or_none(fields.metadata),
        "started_at": _text_or_none(fields.started_ms),
        "ended_at": _text_or_none(fields.ended_ms),
        "thing_id": fields.thing_id,
        "ciphertext": fields.ciphertext,
    }
    return {name: value for name, value in told.items() if value is not None}


def message_extension(op_id: str, fields: MessageFields) -> dict[str, Any]:
    """Return what a pulled message tells of its request."""
    told = {
        "op_id": op_id,
        "occurred_at": _text_or_none(fields.occurred_ms),
        "title": fields.title,
        "body": fields.body,
        "severity": fields.severity.value,
        "ttl": _text_or_none(fields.ttl_ms),
        "url": fields.url,
        "tags": _json_or_none(fields.tags),
        "images": _json_or_none(fields.images),
        "metadata": _json_or_none(fields.metadata),
        "thing_id": fields.thing_id,
        "ciphertext": fields.ciphertext,
    }
    return {name: value for name, value in told.items() if value is not None}


def payload(item: MailboxItem, *, mailbox_kept_ms: int) -> dict[str, str]:
    """Return the payload of a waiting item.

    Args:
        mailbox_kept_ms: the longest ttl that is told.
    """
    event = item.event
    accepted_ms = created_ms(event.id)
    told: dict[str, str] = {
        "schema_version": _SCHEMA_VERSION,
        "payload_version": _PAYLOAD_VERSION,
        "delivery_id": hex32(item.delivery_id),
        "ingested_at": str(accepted_ms),
        "sent_at": str(accepted_ms),
        "occurred_at": str(event.time_ms),
    }
    if event.dialect is not Dialect.PUSHGO:
        return told | _of_stranger(event)
    told["channel_id"] = event.source.removeprefix(SOURCE_PREFIX)
    if event.type == MESSAGE_TYPE:
        return told | _of_message(event, ttl_max_ms=accepted_ms + mailbox_kept_ms)
    return told | _of_event(event)


def _of_event(event: Event) -> dict[str, str]:
    said: dict[str, str] = event.extension
    incident_id = event.subject or hex32(event.id)
    state = event.incident_state
    if state is None:
        # A replay moves no incident; it tells the state that its own kind leads to.
        closes = event.type == EVENT_TYPES[IncidentAction.CLOSE]
        state = IncidentState.CLOSED if closes else IncidentState.ONGOING
    return {
        "title": f"Event {incident_id}",
        **said,
        "body": said["message"],
        "occurred_at": said["event_time"],
        "entity_type": "event",
        "entity_id": incident_id,
        "event_id": incident_id,
        "event_state": _STATES[state],
    }


def _of_message(event: Event, *, ttl_max_ms: int) -> dict[str, str]:
    said: dict[str, str] = event.extension
    message_id = hex32(event.id)
    told = {**said, "entity_type": "message", "entity_id": message_id, "message_id": message_id}
    if "ttl" in said:
        told["ttl"] = str(min(int(said["ttl"]), ttl_max_ms))
    return told


def _of_stranger(event: Event) -> dict[str, str]:
    """Tell an event of another dialect, which a mailbox destination brought here, as a message."""
    event_id = hex32(event.id)
    told = {
        "op_id": event_id,
        "entity_type": "message",
        "entity_id": event_id,
        "message_id": event_id,
        "title": event.type,
        "body": event.data.decode("utf-8", "replace")[:_STRANGERS_BODY_CHARACTERS_MAX],
        "severity": "normal" if event.severity is None else event.severity.value,
        "source": event.source,
    }
    if event.subject is not None:
        told["thing_id"] = event.subject
    return told


def _json_or_none(value: Any) -> str | None:
    return canonical(value) if value else None


def _text_or_none(value: int | None) -> str | None:
    return None if value is None else str(value)

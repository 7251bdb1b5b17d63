"""What /event/create, /event/update and /event/close ask for: read, judged and turned into a draft.

Pure: the channel is authenticated by the caller, between ``read_event`` and ``judge_event``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tocsin.core.errors import InvalidRequest
from tocsin.core.event import Severity
from tocsin.core.identifiers import digest
from tocsin.core.incident import IncidentAction
from tocsin.core.text import trim
from tocsin.dialects.pushgo.fields import (
    ENTITY_ID_BYTES_MAX,
    MESSAGE_CHARACTERS_MAX,
    OP_ID_BYTES_MAX,
    STATUS_CHARACTERS_MAX,
    TITLE_CHARACTERS_MAX,
    Body,
    canonical,
    check_attrs,
    check_metadata,
    check_names,
    identifier_in,
    images_in,
    read_attrs,
    read_filled_text,
    read_metadata,
    read_required_text,
    read_text,
    read_texts,
    read_time_ms,
    severity_in,
    short_text_in,
    tags_in,
)

_FIELDS_OF_CREATE = frozenset(
    {
        "channel_id",
        "password",
        "op_id",
        "thing_id",
        "title",
        "description",
        "status",
        "message",
        "severity",
        "event_time",
        "started_at",
        "ended_at",
        "tags",
        "images",
        "attrs",
        "metadata",
        "ciphertext",
    }
)
_FIELDS = {
    IncidentAction.CREATE: _FIELDS_OF_CREATE,
    IncidentAction.UPDATE: _FIELDS_OF_CREATE | {"event_id"},
    IncidentAction.CLOSE: _FIELDS_OF_CREATE | {"event_id"},
}


class EventBody(msgspec.Struct, frozen=True, kw_only=True):
    """An event's request after its JSON and types were judged; absent, null and blank are told apart no more."""

    channel_id: str
    password: str | None
    op_id: str | None
    thing_id: str | None
    event_id: str | None
    title: str | None
    description: str | None
    status: str | None
    message: str | None
    severity: str | None
    event_time_ms: int | None
    started_ms: int | None
    ended_ms: int | None
    tags: list[str] | None
    images: list[str] | None
    attrs: dict[str, Any] | None
    metadata: dict[str, Any]
    ciphertext: str | None


class EventFields(msgspec.Struct, frozen=True, kw_only=True):
    """What an event says, every value allowed and in its one spelling: two requests are the same when these are.

    Attributes:
        tags, images, attrs, metadata: None when the request has none; an empty list replaces what the incident had.
        started_ms: on create only. ended_ms: on close only.
    """

    status: str
    message: str
    severity: Severity
    event_time_ms: int
    title: str | None
    description: str | None
    started_ms: int | None
    ended_ms: int | None
    thing_id: str | None
    tags: list[str] | None
    images: list[str] | None
    attrs: dict[str, Any]
    metadata: dict[str, Any]
    ciphertext: str | None


class EventRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A judged request.

    Attributes:
        op_id: None when the gateway is to make one.
        event_id: whose incident, as the client wrote it; None on create.
    """

    action: IncidentAction
    op_id: str | None
    event_id: str | None
    fields: EventFields


def read_event(body: Body, action: IncidentAction) -> EventBody:
    """Return a request's fields with their types checked; ``invalid_json_data`` otherwise."""
    check_names(body, _FIELDS[action])
    return EventBody(
        channel_id=read_required_text(body, "channel_id"),
        password=read_filled_text(body, "password"),
        op_id=read_filled_text(body, "op_id"),
        thing_id=read_filled_text(body, "thing_id"),
        event_id=None if action is IncidentAction.CREATE else read_required_text(body, "event_id"),
        title=read_text(body, "title"),
        description=read_filled_text(body, "description"),
        status=read_text(body, "status"),
        message=read_text(body, "message"),
        severity=read_text(body, "severity"),
        event_time_ms=read_time_ms(body, "event_time"),
        started_ms=read_time_ms(body, "started_at"),
        ended_ms=read_time_ms(body, "ended_at"),
        tags=read_texts(body, "tags", null_is_absent=True),
        images=read_texts(body, "images", null_is_absent=False),
        attrs=read_attrs(body),
        metadata=read_metadata(body),
        ciphertext=_opaque(read_text(body, "ciphertext")),
    )


def judge_event(body: EventBody, action: IncidentAction) -> EventRequest:
    """Return what a request asks for, or raise what is wrong with it, in the contract's order from op_id on."""
    op_id = None if body.op_id is None else identifier_in(body.op_id, "op_id", OP_ID_BYTES_MAX)
    thing_id = None if body.thing_id is None else identifier_in(body.thing_id, "thing_id", ENTITY_ID_BYTES_MAX)
    event_id = None if body.event_id is None else identifier_in(body.event_id, "event_id", ENTITY_ID_BYTES_MAX)
    tags = None if body.tags is None else tags_in(body.tags)
    severity = None if body.severity is None else severity_in(body.severity)
    status = None if body.status is None else short_text_in(body.status, "status", STATUS_CHARACTERS_MAX)
    message = None if body.message is None else short_text_in(body.message, "message", MESSAGE_CHARACTERS_MAX)
    images = None if body.images is None else images_in(body.images)
    check_attrs(body.attrs or {})
    check_metadata(body.metadata)
    _check_times(body, action)
    if status is None or message is None or severity is None:
        raise _required_missing(action)
    _check_title(body.title, action)
    if body.event_time_ms is None:
        raise InvalidRequest("event_time is required", code="event_time_required")
    opens, closes = action is IncidentAction.CREATE, action is IncidentAction.CLOSE
    return EventRequest(
        action=action,
        op_id=op_id,
        event_id=event_id,
        fields=EventFields(
            status=status,
            message=message,
            severity=severity,
            event_time_ms=body.event_time_ms,
            title=body.title,
            description=body.description,
            started_ms=_given(body.started_ms, body.event_time_ms) if opens else None,
            ended_ms=_given(body.ended_ms, body.event_time_ms) if closes else None,
            thing_id=thing_id,
            tags=tags,
            images=images,
            attrs=body.attrs or {},
            metadata=body.metadata,
            ciphertext=body.ciphertext,
        ),
    )


def fingerprint(fields: EventFields) -> bytes:
    """Return 16 bytes that are the same for two requests that say the same."""
    return digest(canonical(fields).encode())


def attrs_patch(fields: EventFields) -> dict[str, Any]:
    """Return the patch that the incident's attrs are merged with."""
    return dict(fields.attrs)


def profile(fields: EventFields) -> dict[str, Any]:
    """Return what the incident takes over: the fields that this event carries."""
    told = {
        "title": fields.title,
        "description": fields.description,
        "status": fields.status,
        "message": fields.message,
        "severity": fields.severity.value,
        "tags": fields.tags,
        "images": fields.images,
        "metadata": fields.metadata or None,
        "thing_id": fields.thing_id,
        "started_at": fields.started_ms,
        "ended_at": fields.ended_ms,
    }
    return {name: value for name, value in told.items() if value is not None}


def _check_times(body: EventBody, action: IncidentAction) -> None:
    if action is IncidentAction.CREATE and body.ended_ms is not None:
        raise InvalidRequest("ended_at is only allowed on /event/close", code="ended_at_forbidden_on_create")
    if action is IncidentAction.UPDATE and (body.started_ms is not None or body.ended_ms is not None):
        raise InvalidRequest(
            "started_at and ended_at are not allowed on /event/update",
            code="event_temporal_fields_forbidden_on_update",
        )
    if action is IncidentAction.CLOSE and body.started_ms is not None:
        raise InvalidRequest("started_at is only allowed on /event/create", code="started_at_forbidden_on_close")


def _check_title(title: str | None, action: IncidentAction) -> None:
    if title is None and action is IncidentAction.CREATE:
        raise _required_missing(action)
    if title is not None and len(title) > TITLE_CHARACTERS_MAX:
        raise InvalidRequest("title is too long", code="invalid_title")


def _required_missing(action: IncidentAction) -> InvalidRequest:
    if action is IncidentAction.CREATE:
        return InvalidRequest(
            "title, status, message and severity are required on /event/create",
            code="event_create_required_fields_missing",
        )
    return InvalidRequest(
        "status, message and severity are required on /event/update and /event/close",
        code="event_update_required_fields_missing",
    )


def _given(value: int | None, default: int) -> int:
    return default if value is None else value


def _opaque(text: str | None) -> str | None:
    # Passed on as it was sent: white space may belong to it. A blank one says nothing.
    return text if text is not None and trim(text) else None

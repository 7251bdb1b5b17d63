"""/event/create, /event/update, /event/close."""

from __future__ import annotations

from tocsin.core.organisation import Scope
from tocsin.dialects.pushgo.describing.shared import (
    CHANNEL_FAULTS,
    CHANNEL_ID,
    CHANNEL_ID_SHOWN,
    CIPHERTEXT,
    EXAMPLE_CHANNEL,
    EXAMPLE_PASSWORD,
    METADATA,
    MOMENT,
    OP_ID,
    PASSWORD,
    SEVERITY,
    THING_ID,
    enveloped,
    id_of_client,
    texts,
    united,
)
from tocsin.dialects.pushgo.fields import (
    ENTITY_ID_BYTES_MAX,
    IMAGE_BYTES_MAX,
    MESSAGE_CHARACTERS_MAX,
    STATUS_CHARACTERS_MAX,
    TAG_BYTES_MAX,
    TITLE_CHARACTERS_MAX,
)
from tocsin.dialects.pushgo.limits import PushGoLimits
from tocsin.web.openapi import Answer, Body, Operation
from tocsin.web.openapi.model import Codes
from tocsin.web.openapi.schemas import always, identifier, mapping, nullable, record, text

_EVENT_ID: str = identifier("")["examples"][0]
_STARTED_MS = 1772793000000
_MINUTE_MS = 60_000

_FAULTS: Codes = {
    400: (
        "password_required",
        "invalid_op_id",
        "invalid_thing_id",
        "invalid_status",
        "invalid_message",
        "invalid_severity",
        "invalid_tags",
        "invalid_images",
        "invalid_title",
        "event_time_required",
        "metadata_key_too_long",
        "metadata_value_too_long",
        "extension_object_key_required",
        "extension_object_arrays_unsupported",
        "extension_object_nested_object_unsupported",
        "attrs_too_large",
    ),
    409: ("op_id_conflict",),
}
_FAULTS_LATER: Codes = {
    400: ("invalid_event_id", "event_update_required_fields_missing"),
    404: ("event_not_found",),
    409: ("event_closed",),
}


def operations(limits: PushGoLimits) -> dict[str, Operation]:
    """Return the operations."""
    create = {400: ("event_create_required_fields_missing", "ended_at_forbidden_on_create")}
    update = united(_FAULTS_LATER, {400: ("event_temporal_fields_forbidden_on_update",)})
    close = united(_FAULTS_LATER, {400: ("started_at_forbidden_on_close",)})
    return {
        "POST /event/create": Operation(
            summary="Open an incident",
            description="A repeat with the same `op_id` and fields is answered as the first was.",
            scope=Scope.INGEST,
            body=_body(limits, "create"),
            answers={200: _accepted()},
            errors=united(CHANNEL_FAULTS, _FAULTS, create),
        ),
        "POST /event/update": Operation(
            summary="Tell news of an incident",
            description="`attrs` is a patch, in which null deletes; `tags` and `images` replace what was there.",
            scope=Scope.INGEST,
            body=_body(limits, "update"),
            answers={200: _accepted()},
            errors=united(CHANNEL_FAULTS, _FAULTS, update),
        ),
        "POST /event/close": Operation(
            summary="Close an incident",
            scope=Scope.INGEST,
            body=_body(limits, "close"),
            answers={200: _accepted()},
            errors=united(CHANNEL_FAULTS, _FAULTS, close),
        ),
    }


def _accepted() -> Answer:
    return enveloped(
        "It is stored.",
        {
            "channel_id": CHANNEL_ID_SHOWN,
            "op_id": text(example="deploy-2026-03-06"),
            "event_id": text("The incident: the id of the event that opened it.", example=_EVENT_ID),
            "thing_id": nullable(text()),
            "accepted": always(True),
        },
    )


def _body(limits: PushGoLimits, action: str) -> Body:
    opens, closes = action == "create", action == "close"
    members = {
        "channel_id": CHANNEL_ID,
        "password": PASSWORD,
        "op_id": OP_ID,
        "thing_id": THING_ID,
        "event_id": id_of_client("The incident", bytes_max=ENTITY_ID_BYTES_MAX),
        "title": text(most=TITLE_CHARACTERS_MAX),
        "description": nullable(text()),
        "status": text(f"1-{STATUS_CHARACTERS_MAX} characters.", least=1),
        "message": text(f"1-{MESSAGE_CHARACTERS_MAX} characters.", least=1),
        "severity": SEVERITY,
        "event_time": MOMENT,
        "started_at": {**MOMENT, "description": "The same as `event_time` where it is left out."},
        "ended_at": {**MOMENT, "description": "The same as `event_time` where it is left out."},
        "tags": nullable(texts("Tags", bytes_max=TAG_BYTES_MAX)),
        "images": texts("URLs of images", bytes_max=IMAGE_BYTES_MAX),
        "attrs": mapping(description="Scalars, or objects of scalars; null deletes a key."),
        "metadata": METADATA,
        "ciphertext": CIPHERTEXT,
    }
    if opens:
        del members["event_id"]
    else:
        members["title"] = nullable(members["title"])
    # Null is as good as nothing where the contract has no such field.
    for name in ("started_at", "ended_at"):
        if not (opens and name == "started_at") and not (closes and name == "ended_at"):
            members[name] = nullable(text("Not on this route: null or blank.", pattern="^\\s*$"))
    required = {"channel_id", "password", "status", "message", "severity", "event_time"}
    required.add("title" if opens else "event_id")
    return Body(
        schema=record(members, optional=members.keys() - required, closed=True),
        bytes_max=limits.body_limit_bytes,
        example=_example(action),
    )


def _example(action: str) -> dict[str, object]:
    example: dict[str, object] = {"channel_id": EXAMPLE_CHANNEL, "password": EXAMPLE_PASSWORD}
    if action == "create":
        return example | {
            "op_id": "db-lag-1",
            "title": "Database lag",
            "status": "ongoing",
            "message": "Replica delay > 30s",
            "severity": "high",
            "event_time": _STARTED_MS,
            "tags": ["database"],
            "attrs": {"delay_s": 34},
        }
    example |= {"op_id": f"db-lag-{action}", "event_id": _EVENT_ID, "severity": "normal"}
    if action == "update":
        return example | {
            "status": "recovering",
            "message": "Replica delay < 10s",
            "event_time": _STARTED_MS + _MINUTE_MS,
            "attrs": {"delay_s": 8},
        }
    return example | {
        "status": "resolved",
        "message": "Replica has caught up",
        "event_time": _STARTED_MS + 2 * _MINUTE_MS,
    }

"""/message, /messages/pull and /messages/ack."""

from __future__ import annotations

from tocsin.core.organisation import Scope
from tocsin.dialects.pushgo.describing.shared import (
    CHANNEL_FAULTS,
    CHANNEL_ID,
    CHANNEL_ID_SHOWN,
    CIPHERTEXT,
    DEVICE_KEY,
    EXAMPLE_CHANNEL,
    EXAMPLE_PASSWORD,
    METADATA,
    MOMENT,
    OP_ID,
    PASSWORD,
    THING_ID,
    enveloped,
    texts,
    united,
)
from tocsin.dialects.pushgo.fields import IMAGE_BYTES_MAX, TAG_BYTES_MAX, UNCODED
from tocsin.dialects.pushgo.limits import PushGoLimits
from tocsin.dialects.pushgo.message_request import OPTIONAL, REQUIRED
from tocsin.web.openapi import Answer, Body, Operation, Parameter
from tocsin.web.openapi.model import Codes
from tocsin.web.openapi.schemas import Schema, always, flag, identifier, listed, mapping, nullable, record, text

_FAULTS: Codes = {
    400: (
        "invalid_thing_id",
        "invalid_op_id",
        "title_required",
        "metadata_key_too_long",
        "metadata_value_too_long",
        "occurred_at_required_for_thing_scoped_message",
        "invalid_images",
        "invalid_tags",
    ),
    409: ("op_id_conflict",),
}
_TIMES = "What says that an item is there: the id by which it is acknowledged."


def operations(limits: PushGoLimits) -> dict[str, Operation]:
    """Return the operations."""
    fields = _fields()
    schema = record(fields, optional=OPTIONAL, closed=True)
    example = {
        "channel_id": EXAMPLE_CHANNEL,
        "password": EXAMPLE_PASSWORD,
        "title": "Backup finished",
        "body": "12 GB in 4 minutes",
        "severity": "low",
    }
    return {
        "POST /message": Operation(
            summary="Send a message",
            description="A repeat with the same `op_id` and fields is answered as the first was.",
            scope=Scope.INGEST,
            body=Body(schema=schema, bytes_max=limits.body_limit_bytes, example=example),
            answers={200: _accepted()},
            errors=united(CHANNEL_FAULTS, _FAULTS),
        ),
        "GET /message": Operation(
            summary="Send a message by a query",
            description="The same request; lists have commas between their items, and metadata is JSON.",
            scope=Scope.INGEST,
            parameters=tuple(
                Parameter(
                    name=name,
                    schema=text(example=example.get(name)),
                    required=name in REQUIRED,
                    description=fields[name].get("description", ""),
                )
                for name in fields
            ),
            answers={200: _accepted()},
            errors=united(CHANNEL_FAULTS, _FAULTS, {400: ("invalid_query",)}),
        ),
    } | _mailbox(limits)


def _fields() -> dict[str, Schema]:
    return {
        "channel_id": CHANNEL_ID,
        "password": PASSWORD,
        "title": text("Not blank.", least=1),
        "body": nullable(text()),
        "op_id": OP_ID,
        "thing_id": THING_ID,
        "occurred_at": {**MOMENT, "description": "When it happened; a message with a thing_id needs it."},
        "severity": nullable(text("One of critical, high, normal and low; any other text is normal.")),
        "ttl": {**MOMENT, "description": "When it expires, in seconds or milliseconds since 1970."},
        "url": nullable(text()),
        "images": texts("URLs of images", bytes_max=IMAGE_BYTES_MAX),
        "ciphertext": CIPHERTEXT,
        "tags": texts("Tags", bytes_max=TAG_BYTES_MAX),
        "metadata": METADATA,
    }


def _accepted() -> Answer:
    return enveloped(
        "It is stored.",
        {
            "channel_id": CHANNEL_ID_SHOWN,
            "op_id": text(),
            "message_id": identifier(""),
            "thing_id": nullable(text()),
            "accepted": always(True),
        },
    )


def _mailbox(limits: PushGoLimits) -> dict[str, Operation]:
    pulled = record(
        {"device_key": DEVICE_KEY, "delivery_id": nullable(text("Only this one."))},
        optional=("delivery_id",),
        closed=True,
    )
    acknowledged = record({"device_key": DEVICE_KEY, "delivery_id": text(_TIMES)}, closed=True)
    item = record(
        {
            "delivery_id": identifier("", _TIMES),
            "payload": mapping(text(), "All of them texts.", example={"title": "Backup finished"}),
        }
    )
    return {
        "POST /messages/pull": Operation(
            summary="Pull what waits for a device",
            description="Oldest first; for an unknown device nothing. An item stays until it is acknowledged.",
            scope=Scope.MANAGE,
            body=Body(schema=pulled, bytes_max=limits.body_limit_bytes),
            answers={200: enveloped("Items.", {"items": listed(item, most=limits.pulled_items_max)})},
            errors={400: ("delivery_id_required", UNCODED)},
        ),
        "POST /messages/ack": Operation(
            summary="Acknowledge an item",
            scope=Scope.MANAGE,
            body=Body(schema=acknowledged, bytes_max=limits.body_limit_bytes),
            answers={200: enveloped("Whether it was there.", {"removed": flag()})},
            errors={400: ("delivery_id_required", UNCODED)},
        ),
    }

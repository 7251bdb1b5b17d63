"""The route of CloudEvents."""

from __future__ import annotations

from tocsin.core.cloudevents import SPEC_VERSION
from tocsin.core.organisation import Scope
from tocsin.dialects.native.limits import CloudEventsLimits
from tocsin.web.openapi import Answer, Body, Operation, Parameter
from tocsin.web.openapi.schemas import (
    Schema,
    always,
    anything,
    either,
    identifier,
    listed,
    nullable,
    record,
    text,
    time,
)

_DESCRIPTION = """\
In structured mode the body is the event, in batch mode a list of them, and in binary mode the body is the event's
data and its attributes are headers. `id` and `source` together are the idempotency key. Further attributes are
extensions."""
_EXAMPLE = {
    "specversion": "1.0",
    "id": "A234-1234-1234",
    "source": "/orders/berlin",
    "type": "com.example.order.paid",
    "time": "2026-03-06T10:30:00Z",
    "datacontenttype": "application/json",
    "data": {"order": 17},
}
_IN_HEADERS = ("specversion", "id", "source", "type", "subject", "time", "dataschema")


def operations(limits: CloudEventsLimits) -> dict[str, Operation]:
    """Return the operations."""
    event = _event(limits)
    batch = Body(
        schema=listed(event, most=limits.batch_events_max),
        content_type="application/cloudevents-batch+json",
        bytes_max=limits.body_bytes_max,
        example=[_EXAMPLE],
    )
    binary = Body(
        schema=anything("The data; content of another type is taken too.", example=_EXAMPLE["data"]),
        bytes_max=limits.body_bytes_max,
    )
    structured = Body(
        schema=event,
        content_type="application/cloudevents+json",
        bytes_max=limits.body_bytes_max,
        example=_EXAMPLE,
        required=False,
        also=(batch, binary),
    )
    one = record({"event_id": identifier("evt")})
    several = record({"event_ids": listed(identifier("evt"))})
    return {
        "POST /api/v1/cloudevents": Operation(
            summary="Store CloudEvents",
            description=_DESCRIPTION,
            scope=Scope.INGEST,
            parameters=tuple(
                Parameter(
                    name=f"ce-{name}",
                    place="header",
                    description="In binary mode.",
                    schema=text(least=1, example=SPEC_VERSION if name == "specversion" else None),
                )
                for name in _IN_HEADERS
            ),
            body=structured,
            answers={
                202: Answer(
                    description="They are stored. `Idempotent-Replayed` stands on the answer to a repeat.",
                    headers={"Idempotent-Replayed": always("true")},
                    schema=either(one, several),
                )
            },
            errors={409: ("idempotency_conflict",)},
        )
    }


def _event(limits: CloudEventsLimits) -> Schema:
    most = limits.attribute_characters_max
    uri = text(least=1, most=most)
    return record(
        {
            "specversion": always(SPEC_VERSION),
            "id": text(least=1, most=most),
            "source": uri,
            "type": text(least=1, most=most),
            "subject": nullable(text(least=1, most=most)),
            "time": nullable(time()),
            "dataschema": nullable(uri),
            "datacontenttype": nullable(text(least=1, most=most)),
            "data": anything(),
            "data_base64": nullable(text()),
        },
        optional=("subject", "time", "dataschema", "datacontenttype", "data", "data_base64"),
    )

"""The routes of the live stream, and of an event's data."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.core.organisation import Scope
from tocsin.core.stream import StreamKind
from tocsin.dialects.native.stream import DataForm
from tocsin.web import server_sent
from tocsin.web.openapi import Answer, Operation, Parameter
from tocsin.web.openapi.schemas import anything, listed, one_of, text

_DESCRIPTION = """\
Server-sent events that go on until the client leaves. `event: event` tells of an event that was accepted, `event:
delivery` of a delivery of which an attempt ended. Every message has an `id:`; who comes again with it as
`Last-Event-ID` goes on behind it.

Which events is said as in the list of events, where nothing but the event itself is needed to tell.
Filters that no event can match are refused.

Before it goes on, `gap` says that events are missing; `dropped` that this reader was too slow, `bye` why it ends."""
_BEGIN = "pos_57c1e0a9d3f64b2288e1c40fb96a7d35"
_POSITION = "pos_99b98cf67b2a718344474fafae00af30"
_EVENT = b"""\
{"id":"evt_0190a5c4b2f87c3d9e1f2a3b4c5d6e7f","dialect":"buildable","source":"buildable","type":"invoice.paid",\
"subject":null,"severity":null,"environment":"live","time":"2026-03-06T10:30:00.000Z",\
"created_at":"2026-03-06T10:30:00.000Z","replay_of":null}"""
_EXAMPLE = (
    server_sent.retry(3000) + server_sent.position(_BEGIN) + server_sent.message(_POSITION, StreamKind.EVENT, _EVENT)
).decode()


def operations(filters: Sequence[Parameter]) -> dict[str, Operation]:
    """Return the operations.

    Args:
        filters: the parameters by which events are filtered.
    """
    left_off = "The id of the last message that was read."
    return {
        "GET /api/v1/stream": Operation(
            summary="Follow events and deliveries as they happen",
            description=_DESCRIPTION,
            scope=Scope.READ,
            parameters=(
                Parameter(name="kinds", schema=listed(one_of(StreamKind), least=1)),
                *filters,
                Parameter(
                    name="data",
                    schema=one_of(DataForm),
                    description=(
                        "Tell events with their data: `true` as `data`, a JSON document; `raw` as `data_base64` and "
                        "`content_type`, byte for byte."
                    ),
                ),
                Parameter(name="last_event_id", schema=text(example=_POSITION), description=left_off),
                Parameter(name="Last-Event-ID", place="header", schema=text(), description=left_off),
            ),
            answers={
                200: Answer(
                    description="Messages.",
                    content_type=server_sent.CONTENT_TYPE[1].decode(),
                    schema=text(example=_EXAMPLE),
                )
            },
            errors={429: ("too_many_streams",), 503: ("streams_full",)},
        ),
        "GET /api/v1/events/{event_id}/data": Operation(
            summary="Get an event's data by themselves",
            description="Byte for byte, as a webhook of the format `raw` gets them.",
            scope=Scope.READ,
            answers={
                200: Answer(
                    description="The data, of the type that they came with.",
                    content_type="*/*",
                    schema=anything(example={"invoice": 17}),
                )
            },
            errors={404: ("not_found",)},
        ),
    }

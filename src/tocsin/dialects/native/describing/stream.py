"""The route of the live stream."""

from __future__ import annotations

from tocsin.core.event import Dialect, Severity
from tocsin.core.organisation import Scope
from tocsin.core.stream import StreamKind
from tocsin.dialects.native.describing.lists import DESTINATION_ID
from tocsin.dialects.native.limits import NativeLimits
from tocsin.web.openapi import Answer, Operation, Parameter
from tocsin.web.openapi.schemas import flag, listed, one_of, text
from tocsin.web.server_sent import CONTENT_TYPE

_DESCRIPTION = """\
Server-sent events that go on until the client leaves. `event: event` tells of an event that was accepted, `event:
delivery` of a delivery of which an attempt ended. Every message has an `id:`; who comes again with it as
`Last-Event-ID` goes on behind it.

Before it goes on, `gap` says that events are missing; `dropped` that this reader was too slow, `bye` why it ends."""
_EXAMPLE = 'id: 01a1\nevent: event\ndata: {"id":"evt_0190a5c4b2f87c3d9e1f2a3b4c5d6e7f","type":"invoice.paid"}\n\n'


def operations(limits: NativeLimits) -> dict[str, Operation]:
    """Return the operations."""
    term = text(least=1, most=limits.term_characters_max)
    left_off = "The id of the last message that was read."
    return {
        "GET /api/v1/stream": Operation(
            summary="Follow events and deliveries as they happen",
            description=_DESCRIPTION,
            scope=Scope.READ,
            parameters=(
                Parameter(name="kinds", schema=listed(one_of(StreamKind), least=1)),
                Parameter(name="dialect", schema=one_of(Dialect)),
                Parameter(name="source", schema=term, description="A glob."),
                Parameter(name="type", schema=term, description="A glob."),
                Parameter(name="subject", schema=term, description="A glob."),
                Parameter(name="severity", schema=one_of(Severity)),
                Parameter(name="destination", schema=DESTINATION_ID),
                Parameter(name="data", schema=flag(), description="Tell events with their data."),
                Parameter(name="last_event_id", schema=text(), description=left_off),
                Parameter(name="Last-Event-ID", place="header", schema=text(), description=left_off),
            ),
            answers={
                200: Answer(
                    description="Messages.",
                    content_type=CONTENT_TYPE[1].decode(),
                    schema=text(example=_EXAMPLE),
                )
            },
            errors={429: ("too_many_streams",), 503: ("streams_full",)},
        )
    }

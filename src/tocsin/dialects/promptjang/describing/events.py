"""The routes of events."""

from __future__ import annotations

from tocsin.core.clock import DAY_MS
from tocsin.core.delivery import EventStatus
from tocsin.core.event import Dialect, Severity
from tocsin.core.organisation import Scope
from tocsin.dialects.promptjang.limits import PromptJangLimits
from tocsin.dialects.promptjang.listing import FAILED, OFFSET_MAX
from tocsin.dialects.promptjang.parsing import IDEMPOTENCY_KEY_CHARACTERS_MAX, LABEL_CHARACTERS_MAX
from tocsin.web.openapi import Answer, Body, Operation, Parameter
from tocsin.web.openapi.schemas import (
    Schema,
    always,
    anything,
    identifier,
    listed,
    nullable,
    number,
    one_of,
    record,
    ref,
    text,
    time,
    whole,
)

EXAMPLE_ID: str = identifier("evt")["examples"][0]
_PAYLOAD = {"event_type": "invoice.paid", "invoice": 17}
_CANCELLED = "CANCELLED"

_SEND = """\
The event's type is the header's, else the member `event_type` of the body, else its member `event`, else `unknown`.
The same signature and timestamp again are answered with the first event, as is a repeat with the same
`Idempotency-Key` and body."""


def operations(limits: PromptJangLimits) -> dict[str, Operation]:
    """Return the operations."""
    detail = Answer(description="The event.", schema=ref("PromptJangEventDetail"))
    accepted = Answer(description="A new event is stored.", schema=ref("PromptJangAccepted"))
    return {
        "POST /e/{endpoint_id}": _send(limits, "Send an event to an endpoint"),
        "POST /api/v1/e/{endpoint_id}": _send(limits, "Send an event to an endpoint, by its other path"),
        "GET /api/v1/events": Operation(
            summary="List and search events",
            description=(
                "Newest first, of every dialect, from the half of the organisation that the key is made for. "
                "`cursor`, from `next_cursor` of the page before, does not go with `offset`. Parameters that are not "
                "among these are passed over."
            ),
            scope=Scope.READ,
            parameters=listing_parameters(limits),
            answers={200: Answer(description="A page of events.", schema=ref("PromptJangEventPage"))},
            errors={503: ("search_too_long",)},
        ),
        "GET /api/v1/events/{event_id}": Operation(
            summary="Show an event with its deliveries and attempts",
            scope=Scope.READ,
            answers={200: detail},
            errors={404: ("event_not_found",)},
        ),
        "POST /api/v1/events/{event_id}/replay": Operation(
            summary="Replay an event",
            description="A new event with the payload of a past one, which becomes `REPLAYED`.",
            scope=Scope.INGEST,
            answers={202: accepted},
            errors={404: ("event_not_found", "endpoint_not_found"), 409: ("endpoint_disabled",)},
        ),
    }


def _send(limits: PromptJangLimits, summary: str) -> Operation:
    event_type = text(least=1, most=LABEL_CHARACTERS_MAX, pattern="^[A-Za-z0-9._-]+$")
    correlation_id = text(most=LABEL_CHARACTERS_MAX, pattern="^[A-Za-z0-9._-]*$")
    return Operation(
        summary=summary,
        description=_SEND,
        scope=Scope.INGEST,
        parameters=(
            Parameter(name="X-PJ-Event-Type", place="header", schema=event_type),
            Parameter(name="X-PJ-Correlation-ID", place="header", schema=correlation_id),
            Parameter(
                name="Idempotency-Key",
                place="header",
                schema=text(least=1, most=IDEMPOTENCY_KEY_CHARACTERS_MAX, pattern="^[ -~]+$"),
            ),
        ),
        body=Body(schema=anything("Any JSON.", example=_PAYLOAD), bytes_max=limits.payload_max_bytes),
        answers={
            202: Answer(
                description="It is stored. `Idempotent-Replayed` stands on the answer to a repeat.",
                headers={"Idempotent-Replayed": always("true")},
                schema=ref("PromptJangAccepted"),
            )
        },
        errors={
            400: ("invalid_event_type", "invalid_correlation_id", "invalid_idempotency_key"),
            401: ("invalid_signature",),
            404: ("endpoint_not_found",),
            409: ("endpoint_disabled", "idempotency_conflict"),
        },
    )


def listing_parameters(limits: PromptJangLimits) -> tuple[Parameter, ...]:
    """Return the parameters of the list of events."""
    return (
        Parameter(name="limit", schema=whole(least=1, most=limits.page_max, default=limits.page_default)),
        Parameter(name="offset", schema=whole(least=0, most=OFFSET_MAX, default=0)),
        Parameter(name="cursor", schema=text(), description="The `next_cursor` of the page before."),
        Parameter(name="status", schema=one_of((*EventStatus, FAILED))),
        *filters_of_one(limits),
        Parameter(name="since", schema=time(), description="Stored at or after it."),
        Parameter(name="until", schema=time(), description="Stored at or before it."),
    )


def filters_of_one(limits: PromptJangLimits) -> tuple[Parameter, ...]:
    """Return those by which an event can be judged by itself."""
    pattern = text(least=1, most=limits.pattern_characters_max)
    return (
        Parameter(name="endpoint_id", schema=text(), description="Of the endpoint that it was sent to."),
        Parameter(
            name="destination",
            schema=text(pattern="^(dst|ep)_[0-9a-fA-F]{32}$"),
            description="Id of a destination that it goes to.",
        ),
        Parameter(name="event_type", schema=listed(pattern, least=1, most=limits.values_max), description="Globs."),
        Parameter(
            name="type",
            schema=listed(pattern, least=1, most=limits.values_max),
            description="The same as `event_type`; with both, what both match.",
        ),
        Parameter(name="source", schema=pattern, description="A glob."),
        Parameter(name="subject", schema=pattern, description="A glob."),
        Parameter(name="dialect", schema=listed(one_of(Dialect), least=1, most=limits.values_max)),
        Parameter(name="severity", schema=listed(one_of(Severity), least=1, most=limits.values_max)),
        Parameter(
            name="q",
            schema=text(least=1, most=limits.search_characters_max),
            description=(
                f"A text in the payload. A list without `since` looks back {limits.search_window_ms // DAY_MS} days."
            ),
        ),
    )


def schemas() -> dict[str, Schema]:
    """Return what these operations refer to."""
    status = one_of(EventStatus)
    summary = {
        "id": identifier("evt"),
        "endpoint_id": nullable(identifier("ep", "Null for an event of another dialect.")),
        "event_type": text(example="invoice.paid"),
        "status": status,
        "created_at": time(),
    }
    return {
        "PromptJangAccepted": record(
            {
                "id": identifier("evt"),
                "status": always("QUEUED"),
                "message": text(example="Event received and queued"),
            }
        ),
        "PromptJangEvent": record(summary),
        "PromptJangEventPage": record(
            {
                "events": listed(ref("PromptJangEvent")),
                "total": whole(least=0, example=1),
                "limit": whole(least=1, example=50),
                "offset": whole(least=0, example=0),
                "next_cursor": nullable(text("Null on the last page.")),
                "total_is_exact": always(False, "There where counting was given up."),
                "partial": always(True, "There where the search stopped at its bound; `next_cursor` goes on."),
                "since": {**text("There where a text was searched for without it."), "format": "date-time"},
            },
            optional=("total_is_exact", "partial", "since"),
        ),
        "PromptJangEventDetail": record(
            {
                **summary,
                "org_id": identifier("org"),
                "payload": anything("As it was sent.", example=_PAYLOAD),
                "correlation_id": nullable(text()),
                "attempts": listed(_attempt()),
                "deliveries": listed(_delivery()),
            }
        ),
    }


def _attempt() -> Schema:
    return record(
        {
            "id": text(example=f"dat_{EXAMPLE_ID.removeprefix('evt_')}_1"),
            "status_code": nullable(whole("Null where no answer came.", example=200)),
            "response_body": nullable(text()),
            "duration_ms": number(least=0, example=41),
            "error": nullable(text()),
            "created_at": time(),
        }
    )


def _delivery() -> Schema:
    return record(
        {
            "id": identifier("dlv"),
            "destination_id": identifier("dst"),
            "status": one_of((*(each for each in EventStatus if each is not EventStatus.REPLAYED), _CANCELLED)),
            "attempts": whole(least=0, example=1),
            "status_code": nullable(whole(example=200)),
            "error": nullable(text()),
            "created_at": time(),
            "next_attempt_at": nullable(time()),
            "finished_at": nullable(time()),
        }
    )

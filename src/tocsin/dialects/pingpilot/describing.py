"""What the API's description says of PingPilot's route."""

from __future__ import annotations

from tocsin.core.organisation import Scope
from tocsin.dialects.pingpilot.routes import DELIVERIES, PingPilotLimits
from tocsin.web.openapi import Answer, Body, Chapter, Operation, Parameter, codes_everywhere
from tocsin.web.openapi.schemas import (
    Schema,
    always,
    either,
    flag,
    identifier,
    mapping,
    number,
    record,
    ref,
    text,
    whole,
)

_ORDER = """\
The checks, in this order: the key (401), the account's channels (403), the month's quota (429), JSON (400), the
schema (422, whose `message` is the list of issues as zod prints it), the category (404). 200 means stored and handed
to delivery."""


def chapter(limits: PingPilotLimits) -> Chapter:
    """Return the chapter."""
    return Chapter(
        name="pingpilot",
        title="PingPilot",
        description="events of a category, told to the organisation's people on Discord, Telegram and by email.",
        operations={
            "POST /api/v1/event": _accept(limits, "Tell people of an event"),
            "POST /api/v1/events": _accept(limits, "Tell people of an event, by the older path"),
        },
        security=lambda _: [{"pingpilotKey": [Scope.INGEST]}],
        error=_error,
        everywhere=codes_everywhere,
        schemas={"PingPilotError": record({"message": text("What is wrong.")})},
        security_schemes={
            "pingpilotKey": {
                "type": "http",
                "scheme": "bearer",
                "description": "An API key. The word `Bearer` is read with regard to case here.",
            }
        },
    )


def _error(status: int, codes: tuple[str, ...]) -> Answer:
    error: Schema = ref("PingPilotError")
    if status == 500:
        undelivered = record({"message": always("Error processing event"), "eventId": identifier("evt")})
        return Answer(
            description="With `wait`: stored, but not told at the first attempt or to nobody; else a fault of ours.",
            schema=either(undelivered, error),
        )
    return Answer(description=f"Refused: {', '.join(codes)}.", schema=error)


def _accept(limits: PingPilotLimits, summary: str) -> Operation:
    body = record(
        {
            "category": text("Exactly a category's name.", least=1, pattern="^[a-zA-Z0-9-]+$", example="bug"),
            "description": text(
                "Left out or empty: `A new {category} event has occurred!`",
                example="Critical database connection error",
            ),
            "fields": mapping(
                either(text(), number(), flag()), example={"severity": "high", "service": "api-server"}
            ),
        },
        optional=("description", "fields"),
        closed=True,
    )
    done = record({"message": always("Event processed successfully"), "eventId": identifier("evt")})
    return Operation(
        summary=summary,
        description=_ORDER,
        scope=Scope.INGEST,
        parameters=(
            Parameter(
                name="wait",
                description="Answer when every first attempt has ended, after so many seconds at most.",
                schema=number(least=0, most=limits.wait_max_s),
            ),
            Parameter(
                name="Idempotency-Key",
                place="header",
                description="A repeat with the same key and body is answered with the first event.",
                schema=text(least=1, most=limits.idempotency_key_bytes),
            ),
        ),
        body=Body(schema=body, bytes_max=limits.body_bytes),
        answers={
            200: Answer(
                description="The event is stored. A repeat has no `Tocsin-Deliveries`.",
                headers={DELIVERIES.decode(): whole("How many are told; 0 is nobody.", least=0, example=1)},
                schema=done,
            )
        },
        errors={
            403: ("account_not_configured",),
            404: ("category_not_found",),
            409: ("idempotency_conflict",),
            422: ("unprocessable",),
            429: ("quota_exhausted",),
        },
    )

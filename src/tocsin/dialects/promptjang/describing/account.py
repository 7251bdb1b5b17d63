"""The routes of the organisation itself, and ``/health``."""

from __future__ import annotations

from tocsin.core.delivery import DeliveryPhase, EventStatus
from tocsin.core.environment import Environment
from tocsin.core.organisation import GRANTABLE_SCOPES, Scope
from tocsin.core.quota import Plan
from tocsin.dialects.promptjang.limits import PromptJangLimits
from tocsin.web.openapi import Answer, Body, Operation
from tocsin.web.openapi.schemas import (
    Schema,
    always,
    flag,
    identifier,
    listed,
    nullable,
    one_of,
    record,
    ref,
    text,
    time,
    whole,
)

_API_KEY = "tcs_live_" + "0123456789abcdef" * 4


def operations(limits: PromptJangLimits) -> dict[str, Operation]:
    """Return the operations."""
    return (
        _keys(limits)
        | _organisation(limits)
        | {
            "GET /health": Operation(
                summary="Say that the process answers",
                answers={200: Answer(description="It does.", schema=record({"status": always("ok")}))},
            )
        }
    )


def _keys(limits: PromptJangLimits) -> dict[str, Operation]:
    key = record(
        {
            "name": text(least=1, most=limits.name_max_characters, example="billing service"),
            "environment": one_of(Environment, "Which events it makes and sees.", default=Environment.LIVE),
            "scopes": listed(one_of(sorted(GRANTABLE_SCOPES)), "All where it is left out.", least=1),
        },
        optional=("environment", "scopes"),
        closed=True,
    )
    made: Schema = {
        **ref("PromptJangKey"),
        "properties": {"key": text("Shown in this answer alone.", example=_API_KEY)},
        "required": ["key"],
    }
    return {
        "POST /api/v1/keys": Operation(
            summary="Make an API key",
            description="A test key makes test keys alone.",
            scope=Scope.MANAGE,
            body=Body(schema=key, bytes_max=limits.control_body_max_bytes),
            answers={201: Answer(description="The key.", schema=made)},
            errors={403: ("live_key_required",)},
        ),
        "GET /api/v1/keys": Operation(
            summary="List the API keys",
            description="A test key is shown the test keys alone.",
            scope=Scope.READ,
            answers={200: Answer(description="Oldest first.", schema=record({"keys": listed(ref("PromptJangKey"))}))},
        ),
        "DELETE /api/v1/keys/{key_id}": Operation(
            summary="Revoke an API key",
            description="It may be the one that asks.",
            scope=Scope.MANAGE,
            answers={
                200: Answer(description="It is gone.", schema=record({"message": always("API key deleted")})),
            },
            errors={404: ("key_not_found",)},
        ),
    }


def _organisation(limits: PromptJangLimits) -> dict[str, Operation]:
    changes = record(
        {
            "name": text(least=1, most=limits.name_max_characters, example="Ada's"),
            "jwks_url": nullable(
                text("An https URL of keys whose tokens are trusted too.", least=1, most=limits.url_max_characters)
            ),
        },
        optional=("*",),
        closed=True,
    )
    return {
        "GET /api/v1/orgs": Operation(
            summary="Show the organisation",
            scope=Scope.READ,
            answers={200: Answer(description="That of the key.", schema=ref("Organisation"))},
        ),
        "PATCH /api/v1/orgs": Operation(
            summary="Change the organisation",
            description="`jwks_url` is changed with a live key alone: tokens are for live events.",
            scope=Scope.MANAGE,
            body=Body(schema=changes, bytes_max=limits.control_body_max_bytes),
            answers={200: Answer(description="It is changed.", schema=ref("Organisation"))},
            errors={403: ("live_key_required",), 409: ("changed_meanwhile",)},
        ),
        "GET /api/v1/stats": Operation(
            summary="Count the events and deliveries of the last day",
            description="Null stands where there was no time left to count.",
            scope=Scope.READ,
            answers={200: Answer(description="The figures.", schema=ref("PromptJangStats"))},
        ),
    }


def schemas() -> dict[str, Schema]:
    """Return what these operations refer to."""
    count = nullable(whole(least=0, example=12))
    return {
        "PromptJangKey": record(
            {
                "id": identifier("key"),
                "name": text(example="billing service"),
                "prefix": text("Its first characters.", example=_API_KEY[:13]),
                "environment": one_of(Environment),
                "scopes": listed(one_of(Scope)),
                "created_at": time(),
            }
        ),
        "Organisation": record(
            {
                "id": identifier("org"),
                "name": text(example="Ada's"),
                "plan": one_of(Plan),
                "jwks_url": nullable(text()),
                "created_at": time(),
            }
        ),
        "PromptJangStats": record(
            {
                "since": time(),
                "events": record({status.value: count for status in EventStatus}),
                "deliveries": record({phase.value: count for phase in DeliveryPhase}),
                "endpoints": record({"total": whole(least=0), "enabled": whole(least=0)}),
                "exact": flag(),
            }
        ),
    }

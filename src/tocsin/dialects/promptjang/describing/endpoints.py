"""The routes of endpoints."""

from __future__ import annotations

from tocsin.core.organisation import Scope
from tocsin.dialects.promptjang.limits import PromptJangLimits
from tocsin.dialects.promptjang.parsing import LABEL_CHARACTERS_MAX
from tocsin.web.openapi import Answer, Body, Operation
from tocsin.web.openapi.schemas import (
    Schema,
    always,
    flag,
    identifier,
    listed,
    nullable,
    record,
    ref,
    text,
    time,
    whole,
)

_ONE = "/api/v1/endpoints/{endpoint_id}"
_NOT_FOUND = {404: ("endpoint_not_found",)}
_URL = "https://hooks.example.com/pj"


def operations(limits: PromptJangLimits) -> dict[str, Operation]:
    """Return the operations."""
    endpoint = Answer(description="The endpoint.", schema=ref("PromptJangEndpoint"))
    changed = Answer(description="The endpoint as it is now.", schema=_with("updated_at", time()))
    return {
        "POST /api/v1/endpoints": Operation(
            summary="Make an endpoint",
            scope=Scope.MANAGE,
            body=_body(limits, creating=True),
            answers={
                201: Answer(
                    description="It is made. Its secret is shown in this answer alone.",
                    schema=_with("secret", text(example="whsec_c2VjcmV0")),
                )
            },
            errors={
                409: ("name_taken", "changed_meanwhile", "destination_limit_reached"),
                422: ("url_not_allowed", "unprocessable"),
            },
        ),
        "GET /api/v1/endpoints": Operation(
            summary="List the endpoints",
            scope=Scope.READ,
            answers={
                200: Answer(
                    description="All of them, oldest first.",
                    schema=record({"endpoints": listed(ref("PromptJangEndpoint"))}),
                )
            },
        ),
        f"GET {_ONE}": Operation(
            summary="Show an endpoint", scope=Scope.READ, answers={200: endpoint}, errors=_NOT_FOUND
        ),
        f"PATCH {_ONE}": Operation(
            summary="Change an endpoint",
            scope=Scope.MANAGE,
            body=_body(limits, creating=False),
            answers={200: changed},
            errors={
                **_NOT_FOUND,
                409: ("changed_meanwhile",),
                422: ("url_not_allowed", "unprocessable", "hidden_value_required"),
            },
        ),
        f"DELETE {_ONE}": Operation(
            summary="Remove an endpoint",
            description="Its past events stay.",
            scope=Scope.MANAGE,
            answers={
                200: Answer(description="It is gone.", schema=record({"message": always("Endpoint deleted")})),
            },
            errors=_NOT_FOUND,
        ),
    } | _actions(limits)


def _actions(limits: PromptJangLimits) -> dict[str, Operation]:
    secret = {"secret": text(example="whsec_c2VjcmV0"), "updated_at": time()}
    rotated: Schema = {**ref("PromptJangEndpoint"), "properties": secret, "required": list(secret)}
    since = record({"since": time(), "until": time()}, optional=("until",), closed=True)
    return {
        f"POST {_ONE}/rotate-secret": Operation(
            summary="Make a new secret",
            description="The old one counts for a while longer.",
            scope=Scope.MANAGE,
            answers={200: Answer(description="Its new secret is shown in this answer alone.", schema=rotated)},
            errors={**_NOT_FOUND, 409: ("changed_meanwhile",)},
        ),
        f"POST {_ONE}/test": Operation(
            summary="Send a test event",
            description="A real event of type `tocsin.test`, whatever types the endpoint wants.",
            scope=Scope.MANAGE,
            answers={202: Answer(description="It is on its way.", schema=ref("PromptJangAccepted"))},
            errors={**_NOT_FOUND, 409: ("endpoint_disabled",)},
        ),
        f"POST {_ONE}/recover": Operation(
            summary="Send again what the endpoint missed",
            scope=Scope.MANAGE,
            body=Body(schema=since, bytes_max=limits.control_body_max_bytes),
            answers={
                202: Answer(description="So many events.", schema=record({"count": whole(least=0, example=3)})),
            },
            errors={**_NOT_FOUND, 409: ("endpoint_disabled", "destination_disabled"), 422: ("too_many",)},
        ),
    }


def _with(name: str, schema: Schema) -> Schema:
    return {**ref("PromptJangEndpoint"), "properties": {name: schema}, "required": [name]}


def _body(limits: PromptJangLimits, *, creating: bool) -> Body:
    members = {
        "url": text(least=1, most=limits.url_max_characters, example=_URL),
        "description": nullable(text(most=limits.description_max_characters, example="Billing")),
        "event_types": listed(
            text(least=1, most=LABEL_CHARACTERS_MAX, pattern="^[A-Za-z0-9._-]+$", example="invoice.paid"),
            "An empty list is all of them.",
            most=limits.event_types_max,
        ),
        "enabled": flag("A disabled endpoint takes nothing, and what is queued waits."),
    }
    if creating:
        del members["enabled"]
    optional = ("description", "event_types") if creating else ("*",)
    return Body(schema=record(members, optional=optional, closed=True), bytes_max=limits.control_body_max_bytes)


def schemas() -> dict[str, Schema]:
    """Return what these operations refer to."""
    return {
        "PromptJangEndpoint": record(
            {
                "id": identifier("ep"),
                "url": text(example=_URL),
                "description": text(example="Billing"),
                "event_types": listed(text(example="invoice.paid")),
                "enabled": flag(),
                "created_at": time(),
            }
        )
    }

"""What the API's description says of Native Frame's routes."""

from __future__ import annotations

from tocsin.core.organisation import Scope
from tocsin.dialects.nativeframe.config import METHODS
from tocsin.dialects.nativeframe.faults import FaultCode
from tocsin.dialects.nativeframe.limits import NativeFrameLimits
from tocsin.dialects.nativeframe.parsing import NAME_LENGTH_MAX, PHASES_OF_STATUS
from tocsin.web.openapi import Answer, Body, Chapter, Operation, Parameter, codes_everywhere
from tocsin.web.openapi.model import Codes
from tocsin.web.openapi.schemas import (
    Schema,
    anything,
    either,
    listed,
    mapping,
    nullable,
    number,
    one_of,
    record,
    ref,
    text,
    time,
    whole,
)

_HISTORY = "/events/v2/history/webhooks/{name}"
_PROJECT = "/events/v2/projects/{project}"
_NAME = "^[a-zA-Z0-9_-]+$"
_UUID = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_EXAMPLE_UUID = "0190a5c4-b2f8-7c3d-9e1f-2a3b4c5d6e7f"
_PAYLOAD = {"order": 17, "total": 99.5}
_NUMBER_MAX = 2**31 - 1


def chapter(limits: NativeFrameLimits) -> Chapter:
    """Return the chapter."""
    return Chapter(
        name="nativeframe",
        title="Native Frame",
        description=(
            "the searchable history of webhook deliveries, and what fills it: events of a project, and webhooks that "
            "want them. A request shows a token of the organisation's, or an API key. An error lists every fault."
        ),
        operations=_history(limits) | _events(limits) | _webhooks(limits),
        security=lambda operation: [] if operation.scope is None else [{"nativeframeBearer": [operation.scope]}],
        error=_error,
        everywhere=_everywhere,
        path_parameters={
            "project": _name("The project.", "shop"),
            "event": _name("The event.", "order-paid"),
            "name": _name("The webhook.", "billing"),
            "id": _uuid("The delivery."),
        },
        schemas=_schemas(),
        security_schemes={
            "nativeframeBearer": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "A token made by `/auth/v1/service-jwt`, or an API key in its place.",
            }
        },
    )


def _name(description: str = "", example: str = "order-paid") -> Schema:
    return text(description, least=1, most=NAME_LENGTH_MAX, pattern=_NAME, example=example)


def _moment() -> Schema:
    # No format: an offset's plus that was not escaped arrives as a space, and is understood.
    return text(
        "A date-time as ISO 8601 has it.", pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}T", example="2026-03-06T10:30:00Z"
    )


def _uuid(description: str = "") -> Schema:
    return {**text(description, pattern=_UUID, example=_EXAMPLE_UUID), "format": "uuid"}


def _everywhere(operation: Operation) -> Codes:
    codes = dict(codes_everywhere(operation))
    # Each of these routes has names or times to judge.
    codes[400] = tuple(dict.fromkeys((*codes.get(400, ()), "invalid_request")))
    if operation.scope is None:
        return {500: codes[500]}
    codes.pop(429, None)
    return codes | {401: (*codes[401], "invalid_key", "invalid_token")}


def _error(_status: int, codes: tuple[str, ...]) -> Answer:
    return Answer(
        description=f"Refused: {', '.join(codes)}.",
        schema={**ref("NativeFrameError"), "properties": {"errorCode": one_of(codes)}},
    )


def _history(limits: NativeFrameLimits) -> dict[str, Operation]:
    return {
        f"GET {_HISTORY}": Operation(
            summary="Search the history of a webhook",
            description="Newest first. The name may also be that of another destination, or its id.",
            scope=Scope.READ,
            parameters=(
                Parameter(name="event", schema=_name()),
                Parameter(name="from", schema=_moment(), description="Made at or after it."),
                Parameter(name="to", schema=_moment(), description="Made at or before it."),
                Parameter(name="limit", schema=whole(least=1, most=limits.rows_max, default=limits.rows_max)),
                Parameter(name="offset", schema=whole(least=0, default=0)),
                Parameter(name="responseCode", schema=whole(least=100, most=599)),
                Parameter(name="minAttempts", schema=whole(least=0)),
                Parameter(name="status", schema=one_of(PHASES_OF_STATUS)),
            ),
            answers={200: Answer(description="Deliveries.", schema=listed(ref("NativeFramePastEvent")))},
            errors={404: ("webhook_not_found",), 503: ("search_too_long",)},
        ),
        f"POST {_HISTORY}/{{id}}/cancel": Operation(
            summary="Cancel a delivery",
            description="One that is new, or waits for a retry.",
            scope=Scope.MANAGE,
            answers={200: Answer(description="The delivery.", schema=ref("NativeFramePastEvent"))},
            errors={
                404: ("webhook_not_found", "delivery_not_found"),
                409: ("delivery_final", "delivery_in_flight"),
            },
        ),
    }


def _events(limits: NativeFrameLimits) -> dict[str, Operation]:
    ttl = record({"ttl_s": whole("The token's lifetime.", example=3600)}, optional=("ttl_s",), closed=True)
    token = record({"jwt": text("The token."), "expiresAt": time()})
    return {
        f"POST {_PROJECT}/events/{{event}}": Operation(
            summary="Store an event",
            scope=Scope.INGEST,
            parameters=(
                Parameter(
                    name="id",
                    schema=_uuid(),
                    description="The client's own id of the event; a repeat with it is answered with the first.",
                ),
            ),
            body=Body(schema=mapping(example=_PAYLOAD), bytes_max=limits.event_bytes_max),
            answers={202: Answer(description="It is stored.", schema=record({"id": _uuid("The event.")}))},
            errors={409: ("idempotency_conflict",)},
        ),
        "GET /auth/v1/jwks": Operation(
            summary="List the public keys",
            description="Those of every organisation; no key is needed.",
            answers={200: Answer(description="A JWK Set.", schema=record({"keys": listed(ref("NativeFrameJwk"))}))},
        ),
        "POST /auth/v1/service-jwt": Operation(
            summary="Make a token",
            description="It takes a live API key: a token cannot make another one. The body may be empty.",
            scope=Scope.MANAGE,
            body=Body(schema=ttl, bytes_max=limits.config_bytes_max, required=False),
            answers={201: Answer(description="The token.", schema=token)},
            errors={403: ("api_key_required", "live_key_required")},
        ),
    }


def _webhooks(limits: NativeFrameLimits) -> dict[str, Operation]:
    webhook = f"{_PROJECT}/webhooks/{{name}}"
    secret = text("Signs what is sent; shown now and never again.", example="whsec_c2VjcmV0")
    made: Schema = {**ref("NativeFrameWebhook"), "properties": {"secret": secret}, "required": ["secret"]}
    return {
        f"GET {_PROJECT}/webhooks": Operation(
            summary="List the webhooks of a project",
            description="Oldest first.",
            scope=Scope.READ,
            answers={200: Answer(description="Webhooks.", schema=listed(ref("NativeFrameWebhook")))},
        ),
        f"PUT {webhook}": Operation(
            summary="Make a webhook, or replace its configuration",
            description="A name is unique in its organisation.",
            scope=Scope.MANAGE,
            body=Body(schema=_config(limits), bytes_max=limits.config_bytes_max),
            answers={
                200: Answer(description="It is replaced.", schema=ref("NativeFrameWebhook")),
                201: Answer(description="It is made.", schema=made),
            },
            errors={409: ("name_taken", "changed_meanwhile", "destination_limit_reached")},
        ),
        f"GET {webhook}": Operation(
            summary="Show a webhook",
            scope=Scope.READ,
            answers={200: Answer(description="The webhook.", schema=ref("NativeFrameWebhook"))},
            errors={404: ("webhook_not_found",)},
        ),
        f"DELETE {webhook}": Operation(
            summary="Remove a webhook",
            scope=Scope.MANAGE,
            answers={204: Answer(description="It is gone.")},
            errors={404: ("webhook_not_found",)},
        ),
    }


def _config(limits: NativeFrameLimits) -> Schema:
    headers = mapping(text(), most=limits.headers_max)
    return record(
        {
            "project": _name("As in the path."),
            "name": _name("As in the path."),
            "event": _name(),
            "url": text(least=1, example="https://hooks.example.com/shop"),
            "method": one_of(METHODS, default="POST"),
            "headers": {**headers, "description": "Sent with every attempt; shown masked."},
            "maxAttempts": whole(
                "The first one included.", least=1, most=limits.attempts_max, default=limits.attempts_default
            ),
            "timeoutSeconds": {
                **number(least=limits.timeout_min_s, most=limits.timeout_max_s),
                "default": limits.timeout_default_s,
            },
            "responseHeaders": {**headers, "description": "All must be present and equal for success."},
        },
        optional=("project", "name", "method", "headers", "maxAttempts", "timeoutSeconds", "responseHeaders"),
        closed=True,
    )


def _schemas() -> dict[str, Schema]:
    fault = record({"name": text("The client's word for it."), "reason": text(), "errorCode": text()})
    fault["properties"]["errorCode"] = either(one_of(FaultCode), text())
    source = record({"id": _uuid("The event."), "project": text(), "event": text(), "payload": anything()})
    source["examples"] = [{"id": _EXAMPLE_UUID, "project": "shop", "event": "order-paid", "payload": _PAYLOAD}]
    return {
        "NativeFramePastEvent": record(
            {
                "id": _uuid("The delivery."),
                "source": source,
                "attempts": whole(least=0, example=1),
                "lastResponseCode": whole(example=200),
                "lastResponseTime": whole("Milliseconds.", least=0, example=41),
                "status": one_of(PHASES_OF_STATUS),
                "lastError": text(),
                "created": time(),
                "webhookName": text(example="billing"),
            },
            optional=("lastResponseCode", "lastResponseTime", "lastError"),
        ),
        "NativeFrameWebhook": record(
            {
                "project": nullable(text(example="shop")),
                "name": text(example="billing"),
                "event": nullable(text(example="order-paid")),
                "url": nullable(text(example="https://hooks.example.com/shop")),
                "method": one_of(METHODS),
                "headers": either(mapping(text()), text("The mask.")),
                "maxAttempts": whole(least=1, example=3),
                "timeoutSeconds": number(example=5),
                "responseHeaders": mapping(text()),
            }
        ),
        "NativeFrameJwk": mapping(
            description="A public key as RFC 7517 has it.",
            example={"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS", "kid": "0190a5c4", "alg": "EdDSA"},
        ),
        "NativeFrameError": record(
            {
                "message": text("What is wrong."),
                "errorCode": text(),
                "invalidFields": listed(fault),
                "internal": nullable(text("For developers; null outside debug mode.")),
            }
        ),
    }

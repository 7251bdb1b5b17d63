"""What the API's description says of PushGo's routes."""

from __future__ import annotations

from tocsin.core.organisation import Scope
from tocsin.dialects.pushgo.describing import around, channels, devices, events, messages
from tocsin.dialects.pushgo.fields import UNCODED
from tocsin.dialects.pushgo.limits import PushGoLimits
from tocsin.web.openapi import Answer, Chapter, Operation
from tocsin.web.openapi.model import Codes
from tocsin.web.openapi.schemas import Schema, always, flag, identifier, nullable, record, ref, text, whole

__all__ = ["chapter"]


def chapter(limits: PushGoLimits) -> Chapter:
    """Return the chapter."""
    return Chapter(
        name="pushgo",
        title="PushGo",
        description=(
            "incidents and messages on channels, pulled by devices. Every answer is in one envelope, and carries an "
            "`x-request-id`. A body is `application/json` or `application/*+json`, and a field that a route does not "
            "know is refused. Texts are trimmed before their bounds are judged."
        ),
        operations={
            **events.operations(limits),
            **messages.operations(limits),
            **channels.operations(limits),
            **devices.operations(limits),
            **around.operations(),
        },
        security=_security,
        error=_error,
        everywhere=_everywhere,
        schemas=_schemas(),
        security_schemes={
            "pushgoBearer": {
                "type": "http",
                "scheme": "bearer",
                "description": (
                    "An API key, for the channels of its organisation, or the gateway's token. Without any bearer "
                    "the channels are those of the default organisation, unless a gateway token is set."
                ),
            }
        },
    )


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    return [] if operation.scope is None else [{"pushgoBearer": [operation.scope]}, {}]


def _everywhere(operation: Operation) -> Codes:
    codes: dict[int, tuple[str, ...]] = {500: ("internal_error",), 503: ("server_busy",)}
    if operation.scope is not None:
        codes |= {401: ("authentication_failed",), 403: ("forbidden",)}
    if operation.scope is Scope.READ and operation.parameters:
        codes[400] = ("invalid_query",)
    if operation.body is not None:
        codes |= {
            400: ("missing_json_content_type", "invalid_json_syntax", "invalid_json_data"),
            408: ("request_timeout",),
            413: ("payload_too_large",),
            415: ("unsupported_media_type",),
        }
    return codes


def _error(status: int, codes: tuple[str, ...]) -> Answer:
    return Answer(
        description=f"Refused: {', '.join(code or 'an error without a code' for code in codes)}.",
        schema={
            **ref("PushGoError"),
            "properties": {
                "error_code": {"enum": [None if code == UNCODED else code for code in codes]},
                "problem": {**ref("PushGoProblem"), "properties": {"status": {"const": status}}},
            },
        },
    )


def _schemas() -> dict[str, Schema]:
    problem = record(
        {
            "code": nullable(text("The same as `error_code`.")),
            "category": text(example="validation"),
            "status": whole("The same as the answer's."),
            "title": text(example="Validation failed"),
            "detail": text("The same as `error`."),
            "retryable": flag(),
            "request_id": identifier(""),
        }
    )
    error = record(
        {
            "success": always(False),
            "data": {"type": "null"},
            "error": text("What is wrong."),
            "error_code": nullable(text()),
            "problem": ref("PushGoProblem"),
        }
    )
    return {"PushGoProblem": problem, "PushGoError": error}

"""What the API's description says of PromptJang's routes."""

from __future__ import annotations

from tocsin.core.organisation import Scope
from tocsin.dialects.promptjang.describing import account, endpoints, events
from tocsin.dialects.promptjang.limits import PromptJangLimits
from tocsin.web.openapi import Answer, Chapter, Operation, codes_everywhere
from tocsin.web.openapi.schemas import identifier, record, ref, text

__all__ = ["chapter", "filters_of_one"]

filters_of_one = events.filters_of_one


def chapter(limits: PromptJangLimits) -> Chapter:
    """Return the chapter."""
    return Chapter(
        name="promptjang",
        title="PromptJang",
        description=(
            "signed events for an endpoint, delivered with retries, listed and replayed. Its list and detail of "
            "events serve those of every dialect. Every answer tells the rate limit in `X-RateLimit-Limit`, "
            "`-Remaining` and `-Reset`."
        ),
        operations=events.operations(limits) | endpoints.operations(limits) | account.operations(limits),
        security=_security,
        error=_error,
        everywhere=codes_everywhere,
        path_parameters={
            "endpoint_id": identifier("ep", "The endpoint."),
            "event_id": text(
                "The event; any dialect's writing of its id is taken.", least=1, example=events.EXAMPLE_ID
            ),
            "key_id": identifier("key", "The key."),
        },
        schemas={
            **events.schemas(),
            **endpoints.schemas(),
            **account.schemas(),
            "PromptJangError": record({"detail": text("What is wrong.")}),
        },
        security_schemes={
            "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key."},
            "promptjangSignature": {
                "type": "apiKey",
                "in": "header",
                "name": "X-PJ-Signature",
                "description": (
                    "HMAC-SHA256 of `{X-PJ-Timestamp}.{body}` in lower-case hex, keyed with the endpoint's whole "
                    f"secret. The timestamp lies at most {limits.tolerance_s} seconds from now."
                ),
            },
            "promptjangTimestamp": {
                "type": "apiKey",
                "in": "header",
                "name": "X-PJ-Timestamp",
                "description": "When the body was signed, in seconds since 1970.",
            },
        },
    )


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    if operation.scope is None:
        return []
    shown: dict[str, list[str]] = {"apiKey": [operation.scope]}
    if operation.scope is Scope.INGEST and operation.body is not None:
        shown |= {"promptjangSignature": [], "promptjangTimestamp": []}
    return [shown]


def _error(_status: int, codes: tuple[str, ...]) -> Answer:
    return Answer(description=f"Refused: {', '.join(codes)}.", schema=ref("PromptJangError"))

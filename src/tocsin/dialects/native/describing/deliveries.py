"""The routes of deliveries."""

from __future__ import annotations

from tocsin.core.delivery import ErrorClass
from tocsin.core.destination import Transport
from tocsin.core.environment import Environment
from tocsin.core.event import Dialect, Severity
from tocsin.core.organisation import Scope
from tocsin.dialects.native.describing.lists import DESTINATION_ID, NOT_ALWAYS, page, page_members, paging, window
from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.phases import WORDS
from tocsin.web.openapi import Answer, Operation, Parameter
from tocsin.web.openapi.schemas import (
    Schema,
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

_ONE = "/api/v1/deliveries/{delivery_id}"


def operations(limits: NativeLimits) -> dict[str, Operation]:
    """Return the operations."""
    delivery = Answer(description="The delivery as it is now.", schema=ref("Delivery"))
    return {
        "GET /api/v1/deliveries": Operation(
            summary="List the deliveries",
            description="Those of the half that the key is made for, newest first.",
            scope=Scope.READ,
            parameters=(
                Parameter(name="destination", schema=DESTINATION_ID),
                Parameter(name="event", schema=text(least=1), description="Any dialect's writing of its id."),
                Parameter(name="type", schema=text(least=1, most=limits.term_characters_max)),
                Parameter(
                    name="status",
                    schema=text(),
                    description=f"Some of {', '.join(WORDS.values())}, with commas between them.",
                ),
                Parameter(name="status_code", schema=whole(least=100, most=999)),
                Parameter(name="attempts_min", schema=whole(least=0, most=1_000_000)),
                *window(),
                *paging(limits),
            ),
            answers={200: page("deliveries", ref("Delivery"), "A page of deliveries.")},
            errors={503: ("search_too_long",)},
        ),
        f"GET {_ONE}": Operation(
            summary="Show a delivery and its attempts",
            description="The page is one of the attempts, oldest first.",
            scope=Scope.READ,
            parameters=paging(limits),
            answers={200: Answer(description="The delivery.", schema=ref("DeliveryDetail"))},
            errors={404: ("not_found",), 503: ("search_too_long",)},
        ),
        f"POST {_ONE}/retry": Operation(
            summary="Send a delivery again",
            description="It is due now, whatever became of it.",
            scope=Scope.MANAGE,
            answers={202: delivery},
            errors={404: ("not_found",), 409: ("destination_deleted", "delivery_sending")},
        ),
        f"POST {_ONE}/cancel": Operation(
            summary="Cancel a delivery",
            description="Of one that is being sent, what comes back is still recorded.",
            scope=Scope.MANAGE,
            answers={200: delivery},
            errors={404: ("not_found",), 409: ("delivery_final",)},
        ),
    }


def schemas() -> dict[str, Schema]:
    """Return what these operations refer to."""
    delivery = {
        "id": identifier("dlv"),
        "status": one_of(WORDS.values()),
        "destination": record(
            {
                "id": identifier("dst"),
                "name": nullable(text("Null where it was deleted.", example="billing")),
                "transport": nullable(one_of(Transport)),
            }
        ),
        "event": record(
            {
                "id": identifier("evt"),
                "dialect": one_of(Dialect),
                "source": text(example="buildable"),
                "type": text(example="user.created"),
                "subject": nullable(text()),
                "severity": nullable(one_of(Severity)),
                "environment": one_of(Environment),
            }
        ),
        "attempts_made": whole(least=0, example=1),
        "status_code": nullable(whole(example=200)),
        "duration_ms": nullable(whole(least=0, example=41)),
        "error": nullable(text()),
        "created_at": time(),
        "next_attempt_at": nullable(time()),
        "finished_at": nullable(time()),
    }
    detail = {**delivery, **page_members("attempts", ref("Attempt"))}
    return {
        "Delivery": record(delivery),
        "DeliveryDetail": record(detail, optional=NOT_ALWAYS),
        "Attempt": _attempt(),
    }


def _attempt() -> Schema:
    headers = listed(record({"name": text(), "value": text("`***` where it is a secret.")}))
    headers["examples"] = [[{"name": "content-type", "value": "application/json"}]]
    response = record(
        {
            "headers": headers,
            "body": text("The first 16 KiB.", example="ok"),
            "body_encoding": one_of(("utf-8", "base64")),
            "truncated": flag(example=False),
        }
    )
    return record(
        {
            "id": text(example="dat_0190a5c4b2f87c3d9e1f2a3b4c5d6e7f_1"),
            "number": whole(least=1),
            "started_at": time(),
            "connect_ms": nullable(whole("Null where a kept connection served.", least=0, example=3)),
            "duration_ms": whole(least=0, example=41),
            "status_code": nullable(whole("Null where no answer came.", example=200)),
            "error_class": nullable(one_of(ErrorClass)),
            "error": nullable(text()),
            "remote_id": nullable(text("The remote's own id of what it received.")),
            "truncated": flag("Whether the remote's limits made Tocsin cut the message.", example=False),
            "request": record({"line": text(example="POST https://hooks.example.com/all"), "headers": headers}),
            "response": nullable(response),
        }
    )

"""The routes of incidents and transactions."""

from __future__ import annotations

from tocsin.core.delivery import EventStatus
from tocsin.core.environment import Environment
from tocsin.core.event import Severity
from tocsin.core.incident import IncidentState
from tocsin.core.organisation import Scope
from tocsin.core.transaction import TransactionState
from tocsin.dialects.native.describing.account import EXAMPLE_CHANNEL
from tocsin.dialects.native.describing.lists import NOT_ALWAYS, page, page_members, paging, window
from tocsin.dialects.native.limits import NativeLimits
from tocsin.web.openapi import Answer, Operation, Parameter
from tocsin.web.openapi.schemas import (
    Schema,
    anything,
    identifier,
    listed,
    mapping,
    nullable,
    one_of,
    record,
    ref,
    text,
    time,
    whole,
)


def operations(limits: NativeLimits) -> dict[str, Operation]:
    """Return the operations."""
    term = text(least=1, most=limits.term_characters_max)
    return {
        "GET /api/v1/incidents": Operation(
            summary="List the incidents",
            description="Those of the half that the key is made for, newest first.",
            scope=Scope.READ,
            parameters=(
                Parameter(name="state", schema=one_of(IncidentState)),
                Parameter(name="channel", schema=text("26 Crockford base32 digits.")),
                *window(),
                *paging(limits),
            ),
            answers={200: page("incidents", ref("Incident"), "A page of incidents.")},
            errors={503: ("search_too_long",)},
        ),
        "GET /api/v1/incidents/{incident_id}": Operation(
            summary="Show an incident and its timeline",
            description="The page is one of the timeline, oldest first.",
            scope=Scope.READ,
            parameters=paging(limits),
            answers={200: Answer(description="The incident.", schema=ref("IncidentDetail"))},
            errors={404: ("not_found",), 503: ("search_too_long",)},
        ),
        "GET /api/v1/transactions": Operation(
            summary="List the transactions of consumer groups",
            description="Those of the half that the key is made for; their events oldest first.",
            scope=Scope.READ,
            parameters=(
                Parameter(name="tx_key", schema=term),
                Parameter(name="type", schema=term),
                Parameter(name="state", schema=one_of(TransactionState)),
                Parameter(name="txKey", schema=term, description="Buildable's word for `tx_key`."),
                Parameter(name="eventName", schema=term, description="Buildable's word for `type`."),
                *window(),
                *paging(limits),
            ),
            answers={200: page("transactions", ref("Transaction"), "A page of transactions.")},
            errors={503: ("search_too_long",)},
        ),
    }


def schemas() -> dict[str, Schema]:
    """Return what these operations refer to."""
    incident = {
        "id": identifier(""),
        "channel": record({"id": text(example=EXAMPLE_CHANNEL), "name": nullable(text(example="ops"))}),
        "state": one_of(IncidentState),
        "profile": mapping(
            description="Title, status, message, severity and what else was told last.",
            example={"title": "Database lag", "status": "ongoing", "severity": "high"},
        ),
        "opened_at": time(),
        "updated_at": time(),
        "closed_at": nullable(time()),
    }
    step = record(
        {
            "event_id": identifier("evt"),
            "type": text(example="event.created"),
            "time": time(),
            "accepted_at": time(),
            "state": nullable(one_of(IncidentState)),
            "severity": nullable(one_of(Severity)),
            "status": one_of(EventStatus),
            "replay_of": nullable(identifier("evt")),
            "data": anything("As it was sent, without the password."),
        }
    )
    detail = {**incident, "attrs": mapping(), **page_members("timeline", step)}
    change = record(
        {"from": nullable(one_of(TransactionState)), "to": text(example="processing"), "at": time(), "by": text()}
    )
    return {
        "Incident": record(incident),
        "IncidentDetail": record(detail, optional=NOT_ALWAYS),
        "Transaction": record(
            {
                "event_id": identifier("evt"),
                "key": identifier("", "What Buildable's routes call the event."),
                "tx_key": text(example="billing"),
                "type": text(example="user.created"),
                "state": one_of(TransactionState),
                "environment": one_of(Environment),
                "started_at": time(),
                "ended_at": nullable(time()),
                "lease_until": nullable(time()),
                "output": nullable(text()),
                "history": listed(change),
                "steps_dropped": whole(
                    "Steps behind the first that `history` leaves out; a long one keeps the first and the newest.",
                    least=0,
                    example=0,
                ),
            }
        ),
    }

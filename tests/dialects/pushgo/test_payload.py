"""The pulled payload, where time or origin decide what it says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tocsin.core.clock import DAY_MS
from tocsin.core.device import MailboxItem
from tocsin.core.event import Dialect, Event, Severity
from tocsin.core.identifiers import DeliveryId, EventId, OrganisationId
from tocsin.core.incident import IncidentState
from tocsin.dialects.pushgo.payload import payload

ACCEPTED_MS = 1_713_750_000_123
EVENT_ID = EventId(ACCEPTED_MS.to_bytes(6, "big") + b"\x70" + bytes(9))
INCIDENT = "ab" * 16
KEPT_MS = 30 * DAY_MS


def event(**changes: Any) -> Event:
    plain = Event(
        id=EVENT_ID,
        organisation_id=OrganisationId(bytes(16)),
        dialect=Dialect.PUSHGO,
        source="pushgo/channel/06J0FZG1Y8XGG14VTQ4Y3G10MR",
        type="event.updated",
        time_ms=5,
        data=b"{}",
        subject=INCIDENT,
        extension={
            "op_id": "op",
            "event_time": "9223372036854775807",
            "status": "s",
            "message": "m",
            "severity": "low",
        },
        incident_state=IncidentState.ONGOING,
    )
    return msgspec.structs.replace(plain, **changes)


def pulled(event: Event) -> dict[str, str]:
    item = MailboxItem(delivery_id=DeliveryId(bytes(15) + b"\x01"), event=event, expires_ms=0)
    return payload(item, mailbox_kept_ms=KEPT_MS)


def test_an_update_without_a_title() -> None:
    assert pulled(event()) == {
        "channel_id": "06J0FZG1Y8XGG14VTQ4Y3G10MR",
        "title": f"Event {INCIDENT}",
        "body": "m",
        "schema_version": "1",
        "payload_version": "1",
        "op_id": "op",
        "delivery_id": "0" * 31 + "1",
        "ingested_at": str(ACCEPTED_MS),
        "sent_at": str(ACCEPTED_MS),
        "occurred_at": "9223372036854775807",
        "event_time": "9223372036854775807",
        "entity_type": "event",
        "entity_id": INCIDENT,
        "event_id": INCIDENT,
        "event_state": "ONGOING",
        "status": "s",
        "message": "m",
        "severity": "low",
    }


@pytest.mark.parametrize(
    ("type_", "state", "told"),
    [
        ("event.updated", IncidentState.CLOSED, "CLOSED"),
        ("event.closed", IncidentState.CLOSED, "CLOSED"),
        ("event.closed", None, "CLOSED"),
        ("event.updated", None, "ONGOING"),
    ],
)
def test_the_state_is_the_incident_s_and_of_a_replay_that_of_its_kind(
    type_: str, state: IncidentState | None, told: str
) -> None:
    assert pulled(event(type=type_, incident_state=state))["event_state"] == told


@pytest.mark.parametrize(
    ("ttl_ms", "told_ms"),
    [
        (ACCEPTED_MS + 1, ACCEPTED_MS + 1),
        (ACCEPTED_MS + KEPT_MS, ACCEPTED_MS + KEPT_MS),
        (ACCEPTED_MS + KEPT_MS + 1, ACCEPTED_MS + KEPT_MS),
        (2**63 - 1, ACCEPTED_MS + KEPT_MS),
    ],
)
def test_a_message_s_ttl_is_told_as_30_days_when_it_is_further_ahead(ttl_ms: int, told_ms: int) -> None:
    said = {"op_id": "op", "title": "T", "severity": "normal", "ttl": str(ttl_ms)}

    assert pulled(event(type="message", subject=None, extension=said))["ttl"] == str(told_ms)


def test_a_message_s_time_is_the_client_s_or_else_that_of_acceptance() -> None:
    said = {"op_id": "op", "title": "T", "severity": "normal"}

    assert pulled(event(type="message", time_ms=7, extension=said))["occurred_at"] == "7"
    assert pulled(event(type="message", time_ms=7, extension={**said, "occurred_at": "9"}))["occurred_at"] == "9"


def test_an_event_of_another_dialect_is_told_as_a_message() -> None:
    stranger = event(
        dialect=Dialect.PROMPTJANG,
        source="promptjang/endpoint/x",
        type="order.paid",
        subject="order-1",
        data=b'{"a":' + b"1" * 5000 + b"}",
        extension={},
        severity=Severity.HIGH,
        incident_state=None,
    )

    told = pulled(stranger)

    assert told["entity_type"] == "message"
    assert told["message_id"] == told["entity_id"] == told["op_id"] == EVENT_ID.hex()
    assert (told["title"], told["severity"], told["source"]) == ("order.paid", "high", "promptjang/endpoint/x")
    assert told["body"] == '{"a":' + "1" * 4091
    assert "channel_id" not in told


def test_data_that_is_no_text_is_told_as_far_as_it_is() -> None:
    stranger = event(dialect=Dialect.PROMPTJANG, data=b"\xff{}", subject=None, extension={}, incident_state=None)

    told = pulled(stranger)

    assert told["body"] == "\ufffd{}"
    assert told["severity"] == "normal"
    assert "thing_id" not in told

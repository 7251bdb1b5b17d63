"""Native Frame's answers."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tocsin.core.delivery import Delivery, DeliveryState
from tocsin.core.destination import Destination, Transport
from tocsin.core.errors import InvalidRequest, NotAuthenticated, NotFound, PayloadTooLarge, TocsinError, Unavailable
from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import DeliveryId, DestinationId, EventId, OrganisationId
from tocsin.dialects.nativeframe.faults import Fault, FaultCode, InvalidFields
from tocsin.dialects.nativeframe.rendering import error_response, history_row, webhook_name
from tocsin.engine.rows import DeliveryRow
from tocsin.web.http import json_response

ORGANISATION = OrganisationId(bytes(16))


def _event(**changes: Any) -> Event:
    event = Event(
        id=EventId(bytes.fromhex("166ae30650ff11e98647d663bd873d93")),
        organisation_id=ORGANISATION,
        dialect=Dialect.NATIVEFRAME,
        source="nativeframe/project/pvc",
        type="broadcast-start",
        time_ms=0,
        data=b'{"foo":"bar"}',
    )
    return msgspec.structs.replace(event, **changes)


def _delivery(**changes: Any) -> Delivery:
    delivery = Delivery(
        id=DeliveryId(bytes.fromhex("413f13e3684e223f22470963feaa3351")),
        organisation_id=ORGANISATION,
        event_id=_event().id,
        destination_id=DestinationId(bytes(16)),
        state=DeliveryState.READY,
        attempts_made=0,
        created_ms=1_563_730_348_000,
    )
    return msgspec.structs.replace(delivery, **changes)


def _row(event: Event | None = None, **delivery: Any) -> dict[str, Any]:
    row = history_row(DeliveryRow(_delivery(**delivery), event or _event()), "pvc-broadcast-events")
    shown: dict[str, Any] = json.loads(json_response(200, row).body)
    return shown


def test_a_row_is_the_published_example() -> None:
    shown = _row(
        state=DeliveryState.READY,
        attempts_made=3,
        status_code=200,
        duration_ms=25,
        error="Remote endpoint returned 500 HTTP code",
    )
    # The page's example says NEW after three attempts; what was tried is in process here.
    assert shown == {
        "id": "413f13e3-684e-223f-2247-0963feaa3351",
        "source": {
            "id": "166ae306-50ff-11e9-8647-d663bd873d93",
            "project": "pvc",
            "event": "broadcast-start",
            "payload": {"foo": "bar"},
        },
        "attempts": 3,
        "lastResponseCode": 200,
        "lastResponseTime": 25,
        "status": "IN_PROCESS",
        "lastError": "Remote endpoint returned 500 HTTP code",
        "created": "2019-07-21T17:32:28.000Z",
        "webhookName": "pvc-broadcast-events",
    }


def test_what_is_not_known_is_left_out() -> None:
    assert _row().keys() == {"id", "source", "attempts", "status", "created", "webhookName"}


def test_an_attempt_without_an_answer_has_an_error_and_no_response_time() -> None:
    shown = _row(attempts_made=1, duration_ms=5000, error="timed out")
    assert shown["lastError"] == "timed out"
    assert not {"lastResponseCode", "lastResponseTime"} & shown.keys()


@pytest.mark.parametrize(
    ("state", "attempts_made", "status"),
    [
        (DeliveryState.READY, 0, "NEW"),
        (DeliveryState.BLOCKED, 0, "NEW"),
        (DeliveryState.READY, 1, "IN_PROCESS"),
        (DeliveryState.BLOCKED, 1, "IN_PROCESS"),
        (DeliveryState.LEASED, 0, "IN_PROCESS"),
        (DeliveryState.LEASED, 2, "IN_PROCESS"),
        (DeliveryState.DELIVERED, 1, "DELIVERED"),
        (DeliveryState.CANCELLED, 0, "CANCELED"),
        (DeliveryState.CANCELLED, 2, "CANCELED"),
        (DeliveryState.EXPIRED, 3, "FAILED"),
    ],
)
def test_every_state_has_its_published_status(state: DeliveryState, attempts_made: int, status: str) -> None:
    assert _row(state=state, attempts_made=attempts_made)["status"] == status


def test_an_event_shows_the_id_that_its_client_made() -> None:
    own = "00000000-0000-4000-8000-000000000001"
    assert _row(_event(extension={"source_id": own}))["source"]["id"] == own


def test_an_event_of_another_dialect_has_its_dialect_as_project() -> None:
    event = _event(
        dialect=Dialect.PUSHGO,
        source="pushgo/channel/x",
        type="event.created",
        data=b"[1]",
        extension={"source_id": "not ours"},
    )
    assert _row(event)["source"] == {
        "id": "166ae306-50ff-11e9-8647-d663bd873d93",
        "project": "pushgo",
        "event": "event.created",
        "payload": [1],
    }


def test_a_payload_comes_out_as_it_came_in() -> None:
    data = b'{"n": 123456789012345678901234567890, "x": 1.0}'
    body = json_response(200, history_row(DeliveryRow(_delivery(), _event(data=data)), "hook")).body
    assert data in body


@pytest.mark.parametrize(("name", "shown"), [("hook-1", "hook-1"), ("My hook", f"dst_{bytes(16).hex()}")])
def test_a_webhook_is_named_so_that_it_can_be_asked_for(name: str, shown: str) -> None:
    destination = Destination(
        id=DestinationId(bytes(16)),
        organisation_id=ORGANISATION,
        name=name,
        transport=Transport.WEBHOOK,
        created_ms=0,
        updated_ms=0,
    )
    assert webhook_name(destination) == shown


def test_an_error_lists_its_fields() -> None:
    error = InvalidFields([Fault("limit", "must be 1 to 100", FaultCode.RANGE)])
    response = error_response(error, None)
    assert response.status == 400
    assert json.loads(response.body) == {
        "message": "limit must be 1 to 100",
        "errorCode": "invalid_request",
        "invalidFields": [{"name": "limit", "reason": "must be 1 to 100", "errorCode": "range"}],
        "internal": None,
    }


def test_fields_of_the_core_are_listed_too() -> None:
    error = InvalidRequest("ttl_s must be 1 to 86400", fields=(("ttl_s", "must be 1 to 86400"),))
    fields = json.loads(error_response(error, None).body)["invalidFields"]
    assert fields == [{"name": "ttl_s", "reason": "must be 1 to 86400", "errorCode": "invalid_request"}]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotAuthenticated("x"), 401),
        (NotFound("x"), 404),
        (PayloadTooLarge("x"), 413),
        (Unavailable("x", retry_after_s=1), 503),
        (TocsinError("internal error"), 500),
    ],
)
def test_every_error_has_the_same_form(error: TocsinError, status: int) -> None:
    response = error_response(error, "cause")
    assert response.status == status
    assert json.loads(response.body) == {
        "message": error.detail,
        "errorCode": error.code,
        "invalidFields": [],
        "internal": "cause",
    }


def test_an_error_says_how_to_go_on() -> None:
    assert (b"www-authenticate", b"Bearer") in error_response(NotAuthenticated("x"), None).headers
    assert (b"retry-after", b"2") in error_response(Unavailable("x", retry_after_s=1.5), None).headers

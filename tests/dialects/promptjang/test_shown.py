"""What PromptJang's answers show: organisations, events, attempts, deliveries, errors."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from dialects.promptjang.given import AT, AT_MS, ENDPOINT, ENDPOINT_HEX, EVENT, ORGANISATION, URL
from tocsin.core.clock import rfc3339
from tocsin.core.delivery import (
    Attempt,
    Delivery,
    DeliveryState,
    EventStatus,
    Exchange,
    RecordedAttempt,
)
from tocsin.core.errors import (
    Conflict,
    NotAuthenticated,
    RateLimited,
    TocsinError,
    Unprocessable,
)
from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import DeliveryId
from tocsin.core.organisation import Organisation
from tocsin.dialects.promptjang import parsing
from tocsin.dialects.promptjang.listing import EventListing
from tocsin.dialects.promptjang.rendering import (
    error_response,
    event_detail,
    event_page,
    event_summary,
    organisation_shown,
)
from tocsin.engine.rows import EventRow, Page
from tocsin.web.http import Request


def test_an_organisation_is_shown_with_its_plan() -> None:
    organisation = Organisation(id=ORGANISATION, name="one", created_ms=AT_MS)
    assert organisation_shown(organisation) == {
        "id": "org_" + "6f" * 16,
        "name": "one",
        "plan": "unlimited",
        "jwks_url": None,
        "created_at": AT,
    }


# -- events ------------------------------------------------------------------------------------------------


def event(**changes: Any) -> Event:
    made = Event(
        id=EVENT,
        organisation_id=ORGANISATION,
        dialect=Dialect.PROMPTJANG,
        source=parsing.endpoint_source(ENDPOINT),
        type="order.created",
        time_ms=AT_MS,
        data=b'{"n": 123456789012345678901234567890, "n2": 1.10}',
        extension={"correlation_id": "trace-1"},
    )
    return msgspec.structs.replace(made, **changes)


def test_an_event_in_a_list_has_the_published_members() -> None:
    assert event_summary(EventRow(event(), EventStatus.RETRYING)) == {
        "id": f"evt_{EVENT.hex()}",
        "endpoint_id": f"ep_{ENDPOINT_HEX}",
        "event_type": "order.created",
        "status": "RETRYING",
        "created_at": AT,
    }


def test_a_page_tells_how_to_go_on_and_whether_the_total_is_exact() -> None:
    rows = [EventRow(event(), EventStatus.DELIVERED)]
    asked = EventListing(query=None, limit=1, offset=7, cursor=None)
    exact = event_page(Page(rows=rows, next_cursor=b"\xff\xfe", total=142), asked)
    assert exact == {
        "events": [event_summary(rows[0])],
        "total": 142,
        "limit": 1,
        "offset": 7,
        "next_cursor": "__4",
    }
    asked = EventListing(query=None, limit=1, offset=0, cursor=None)
    capped = event_page(Page(rows=[], next_cursor=None, total=10_000, total_is_exact=False), asked)
    assert capped == {
        "events": [],
        "total": 10_000,
        "limit": 1,
        "offset": 0,
        "next_cursor": None,
        "total_is_exact": False,
    }


def test_a_page_that_was_cut_off_says_so_and_since_when_a_text_was_searched_for() -> None:
    asked = EventListing(query=None, limit=1, offset=0, cursor=None, searched_since_ms=AT_MS)
    page: Page[EventRow] = Page(rows=[], next_cursor=b"\xff\xfe", total=0, total_is_exact=False, partial=True)
    assert event_page(page, asked) == {
        "events": [],
        "total": 0,
        "limit": 1,
        "offset": 0,
        "next_cursor": "__4",
        "total_is_exact": False,
        "partial": True,
        "since": rfc3339(AT_MS),
    }


@pytest.mark.parametrize("dialect", [each for each in Dialect if each is not Dialect.PROMPTJANG])
def test_an_event_of_another_dialect_has_no_endpoint_whatever_its_source_says(dialect: Dialect) -> None:
    shown = event_summary(EventRow(event(dialect=dialect), EventStatus.RECEIVED))
    assert shown["endpoint_id"] is None


def test_a_payload_is_shown_as_it_was_sent() -> None:
    detail = event_detail(EventRow(event(), EventStatus.RECEIVED), [], [])
    encoded = msgspec.json.encode(detail)
    assert b'"payload":{"n": 123456789012345678901234567890, "n2": 1.10}' in encoded
    assert json.loads(encoded)["correlation_id"] == "trace-1"


def attempt(sequence: int, **changes: Any) -> RecordedAttempt:
    made = Attempt(started_ms=AT_MS, duration_ms=145, exchange=Exchange(request_line=f"POST {URL}"))
    return RecordedAttempt(
        delivery_id=DeliveryId(b"d" * 16),
        sequence=sequence,
        number=sequence,
        attempt=msgspec.structs.replace(made, **changes),
    )


def test_attempts_tell_what_came_back_or_that_nothing_did() -> None:
    answered = Exchange(request_line=f"POST {URL}", response_body=b"O\xffK")
    attempts = [attempt(1, error="connection refused"), attempt(2, status_code=200, exchange=answered)]
    detail = event_detail(EventRow(event(), EventStatus.DELIVERED), [], attempts)
    assert detail["attempts"] == [
        {
            "id": "dat_" + "64" * 16 + "_1",
            "status_code": None,
            "response_body": None,
            "duration_ms": 145,
            "error": "connection refused",
            "created_at": AT,
        },
        {
            "id": "dat_" + "64" * 16 + "_2",
            "status_code": 200,
            "response_body": "O\ufffdK",
            "duration_ms": 145,
            "error": None,
            "created_at": AT,
        },
    ]


@pytest.mark.parametrize(
    ("state", "attempts_made", "status"),
    [
        (DeliveryState.READY, 0, "QUEUED"),
        (DeliveryState.BLOCKED, 0, "QUEUED"),
        (DeliveryState.READY, 1, "RETRYING"),
        (DeliveryState.LEASED, 0, "PROCESSING"),
        (DeliveryState.DELIVERED, 1, "DELIVERED"),
        (DeliveryState.EXPIRED, 6, "EXPIRED"),
        (DeliveryState.CANCELLED, 0, "CANCELLED"),
    ],
)
def test_a_delivery_says_where_it_stands(state: DeliveryState, attempts_made: int, status: str) -> None:
    delivery = Delivery(
        id=DeliveryId(b"d" * 16),
        organisation_id=ORGANISATION,
        event_id=EVENT,
        destination_id=ENDPOINT,
        state=state,
        attempts_made=attempts_made,
        created_ms=AT_MS,
        due_ms=AT_MS,
    )
    detail = event_detail(EventRow(event(), EventStatus.QUEUED), [delivery], [])
    assert detail["deliveries"] == [
        {
            "id": "dlv_" + "64" * 16,
            "destination_id": f"dst_{ENDPOINT_HEX}",
            "status": status,
            "attempts": attempts_made,
            "status_code": None,
            "error": None,
            "created_at": AT,
            "next_attempt_at": AT,
            "finished_at": None,
        }
    ]


# -- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "detail", "headers"),
    [
        (NotAuthenticated("Unauthorized"), 401, "Unauthorized", {b"www-authenticate": b"Bearer"}),
        (NotAuthenticated("Invalid signature"), 401, "Invalid signature", {b"www-authenticate": b"Bearer"}),
        (Conflict("Endpoint is disabled"), 409, "Endpoint is disabled", {}),
        (Unprocessable("URL is not allowed: private IP address"), 422, "URL is not allowed: private IP address", {}),
        (RateLimited("Rate limit exceeded", retry_after_s=2.1), 429, "Rate limit exceeded", {b"retry-after": b"3"}),
        (TocsinError("a secret stack trace"), 500, "Internal server error", {}),
    ],
)
def test_an_error_is_its_detail_alone(
    error: TocsinError, status: int, detail: str, headers: dict[bytes, bytes]
) -> None:
    response = error_response(Request({"headers": []}, b""), error)
    assert (response.status, json.loads(response.body)) == (status, {"detail": detail})
    assert dict(response.headers) == {b"content-type": b"application/json"} | headers

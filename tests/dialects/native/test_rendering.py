"""What the native routes show: errors, destinations, attempts; and which revision may be changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tocsin.core.delivery import (
    Attempt,
    Delivery,
    DeliveryPhase,
    DeliveryState,
    ErrorClass,
    Exchange,
    RecordedAttempt,
)
from tocsin.core.destination import Destination, Transport
from tocsin.core.errors import (
    Conflict,
    InvalidRequest,
    NotAuthenticated,
    RateLimited,
    TocsinError,
    Unavailable,
)
from tocsin.core.identifiers import DeliveryId, DestinationId, EventId, OrganisationId
from tocsin.dialects.native.deliveries import attempt_shown
from tocsin.dialects.native.destinations import check_if_match, destination_shown, state_of
from tocsin.dialects.native.errors import error_response, not_found
from tocsin.dialects.native.phases import WORDS, word_of
from tocsin.dialects.native.rendering import parse_delivery_id, parse_destination_id, time_shown
from tocsin.web.http import Request, Response

REQUEST = Request({"query_string": b"", "headers": []}, b"")
ID = bytes(range(16))


def body_of(response: Response) -> Any:
    return json.loads(response.body)


# -- errors ------------------------------------------------------------------------------------------------


def test_an_error_tells_detail_code_and_fields() -> None:
    response = error_response(REQUEST, InvalidRequest("a is b", fields=(("a", "is b"),)))
    assert response.status == 400
    assert body_of(response) == {
        "detail": "a is b",
        "code": "invalid_request",
        "fields": [{"name": "a", "reason": "is b"}],
    }


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (NotAuthenticated("Unauthorized"), 401, (b"www-authenticate", b"Bearer")),
        (RateLimited("later", retry_after_s=1.2), 429, (b"retry-after", b"2")),
        (Unavailable("busy"), 503, (b"retry-after", b"1")),
        (Unavailable("busy", retry_after_s=7), 503, (b"retry-after", b"7")),
    ],
)
def test_an_error_that_passes_says_what_would_help(
    error: TocsinError, status: int, header: tuple[bytes, bytes]
) -> None:
    response = error_response(REQUEST, error)
    assert response.status == status
    assert header in response.headers


def test_a_fault_of_ours_tells_nothing_of_its_cause() -> None:
    response = error_response(REQUEST, TocsinError("the password is hunter2", code="seal_broken"))
    assert response.status == 500
    assert body_of(response) == {"detail": "internal error", "code": "internal_error", "fields": []}


def test_another_revision_is_a_failed_precondition() -> None:
    assert error_response(REQUEST, Conflict("changed", code="precondition_failed")).status == 412
    assert error_response(REQUEST, Conflict("changed", code="changed_meanwhile")).status == 409


def test_an_unknown_path_is_told_in_the_same_form() -> None:
    response = not_found(REQUEST)
    assert response.status == 404
    assert body_of(response)["code"] == "route_not_found"


# -- destinations ------------------------------------------------------------------------------------------


def destination(**members: Any) -> Destination:
    return Destination(
        **{
            "id": DestinationId(ID),
            "organisation_id": OrganisationId(ID),
            "name": "hook",
            "transport": Transport.WEBHOOK,
            "created_ms": 1,
            "updated_ms": 2,
            "address": {"url": "https://example.com/", "webhook_url": None},
            "revision": 7,
            **members,
        }
    )


def test_a_destination_shows_neither_signing_secrets_nor_what_was_taken_away() -> None:
    shown = destination_shown(destination())
    assert shown["id"] == "dst_000102030405060708090a0b0c0d0e0f"
    assert shown["address"] == {"url": "https://example.com/"}
    assert not shown.keys() & {"secret", "secrets", "sealed_address"}


@pytest.mark.parametrize(
    ("enabled", "paused", "state"),
    [(True, False, "active"), (True, True, "paused"), (False, False, "disabled"), (False, True, "disabled")],
)
def test_a_destination_has_one_state(enabled: bool, paused: bool, state: str) -> None:
    assert state_of(destination(enabled=enabled, paused=paused)) == state


@pytest.mark.parametrize("header", [None, "*", ' "7" ', '"6", "7"'])
def test_a_change_of_the_revision_that_stands_may_go_on(header: str | None) -> None:
    check_if_match(header, destination())


@pytest.mark.parametrize("header", ['"6"', "7", 'W/"7"', "", '"77"'])
def test_a_change_of_any_other_revision_may_not(header: str) -> None:
    with pytest.raises(Conflict) as raised:
        check_if_match(header, destination())
    assert raised.value.code == "precondition_failed"


@pytest.mark.parametrize("text", [f"dst_{ID.hex()}", f"ep_{ID.hex()}"])
def test_a_destination_is_found_by_either_prefix(text: str) -> None:
    assert parse_destination_id(text) == ID


@pytest.mark.parametrize("text", ["", ID.hex(), f"key_{ID.hex()}", f"dst_{ID.hex().upper()}", f"dst_{ID.hex()}0"])
def test_what_is_no_destination_id_finds_none(text: str) -> None:
    assert parse_destination_id(text) is None


@pytest.mark.parametrize("text", [f"dlv_{ID.hex()}", ID.hex(), "00010203-0405-0607-0809-0a0b0c0d0e0f"])
def test_a_delivery_is_found_by_every_spelling_of_its_id(text: str) -> None:
    assert parse_delivery_id(text) == ID


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_779_796_800_250, "2026-05-26T12:00:00.250Z"),
        (2**63 - 1, "9999-12-31T23:59:59.999Z"),
        (-(2**63), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_every_time_can_be_shown(at_ms: int, text: str) -> None:
    assert time_shown(at_ms) == text


# -- deliveries --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "attempts_made", "word"),
    [
        (DeliveryState.READY, 0, "queued"),
        (DeliveryState.BLOCKED, 0, "queued"),
        (DeliveryState.READY, 1, "retrying"),
        (DeliveryState.LEASED, 0, "sending"),
        (DeliveryState.DELIVERED, 1, "delivered"),
        (DeliveryState.EXPIRED, 1, "failed"),
        (DeliveryState.CANCELLED, 0, "cancelled"),
    ],
)
def test_a_delivery_has_one_word(state: DeliveryState, attempts_made: int, word: str) -> None:
    delivery = Delivery(
        id=DeliveryId(ID),
        organisation_id=OrganisationId(ID),
        event_id=EventId(ID),
        destination_id=DestinationId(ID),
        state=state,
        attempts_made=attempts_made,
        created_ms=0,
    )
    assert word_of(delivery) == word


def test_every_phase_has_a_word_of_its_own() -> None:
    assert set(WORDS) == set(DeliveryPhase)
    assert len(set(WORDS.values())) == len(WORDS)


def recorded(exchange: Exchange, **members: Any) -> RecordedAttempt:
    attempt = Attempt(started_ms=0, duration_ms=12, exchange=exchange, **members)
    return RecordedAttempt(delivery_id=DeliveryId(ID), sequence=9, number=1, attempt=attempt)


def test_an_attempt_shows_what_went_out_and_what_came_back() -> None:
    exchange = Exchange(
        request_line="POST https://example.com/",
        request_headers=(("X-A", "********"), ("X-A", "2")),
        response_headers=(("server", "x"),),
        response_body=b"no \xe2\x82\xac",
    )
    shown = attempt_shown(
        recorded(exchange, connect_ms=3, status_code=503, error_class=ErrorClass.STATUS, error="status 503")
    )
    assert shown == {
        "id": f"dat_{ID.hex()}_9",
        "number": 1,
        "started_at": "1970-01-01T00:00:00.000Z",
        "connect_ms": 3,
        "duration_ms": 12,
        "status_code": 503,
        "error_class": "status",
        "error": "status 503",
        "remote_id": None,
        "truncated": False,
        "request": {
            "line": "POST https://example.com/",
            "headers": [{"name": "X-A", "value": "********"}, {"name": "X-A", "value": "2"}],
        },
        "response": {
            "headers": [{"name": "server", "value": "x"}],
            "body": "no €",
            "body_encoding": "utf-8",
            "truncated": False,
        },
    }


def test_an_attempt_says_that_its_message_was_cut() -> None:
    assert attempt_shown(recorded(Exchange(request_line="POST x"), shortened=True))["truncated"]


def test_an_attempt_without_an_answer_has_no_response() -> None:
    shown = attempt_shown(recorded(Exchange(request_line="POST x"), error_class=ErrorClass.DNS, error="no address"))
    assert shown["response"] is None
    assert shown["status_code"] is None


@pytest.mark.parametrize(
    ("body", "truncated", "text", "encoding"),
    [
        (b"a\xe2\x82", True, "a", "utf-8"),
        (b"a\xe2\x82", False, "YeKC", "base64"),
        (b"\xff\xfe", True, "//4=", "base64"),
        (b"", False, "", "utf-8"),
    ],
)
def test_a_response_that_is_no_text_is_shown_in_base64(
    body: bytes, truncated: bool, text: str, encoding: str
) -> None:
    exchange = Exchange(request_line="POST x", response_body=body, response_truncated=truncated)
    response = attempt_shown(recorded(exchange, status_code=200))["response"]
    assert (response["body"], response["body_encoding"], response["truncated"]) == (text, encoding, truncated)

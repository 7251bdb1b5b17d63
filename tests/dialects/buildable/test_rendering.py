"""What Buildable's clients read: the members that time, retention and counts decide."""

from __future__ import annotations

import msgspec
import pytest

from tocsin.core.clock import DAY_MS
from tocsin.core.errors import (
    Conflict,
    InvalidRequest,
    MalformedBody,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    PayloadTooLarge,
    QuotaExhausted,
    RateLimited,
    RequestTimeout,
    TocsinError,
    Unavailable,
    Unprocessable,
    UnsupportedMediaType,
)
from tocsin.core.event import Dialect, Environment, Event
from tocsin.core.identifiers import EventId, IdSequence, OrganisationId
from tocsin.core.transaction import StateChange, Transaction, TransactionState
from tocsin.dialects.buildable import rendering
from tocsin.engine.rows import Page
from tocsin.pipeline.consumption import Standing
from tocsin.web.errors import STATUS
from tocsin.web.http import MethodNotAllowed, Request

MADE_MS = 1_700_000_000_000
ORGANISATION = OrganisationId(bytes(15) + b"\x01")
EVENT = Event(
    id=EventId(IdSequence(bytes).make(MADE_MS)),
    organisation_id=ORGANISATION,
    dialect=Dialect.BUILDABLE,
    source="buildable",
    type="order.paid",
    time_ms=MADE_MS - 5,
    data=b'{ "big": 18446744073709551617 }',
    environment=Environment.TEST,
    extension={"key_id": "ab" * 16},
)
TRANSACTION = Transaction(
    event_id=EVENT.id,
    organisation_id=ORGANISATION,
    tx_key="mailer",
    event_type="order.paid",
    state=TransactionState.PROCESSING,
    started_ms=MADE_MS + 20,
    history=(
        StateChange(None, "processing", MADE_MS + 10, "k1"),
        StateChange(None, "processing", MADE_MS + 20, "k2"),
    ),
)
NOW = rendering.Lifetime(MADE_MS + 30, DAY_MS)


def standing(
    state: TransactionState | None = None,
    transaction: Transaction | None = None,
    *,
    total: int = 0,
    still_open: int = 0,
    event: Event = EVENT,
) -> Standing:
    return Standing(
        event=event, state=state, transaction=transaction, transactions_total=total, transactions_open=still_open
    )


def test_an_event_that_nobody_started() -> None:
    assert msgspec.json.encode(rendering.event_object(standing(), NOW)) == (
        b'{"_id":"%s","key":"%s","eventName":"order.paid","environment":"test",'
        b'"payload":{ "big": 18446744073709551617 },"query":{},"headers":{},"createdAt":1700000000000,'
        b'"state":"does-not-exist","history":[],"ttl":86399970,"v":1,'
        b'"ownership":{"buildableId":"00000000000000000000000000000001","userId":"%s","clientId":"%s"},'
        b'"processing":{"hasTransactions":false,"totalTransactions":0,"hasFutureTransactions":true,'
        b'"isCompleted":false}}'
    ) % (EVENT.id.hex().encode(), EVENT.id.hex().encode(), b"ab" * 16, b"ab" * 16)


def test_an_event_whose_lease_ran_out_is_offered_again_with_its_history() -> None:
    rendered = rendering.event_object(standing(None, TRANSACTION, total=1, still_open=1), NOW)

    assert rendered["state"] == "does-not-exist"
    assert rendered["v"] == 3
    assert rendered["history"] == [
        {"enterState": "processing", "exitState": "does-not-exist", "timestamp": MADE_MS + 10, "updatedBy": "k1"},
        {"enterState": "processing", "exitState": "does-not-exist", "timestamp": MADE_MS + 20, "updatedBy": "k2"},
    ]


def test_the_version_counts_the_steps_that_are_not_kept_too() -> None:
    transaction = msgspec.structs.replace(TRANSACTION, steps_dropped=7)
    assert rendering.event_object(standing(None, transaction, total=1, still_open=1), NOW)["v"] == 10


@pytest.mark.parametrize(
    ("state", "total", "still_open", "has", "future", "completed"),
    [
        (None, 0, 0, False, True, False),
        (None, 2, 0, True, True, True),
        (TransactionState.PROCESSING, 2, 1, True, False, False),
        (TransactionState.FAILED, 2, 1, True, False, False),
        (TransactionState.FAILED, 2, 0, True, False, True),
    ],
)
def test_processing_sums_up_all_consumer_groups(
    state: TransactionState | None, total: int, still_open: int, has: bool, future: bool, completed: bool
) -> None:
    rendered = rendering.event_object(standing(state, TRANSACTION, total=total, still_open=still_open), NOW)

    assert rendered["processing"] == {
        "hasTransactions": has,
        "totalTransactions": total,
        "hasFutureTransactions": future,
        "isCompleted": completed,
    }


@pytest.mark.parametrize(
    ("age_ms", "retention_ms", "ttl"),
    [(0, DAY_MS, DAY_MS), (DAY_MS, DAY_MS, 0), (2 * DAY_MS, DAY_MS, 0), (5, None, None)],
)
def test_ttl_is_what_is_left_of_the_retention(age_ms: int, retention_ms: int | None, ttl: int | None) -> None:
    lifetime = rendering.Lifetime(MADE_MS + age_ms, retention_ms)

    assert rendering.event_object(standing(), lifetime)["ttl"] == ttl
    assert rendering.transaction_object(TRANSACTION, lifetime)["ttl"] == ttl


def test_an_event_of_another_dialect_has_no_key_that_emitted_it() -> None:
    other = msgspec.structs.replace(EVENT, dialect=Dialect.PUSHGO, extension={"op_id": "x"})

    rendered = rendering.event_object(standing(event=other), NOW)

    assert rendered["ownership"] == {"buildableId": "00000000000000000000000000000001", "userId": "", "clientId": ""}


@pytest.mark.parametrize(("total", "pages"), [(0, 0), (1, 1), (10, 1), (11, 2), (10_000, 1000)])
def test_a_page_knows_how_many_there_are(total: int, pages: int) -> None:
    page: Page[Standing] = Page(rows=[], next_cursor=None, total=total)

    assert rendering.page_members(page, number=3, size=10) == {
        "total": total,
        "page": 3,
        "pageSize": 10,
        "totalPages": pages,
    }


def test_a_count_that_stopped_at_its_bound_is_marked() -> None:
    page: Page[Standing] = Page(rows=[], next_cursor=None, total=10_000, total_is_exact=False)

    assert rendering.page_members(page, number=1, size=10)["totalIsExact"] is False


def test_a_row_holds_json_as_strings() -> None:
    row = rendering.page_row(standing(), NOW)

    assert (row["payload"], row["query"], row["headers"]) == ('{ "big": 18446744073709551617 }', "{}", "{}")


def test_a_transaction_taken_over_was_created_when_it_first_began() -> None:
    rendered = rendering.transaction_object(TRANSACTION, NOW)

    assert (rendered["createdAt"], rendered["startedAt"], rendered["endedAt"]) == (MADE_MS + 10, MADE_MS + 20, None)
    assert "output" not in rendered


def test_a_transaction_has_one_name_of_its_own_and_always_the_same() -> None:
    first = rendering.transaction_object(TRANSACTION, NOW)
    again = rendering.transaction_object(TRANSACTION, rendering.Lifetime(MADE_MS, None))
    other = rendering.transaction_object(msgspec.structs.replace(TRANSACTION, tx_key="biller"), NOW)

    assert first["_id"] == first["txn"] == again["_id"] != other["_id"]
    assert first["key"] == EVENT.id.hex()


def test_an_empty_output_was_given_all_the_same() -> None:
    assert rendering.transaction_object(msgspec.structs.replace(TRANSACTION, output=""), NOW)["output"] == ""


@pytest.mark.parametrize(
    ("kind", "status", "name"),
    [
        (InvalidRequest, 400, "invalid-request"),
        (MalformedBody, 400, "invalid-request"),
        (NotAuthenticated, 401, "invalid-secret"),
        (NotPermitted, 403, "forbidden"),
        (NotFound, 404, "not-found"),
        (MethodNotAllowed, 405, "method-not-allowed"),
        (RequestTimeout, 408, "request-timeout"),
        (Conflict, 409, "conflict"),
        (PayloadTooLarge, 413, "payload-too-large"),
        (UnsupportedMediaType, 415, "unsupported-media-type"),
        (Unprocessable, 422, "invalid-request"),
        (RateLimited, 429, "rate-limited"),
        (QuotaExhausted, 429, "rate-limited"),
        (Unavailable, 503, "unavailable"),
        (TocsinError, 500, "internal-error"),
    ],
)
def test_every_error_has_a_name(kind: type[TocsinError], status: int, name: str) -> None:
    response = rendering.error_response(Request({}, b""), kind("what happened"))

    assert response.status == status
    assert response.body == b'{"status":"error","message":"what happened","name":"%s"}' % name.encode()
    assert response.headers == [(b"content-type", b"application/json")]


def test_no_error_is_without_a_name_of_its_own() -> None:
    unnamed = {kind for kind, status in STATUS.items() if status not in rendering.ERROR_NAMES}

    assert unnamed == {TocsinError}


def test_a_limit_says_when_to_come_back() -> None:
    response = rendering.error_response(Request({}, b""), RateLimited("too many", retry_after_s=2.1))

    assert (b"retry-after", b"3") in response.headers

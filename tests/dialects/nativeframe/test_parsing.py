"""Native Frame's requests, read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.delivery import DeliveryPhase
from tocsin.core.errors import MalformedBody
from tocsin.core.event import Dialect, Environment
from tocsin.core.identifiers import OrganisationId
from tocsin.dialects.nativeframe import NativeFrameLimits
from tocsin.dialects.nativeframe.faults import FaultCode, InvalidFields
from tocsin.dialects.nativeframe.parsing import (
    PHASES_OF_STATUS,
    HistorySearch,
    NewNativeEvent,
    is_name,
    parse_delivery_id,
    parse_event,
    parse_history,
    parse_ttl_s,
)

LIMITS = NativeFrameLimits()
ORGANISATION = OrganisationId(bytes([1]) * 16)
ID = "166ae306-50ff-11e9-8647-d663bd873d93"
NAME = {"name": "hook"}


def _history(**query: str) -> HistorySearch:
    return parse_history(NAME, {name.rstrip("_"): value for name, value in query.items()}, LIMITS)


def _faults(error: InvalidFields) -> dict[str, FaultCode]:
    return {fault.name: fault.code for fault in error.faults}


def _event(body: bytes = b"{}", id: str | None = None, **path: str) -> NewNativeEvent:  # noqa: A002
    return parse_event(
        {"project": "pvc", "event": "start", **path},
        {} if id is None else {"id": id},
        body,
        organisation_id=ORGANISATION,
        environment=Environment.LIVE,
        now_ms=5,
        limits=LIMITS,
    )


@pytest.mark.parametrize("text", ["a", "a" * 64, "AZaz09_-", "-", "_"])
def test_a_name_of_the_pattern_is_taken(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize("text", ["", "a" * 65, "a b", "a\n", "é", "٣", "a.b", "a/b", "a*"])
def test_a_name_outside_the_pattern_is_not(text: str) -> None:
    assert not is_name(text)


def test_a_search_without_parameters_has_the_defaults() -> None:
    assert _history() == HistorySearch(limit=100, offset=0)


def test_parameters_of_other_names_are_not_looked_at() -> None:
    assert _history(colour="red", page="-1") == HistorySearch(limit=100, offset=0)


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("limit", "1", "limit", 1),
        ("limit", "100", "limit", 100),
        ("offset", "0", "offset", 0),
        ("offset", "7", "offset", 7),
        ("offset", "9" * 30, "offset", 2**31 - 1),
        ("responseCode", "100", "status_code", 100),
        ("responseCode", "599", "status_code", 599),
        ("minAttempts", "0", "attempts_min", 0),
        ("minAttempts", "9" * 5000, "attempts_min", 2**31 - 1),
        ("event", "a" * 64, "event", "a" * 64),
        ("from_", "1970-01-01T00:00:01Z", "since_ms", 1000),
        ("from_", "1970-01-01T00:00:01.250Z", "since_ms", 1250),
        ("from_", "1970-01-01T02:00:01+02:00", "since_ms", 1000),
        ("from_", "1970-01-01T02:00:01 02:00", "since_ms", 1000),
        ("from_", "1970-01-01 00:00:01", "since_ms", 1000),
        ("to", "1970-01-01T00:00:01", "until_ms", 1000),
        ("to", "1970-01-02", "until_ms", 86_400_000),
        ("status", "NEW", "phases", {DeliveryPhase.NEW}),
        ("status", "IN_PROCESS", "phases", {DeliveryPhase.SENDING, DeliveryPhase.RETRYING}),
        ("status", "DELIVERED", "phases", {DeliveryPhase.DELIVERED}),
        ("status", "CANCELED", "phases", {DeliveryPhase.CANCELLED}),
        ("status", "FAILED", "phases", {DeliveryPhase.EXPIRED}),
    ],
)
def test_a_parameter_within_its_bounds_is_read(name: str, text: str, field: str, value: Any) -> None:
    assert getattr(_history(**{name: text}), field) == value


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("limit", "0", FaultCode.RANGE),
        ("limit", "101", FaultCode.RANGE),
        ("limit", "", FaultCode.TYPE),
        ("limit", "-1", FaultCode.RANGE),
        ("limit", "-", FaultCode.TYPE),
        ("limit", "--1", FaultCode.TYPE),
        ("limit", "-1.0", FaultCode.TYPE),
        ("limit", "+1", FaultCode.TYPE),
        ("limit", "1.0", FaultCode.TYPE),
        ("limit", "1_0", FaultCode.TYPE),
        ("limit", " 1", FaultCode.TYPE),
        ("limit", "٣", FaultCode.TYPE),
        ("limit", "²", FaultCode.TYPE),
        ("offset", "-1", FaultCode.RANGE),
        ("offset", "-" + "9" * 5000, FaultCode.RANGE),
        ("responseCode", "-200", FaultCode.RANGE),
        ("responseCode", "99", FaultCode.RANGE),
        ("responseCode", "600", FaultCode.RANGE),
        ("minAttempts", "-1", FaultCode.RANGE),
        ("event", "", FaultCode.PATTERN),
        ("event", "a" * 65, FaultCode.PATTERN),
        ("event", "a b", FaultCode.PATTERN),
        ("from", "yesterday", FaultCode.PATTERN),
        ("from", "", FaultCode.PATTERN),
        ("from", "2026-02-30T00:00:00Z", FaultCode.PATTERN),
        ("to", "1700000000", FaultCode.PATTERN),
        ("status", "new", FaultCode.CHOICE),
        ("status", "CANCELLED", FaultCode.CHOICE),
        ("status", "", FaultCode.CHOICE),
    ],
)
def test_a_parameter_out_of_its_bounds_is_a_fault(name: str, text: str, code: FaultCode) -> None:
    with pytest.raises(InvalidFields) as caught:
        parse_history(NAME, {name: text}, LIMITS)
    assert _faults(caught.value) == {name: code}


def test_every_faulty_parameter_is_listed() -> None:
    wrong = {
        "event": "a b",
        "from": "x",
        "to": "x",
        "limit": "0",
        "offset": "x",
        "responseCode": "1",
        "minAttempts": "x",
        "status": "x",
    }
    with pytest.raises(InvalidFields) as caught:
        parse_history({"name": "a b"}, wrong, LIMITS)
    assert _faults(caught.value).keys() == {"name", *wrong}
    assert caught.value.detail.endswith("(and 8 more)")


@given(
    st.dictionaries(st.sampled_from(["event", "from", "to", "limit", "offset", "status", "minAttempts"]), st.text())
)
def test_no_query_raises_anything_but_its_faults(query: dict[str, str]) -> None:
    try:
        search = parse_history(NAME, query, LIMITS)
    except InvalidFields as error:
        assert {fault.name for fault in error.faults} <= query.keys()  # noqa: PT017  both outcomes are right
    else:
        assert 1 <= search.limit <= 100


def test_every_phase_has_exactly_one_status() -> None:
    phases = [phase for of_status in PHASES_OF_STATUS.values() for phase in of_status]
    assert sorted(phases) == sorted(DeliveryPhase)


def test_an_event_keeps_its_body_as_it_came() -> None:
    body = b' {"b": 1.0, "a": 123456789012345678901234567890} '
    new = _event(body)
    assert new.source_id is None
    draft = new.draft
    assert (draft.data, draft.source, draft.type) == (body, "nativeframe/project/pvc", "start")
    assert (draft.dialect, draft.time_ms, draft.idempotency, draft.extension) == (Dialect.NATIVEFRAME, 5, (), {})


def test_the_clients_own_id_is_shown_and_is_the_idempotency_key() -> None:
    new = _event(id=ID.upper())
    assert new.source_id == ID
    assert new.draft.extension == {"source_id": ID}
    assert len(new.draft.idempotency) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (b'{"a": 1, "b": {"c": 2, "d": 3}}', b'{"b":{"d":3,"c":2},"a":1}'),
        (b'{"a": "\xc3\xa9"}', b'{"a": "\\u00e9"}'),
        (b'{"a": 1, "a": 2}', b'{"a": 2}'),
        (b'{"n": 123456789012345678901234567890}', b'{"n":123456789012345678901234567890}'),
    ],
)
def test_equal_payloads_are_the_same_request(first: bytes, second: bytes) -> None:
    assert _event(first, ID).draft.idempotency == _event(second, ID).draft.idempotency


def test_another_payload_project_or_event_is_another_request_under_the_same_key() -> None:
    (key,) = _event(b'{"a": 1}', ID).draft.idempotency
    others = [
        _event(b'{"a": 2}', ID),
        _event(b'{"a": "1"}', ID),
        _event(b'{"a": 1}', ID, project="other"),
        _event(b'{"a": 1}', ID, event="other"),
    ]
    for other in others:
        (found,) = other.draft.idempotency
        assert found.digest == key.digest
        assert found.fingerprint != key.fingerprint


def test_a_key_is_the_same_however_its_id_is_written() -> None:
    assert _event(id=ID).draft.idempotency == _event(id=ID.upper()).draft.idempotency


@pytest.mark.parametrize(
    "body", [b"", b" ", b"{", b"{} {}", b'{"a": NaN}', b'"\\ud800"', b"\xff", b"[" * 65 + b"]" * 65]
)
def test_a_body_that_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        _event(body)


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"text"', b"true"])
def test_a_payload_that_is_no_object_is_a_fault(body: bytes) -> None:
    with pytest.raises(InvalidFields) as caught:
        _event(body)
    assert _faults(caught.value) == {"body": FaultCode.TYPE}


@pytest.mark.parametrize("body", [b"[]", b"{"])
def test_all_faults_of_an_event_are_listed(body: bytes) -> None:
    with pytest.raises(InvalidFields) as caught:
        _event(body, "x", project="a b", event="a" * 65)
    assert _faults(caught.value).keys() == {"project", "event", "id", "body"}


@pytest.mark.parametrize("text", ["", "x", ID[:-1], ID + "0", ID.replace("-", ""), f"{{{ID}}}", ID.replace("1", "g")])
def test_an_id_that_is_no_dashed_uuid_is_a_fault(text: str) -> None:
    with pytest.raises(InvalidFields) as caught:
        _event(id=text)
    assert _faults(caught.value) == {"id": FaultCode.PATTERN}
    with pytest.raises(InvalidFields) as caught:
        parse_delivery_id({"name": "hook", "id": text})
    assert _faults(caught.value) == {"id": FaultCode.PATTERN}


def test_a_delivery_is_named_by_its_webhook_and_its_id() -> None:
    name, delivery_id = parse_delivery_id({"name": "hook", "id": ID})
    assert (name, delivery_id.hex()) == ("hook", ID.replace("-", ""))


@pytest.mark.parametrize(
    ("body", "ttl_s"), [(b"", None), (b" \n", None), (b"{}", None), (b'{"ttl_s": 60}', 60), (b'{"ttl_s": -1}', -1)]
)
def test_a_lifetime_may_be_asked_for(body: bytes, ttl_s: int | None) -> None:
    assert parse_ttl_s(body) == ttl_s


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"ttl_s": "60"}', "ttl_s"),
        (b'{"ttl_s": 60.0}', "ttl_s"),
        (b'{"ttl_s": true}', "ttl_s"),
        (b'{"ttl_s": null}', "ttl_s"),
        (b'{"ttl": 60}', "ttl"),
        (b"[60]", "body"),
    ],
)
def test_a_lifetime_of_another_kind_is_a_fault(body: bytes, field: str) -> None:
    with pytest.raises(InvalidFields) as caught:
        parse_ttl_s(body)
    assert [fault.name for fault in caught.value.faults] == [field]

"""What requests say, as values: the type and ids of an event, members of bodies, parameters."""

from __future__ import annotations

import string
from typing import Any

import pytest

from tocsin.core.errors import InvalidRequest, MalformedBody
from tocsin.core.identifiers import DestinationId
from tocsin.dialects.promptjang import parsing

BAD_LABELS = ["a" * 129, "order created", "order/created", "order:created", "ordér", "a\n", "*", "a,b", " a", "٣"]
GOOD_LABELS = ["a", "a" * 128, "order.created", "Order_Created-2", "...", "0"]


@pytest.mark.parametrize("label", GOOD_LABELS)
def test_a_type_may_come_by_header_or_body(label: str) -> None:
    assert parsing.event_type(label, {"event_type": "other"}) == label
    assert parsing.event_type(None, {"event_type": label, "event": "other"}) == label
    assert parsing.event_type(None, {"event": label}) == label


@pytest.mark.parametrize("label", [*BAD_LABELS, ""])
def test_a_type_that_is_none_is_refused_wherever_it_stands(label: str) -> None:
    for header, body in ((label, {}), (None, {"event_type": label}), (None, {"event": label})):
        with pytest.raises(InvalidRequest) as refused:
            parsing.event_type(header, body)
        assert refused.value.detail == "Invalid event type: must be 1-128 chars, alphanumeric/dash/dot/underscore"


@pytest.mark.parametrize("body", [{}, [], [{"event": "a"}], "event", 1, 1.5, None, True, {"payload": {"event": "a"}}])
def test_a_body_that_names_no_type_is_of_type_unknown(body: Any) -> None:
    assert parsing.event_type(None, body) == "unknown"


@pytest.mark.parametrize("value", [{"id": 1}, ["a"], 1, None, True])
def test_a_member_that_is_no_string_is_looked_past(value: Any) -> None:
    assert parsing.event_type(None, {"event_type": value, "event": "order.created"}) == "order.created"
    assert parsing.event_type(None, {"event": value}) == "unknown"


def test_the_characters_of_a_label_are_these_and_no_others() -> None:
    taken = {character for character in map(chr, range(0x3000)) if parsing.is_label(character)}
    assert taken == set(string.ascii_letters + string.digits + "._-")


@pytest.mark.parametrize("label", GOOD_LABELS)
def test_a_correlation_id_is_kept_as_it_is(label: str) -> None:
    assert parsing.correlation_id(label) == label


@pytest.mark.parametrize("label", BAD_LABELS)
def test_a_correlation_id_that_is_none_is_refused(label: str) -> None:
    with pytest.raises(InvalidRequest):
        parsing.correlation_id(label)


@pytest.mark.parametrize("header", [None, ""])
def test_an_empty_correlation_id_is_as_good_as_none(header: str | None) -> None:
    assert parsing.correlation_id(header) is None


@pytest.mark.parametrize("key", ["k", "k" * 255, '"8e03978e-40d5"', "a b", "~!@#"])
def test_an_idempotency_key_is_printable_ascii(key: str) -> None:
    assert parsing.idempotency_key(key) == key


@pytest.mark.parametrize("key", ["", "k" * 256, "k\tk", "ké", "\x7f"])
def test_other_idempotency_keys_are_refused(key: str) -> None:
    with pytest.raises(InvalidRequest):
        parsing.idempotency_key(key)


def test_an_endpoint_and_its_source_name_each_other() -> None:
    endpoint_id = DestinationId(bytes(range(16)))
    source = parsing.endpoint_source(endpoint_id)
    assert source == "promptjang/endpoint/ep_000102030405060708090a0b0c0d0e0f"
    assert parsing.endpoint_of_source(source) == endpoint_id


@pytest.mark.parametrize(
    "source",
    [
        "",
        "buildable",
        "promptjang/endpoint/",
        "promptjang/endpoint/ep_",
        "promptjang/endpoint/ep_zz",
        "promptjang/endpoint/dst_000102030405060708090a0b0c0d0e0f",
        "x/promptjang/endpoint/ep_000102030405060708090a0b0c0d0e0f",
    ],
)
def test_other_sources_name_no_endpoint(source: str) -> None:
    assert parsing.endpoint_of_source(source) is None


@pytest.mark.parametrize("body", [b"", b"{", b"[1,]", b"NaN", b"\xff", b'"\\ud800"', b"[" * 65 + b"]" * 65, b"{} {}"])
def test_what_is_not_json_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(MalformedBody) as refused:
        parsing.json_value(body)
    assert refused.value.detail.startswith("Invalid JSON: ")


@pytest.mark.parametrize("body", [b"[]", b'"a"', b"1", b"null", b"true"])
def test_members_are_an_objects(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        parsing.members(body, frozenset({"a"}))


def test_an_unknown_member_is_told_rather_than_lost() -> None:
    assert parsing.members(b'{"a":1}', frozenset({"a", "b"})) == {"a": 1}
    with pytest.raises(InvalidRequest) as refused:
        parsing.members(b'{"a":1,"event_type":[]}', frozenset({"a", "event_types"}))
    assert refused.value.fields == (("event_type", "is not a field of this request"),)


@pytest.mark.parametrize(("text", "taken"), [("abc", True), ("a", False), ("abcd", True), ("abcde", False)])
def test_a_text_has_bounds(text: str, taken: bool) -> None:
    if taken:
        assert parsing.text_of(text, "name", least=2, most=4) == text
        return
    with pytest.raises(InvalidRequest):
        parsing.text_of(text, "name", least=2, most=4)


@pytest.mark.parametrize("value", ["a\nb", "a\x00", "\x7f", 1, None, ["a"], True])
def test_control_characters_and_other_values_are_no_text(value: Any) -> None:
    with pytest.raises(InvalidRequest):
        parsing.text_of(value, "name", least=0, most=10)


@pytest.mark.parametrize("value", ["true", 1, 0, None])
def test_only_a_boolean_is_a_flag(value: Any) -> None:
    assert parsing.flag_of(False, "enabled") is False
    with pytest.raises(InvalidRequest):
        parsing.flag_of(value, "enabled")


@pytest.mark.parametrize(("text", "number"), [(None, 50), ("1", 1), ("100", 100), ("007", 7)])
def test_a_number_within_its_bounds_is_taken(text: str | None, number: int) -> None:
    query = {} if text is None else {"limit": text}
    assert parsing.number_of(query, "limit", default=50, least=1, most=100) == number


@pytest.mark.parametrize("text", ["", "0", "101", "-1", "+1", "1.0", " 1", "1e1", "٣", "²", "0001", "9" * 5000, "x"])
def test_other_numbers_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parsing.number_of({"limit": text}, "limit", default=50, least=1, most=100)
    assert refused.value.detail == "limit must be an integer from 1 to 100"

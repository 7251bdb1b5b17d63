"""Buildable's bodies as values; what they answer over HTTP stands in the ``*.http`` files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.clock import TIME_MAX_MS
from tocsin.core.errors import InvalidRequest, NotFound, TocsinError
from tocsin.core.transaction import TransactionState
from tocsin.dialects.buildable import BuildableLimits, parsing

LIMITS = BuildableLimits()
KEY = "0198a0b1c2d37e4f8a5b6c7d8e9f0a1b"

PARSERS: list[Callable[[bytes, BuildableLimits], object]] = [
    parsing.parse_emit,
    parsing.parse_query,
    parsing.parse_init,
    parsing.parse_transact,
    parsing.parse_update,
    parsing.parse_full_name,
]

FIELDS = ["event", "payload", "eventName", "txKey", "since", "platform", "label"]
FIELDS += ["txState", "page", "pageSize", "key", "output", "state"]

GOOD = st.sampled_from([KEY, "finished", "processing", "does-not-exist", 1, {}])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def refusal(parse: Callable[[bytes, BuildableLimits], object], body: bytes) -> TocsinError | None:
    """Return the mistake that the caller is told of; any other exception is a fault of ours."""
    try:
        parse(body, LIMITS)
    except TocsinError as error:
        return error
    return None


@pytest.mark.parametrize("parse", PARSERS)
@given(fields=st.dictionaries(st.sampled_from(FIELDS), GOOD | ANYTHING))
def test_whatever_the_members_are_only_a_caller_s_mistake_is_raised(
    parse: Callable[[bytes, BuildableLimits], object], fields: dict[str, Any]
) -> None:
    error = refusal(parse, msgspec.json.encode(fields))

    if isinstance(error, InvalidRequest):
        ((name, reason),) = error.fields
        assert name in FIELDS
        assert error.detail == f"{name} {reason}"
    elif isinstance(error, NotFound):
        assert fields["key"] != KEY


@pytest.mark.parametrize("parse", PARSERS)
@given(body=st.binary(max_size=40))
def test_whatever_the_bytes_are_only_a_caller_s_mistake_is_raised(
    parse: Callable[[bytes, BuildableLimits], object], body: bytes
) -> None:
    with pytest.raises(InvalidRequest):
        parse(body, LIMITS)


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        (b'{"event":"e","payload":{}}', b"{}"),
        (b'{"event":"e","payload"  :  { "a" : [1 , 2] }  }', b'{ "a" : [1 , 2] }'),
        (b'{"payload":{"a":1},"event":"e","payload":{"b":2}}', b'{"b":2}'),
        (b'{"pay\\u006coad":{"a":1},"event":"e"}', b'{"a":1}'),
        (b'{"event":"e","other":{"payload":{"x":1}},"payload":{"y":2}}', b'{"y":2}'),
        (
            b'{"event":"e","payload":{"n":123456789012345678901234567890.0}}',
            b'{"n":123456789012345678901234567890.0}',
        ),
    ],
)
def test_a_payload_is_kept_as_it_was_sent(body: bytes, payload: bytes) -> None:
    assert parsing.parse_emit(body, LIMITS).payload == payload


def query(**members: object) -> parsing.Query:
    body = msgspec.json.encode({"eventName": "e", "txKey": "g", "since": 0} | members)
    return parsing.parse_query(body, LIMITS)


def test_a_query_has_defaults() -> None:
    assert query() == parsing.Query(full_name="e", tx_key="g", since_ms=None, state=None, page=1, page_size=10)


@pytest.mark.parametrize(
    ("since", "since_ms"),
    [
        (0, None),
        (-1, None),
        (-0.5, None),
        (-(2**70), None),
        (0.1, 1),
        (1, 1),
        (1.0, 1),
        (1.0001, 2),
        (TIME_MAX_MS, TIME_MAX_MS),
        (2**70, TIME_MAX_MS),
        (1e300, TIME_MAX_MS),
    ],
)
def test_since_is_a_whole_millisecond_within_what_times_there_are(since: float, since_ms: int | None) -> None:
    assert query(since=since).since_ms == since_ms


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("does-not-exist", None),
        ("pending", TransactionState.PENDING),
        ("processing", TransactionState.PROCESSING),
        ("finished", TransactionState.FINISHED),
        ("failed", TransactionState.FAILED),
    ],
)
def test_a_query_asks_for_one_of_five_states(state: str, expected: TransactionState | None) -> None:
    assert query(txState=state).state is expected


def test_the_limits_are_the_caller_s() -> None:
    tight = BuildableLimits(name_max_characters=2, tx_key_max_characters=1, page_size_default=3)

    found = parsing.parse_query(b'{"eventName":"ab","txKey":"g","since":1}', tight)

    assert found.page_size == 3
    with pytest.raises(InvalidRequest, match="eventName must be 1-2"):
        parsing.parse_query(b'{"eventName":"abc","txKey":"g","since":1}', tight)
    with pytest.raises(InvalidRequest, match="txKey must have at most 1"):
        parsing.parse_query(b'{"eventName":"ab","txKey":"gg","since":1}', tight)


def test_an_output_is_bounded_by_its_bytes() -> None:
    tight = BuildableLimits(output_max_bytes=4)
    body = '{"key":"%s","txKey":"g","state":"failed","output":"%s"}'
    assert parsing.parse_transact((body % ("a" * 32, "éé")).encode(), tight).output == "éé"
    with pytest.raises(InvalidRequest, match="output must have at most 4 bytes") as refused:
        parsing.parse_transact((body % ("a" * 32, "ééa")).encode(), tight)
    assert refused.value.fields[0][0] == "output"


@pytest.mark.parametrize(
    ("event_type", "event_name", "expected"),
    [
        ("created", "created", True),
        ("shop.eu.created", "created", True),
        ("shop.eu.created", "eu.created", True),
        ("shop.eu.created", "shop.eu.created", True),
        ("recreated", "created", False),
        ("created.shop", "created", False),
        ("created", "shop.created", False),
    ],
)
def test_an_event_goes_by_its_full_name_and_by_its_end(event_type: str, event_name: str, expected: bool) -> None:
    assert parsing.is_named(event_type, event_name) is expected

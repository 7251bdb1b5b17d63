"""W3C trace context: what is one, and what an attempt makes of it."""

from __future__ import annotations

import pytest

from tocsin.core.identifiers import DeliveryId
from tocsin.core.trace import attempt_span_id, attempt_traceparent, parse_traceparent

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
DELIVERY = DeliveryId(b"d" * 16)


@pytest.mark.parametrize(
    "text", [f"00-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-01-more"]
)
def test_a_traceparent_is_read_of_later_versions_too(text: str) -> None:
    assert parse_traceparent(text) == (TRACE, PARENT, "01")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-1",
        f"0g-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-\u0661\u0661",
    ],
)
def test_what_is_malformed_is_none(text: str) -> None:
    assert parse_traceparent(text) is None
    assert attempt_traceparent(text, DELIVERY, 1) is None


def test_each_attempt_goes_on_with_the_trace_under_a_name_of_its_own() -> None:
    first, second = (attempt_traceparent(f"00-{TRACE}-{PARENT}-00", DELIVERY, number) for number in (1, 2))
    assert first == f"00-{TRACE}-{attempt_span_id(DELIVERY, 1).hex()}-00"
    assert first != second
    assert parse_traceparent(str(first)) is not None

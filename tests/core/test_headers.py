"""Header fields: faults, masks, and what Retry-After says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.destination import MASK
from tocsin.core.headers import header_fault, masked, retry_after_s

NOW_MS = 1_763_719_200_000
"""Fri, 21 Nov 2025 10:00:00 GMT."""


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("0", 0.0),
        ("1", 1.0),
        ("120", 120.0),
        ("007", 7.0),
        (" 5\t", 5.0),
        ("9999999999", 9_999_999_999.0),
        ("Fri, 21 Nov 2025 10:00:30 GMT", 30.0),
        ("Friday, 21-Nov-25 10:00:30 GMT", 30.0),
        ("Fri Nov 21 10:00:30 2025", 30.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 251_638_581_599.0),
    ],
)
def test_a_sound_retry_after_is_honoured(value: str, wait_s: float) -> None:
    assert retry_after_s(value, now_ms=NOW_MS) == wait_s


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-1",
        "+1",
        "1.5",
        "1e3",
        "1e300",
        "nan",
        "inf",
        "Infinity",
        "1" * 11,
        "1" * 20,
        "1_000",
        "٣",
        "0x10",
        "5 s",
        "soon",
        "Fri",
        "Fri, 21 Nov 2025",
        "Fri, 21 Nov 2025 10:00:00 GMT",
        "Fri, 21 Nov 2024 10:00:30 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 31 Feb 2026 10:00:00 GMT",
        "Fri, 21 Nov 99999 10:00:00 GMT",
        "Fri, 21 Nov 2025 25:00:30 GMT",
        "Fri, 21 Nov 9999 10:00:10 -9999",
        "Fri, 21 Nov 2026 10:00:00 GMT" + " " * 50 + "x",
        "Fri, 21 Nov ٢٠٢٦ 10:00:00 GMT",
        "2026-11-21T10:00:00Z",
        "Fri, 21 Nov 0000 10:00:00 GMT",
    ],
)
def test_a_retry_after_of_nonsense_or_of_the_past_is_ignored(value: str) -> None:
    assert retry_after_s(value, now_ms=NOW_MS) is None


@given(
    st.one_of(
        st.text(max_size=60), st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,6} [0-9:]{1,9} .{0,6}")
    )
)
def test_any_retry_after_is_read_without_an_exception(value: str) -> None:
    found = retry_after_s(value, now_ms=NOW_MS)
    assert found is None or 0 <= found < 1e12


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Api-Key", "abc"),
        ("Authorization", "Bearer x y"),
        ("Content-Type", "text/x"),
        ("x", ""),
        ("User-Agent", "me"),
    ],
)
def test_an_ordinary_header_may_be_sent(name: str, value: str) -> None:
    assert header_fault(name, value) is None


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "a\0", "\u00e4", "x" * 129, "(a)", "a;"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    assert header_fault(name, "x") == "the name is not a token"


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "CONNECTION",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Proxy-Connection",
        "webhook-id",
        "Webhook-Signature",
        "webhook-anything",
        "X-PJ-Signature",
        "x-pj-x",
        "ce-id",
    ],
)
def test_a_reserved_name_is_refused(name: str) -> None:
    assert header_fault(name, "x") == "the name is reserved"


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\n", "\r", "a\0b", "a\x1bb", "\x7f", "\u00e4", "a\tb", "x" * 4097])
def test_a_value_that_could_end_the_header_or_is_not_ascii_is_refused(value: str) -> None:
    assert header_fault("X-A", value) is not None


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "proxy-authorization",
        "Cookie",
        "Set-Cookie",
        "X-API-Key",
        "ApiKey",
        "X-Auth",
        "X-Auth-Token",
        "X-Amz-Security-Token",
        "Client-Secret",
        "X-Hub-Signature-256",
        "Password",
        "X-Passwd",
        "Session-Id",
        "X-Credential",
    ],
)
def test_a_credential_is_masked(name: str) -> None:
    assert masked(name, "canary") == MASK


@pytest.mark.parametrize(
    "name",
    ["Content-Type", "webhook-id", "webhook-signature", "X-PJ-Signature", "X-Author", "Date", "WWW-Authenticate"],
)
def test_what_is_no_credential_is_shown(name: str) -> None:
    assert masked(name, "shown") == "shown"

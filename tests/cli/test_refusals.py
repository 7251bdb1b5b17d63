"""One readable line from every dialect's form of an error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tocsin.cli.client.refusals import error_code, error_text, refusal
from tocsin.cli.exits import BUSY, DENIED, FAILED, NOT_FOUND, REFUSED

ISSUE = {"code": "invalid_type", "path": ["fields", "a"], "message": "Required"}


@pytest.mark.parametrize(
    ("body", "text", "code"),
    [
        ({"detail": "no", "code": "conflict", "fields": []}, "no", "conflict"),
        ({"detail": "no", "code": "c", "fields": [{"name": "a", "reason": "is odd"}]}, "no: a is odd", "c"),
        ({"detail": "a is odd", "code": "c", "fields": [{"name": "a", "reason": "is odd"}]}, "a is odd", "c"),
        ({"success": False, "data": None, "error": "channel not found", "error_code": "x"}, "channel not found", "x"),
        ({"message": "Unauthorized"}, "Unauthorized", None),
        ({"message": json.dumps([ISSUE, {"path": [], "message": "Odd"}])}, "fields.a: Required; Odd", None),
        ({"message": "[not issues"}, "[not issues", None),
        ({"status": "error", "message": "txKey is required", "name": "i-r"}, "txKey is required", "i-r"),
        (
            {"message": "two faults", "errorCode": "e", "invalidFields": [{"name": "to", "reason": "is no time"}]},
            "two faults: to is no time",
            "e",
        ),
        ({"detail": "Not found"}, "Not found", None),
        ({"detail": 7, "fields": "x"}, "", None),
        ([], "", None),
        ("text", "", None),
    ],
)  # fmt: skip
def test_the_text_and_the_code_of_every_form(body: Any, text: str, code: str | None) -> None:
    raw = json.dumps(body).encode()
    assert error_text(raw) == text
    assert error_code(raw) == code


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", ""),
        (b"<html>a proxy's page</html>", ""),
        (b"plain words", "plain words"),
        (b"x" * 600, "x" * 500 + "..."),
    ],
)
def test_what_is_no_json_is_shortened_or_left_out(raw: bytes, text: str) -> None:
    assert error_text(raw) == text
    assert error_code(raw) is None


@pytest.mark.parametrize(
    ("status", "exit_status"),
    [
        (302, FAILED), (400, REFUSED), (401, DENIED), (403, DENIED), (404, NOT_FOUND), (409, REFUSED), (413, REFUSED),
        (422, REFUSED), (429, BUSY), (500, FAILED), (502, FAILED), (503, BUSY),
    ],
)  # fmt: skip
def test_every_status_has_an_exit_status(status: int, exit_status: int) -> None:
    failure = refusal(status, {}, b"", has_key=True)
    assert failure.status == exit_status
    assert f"({status})" in failure.message


@pytest.mark.parametrize(
    ("status", "headers", "has_key", "step"),
    [
        (401, {}, True, "this key is not known there: give one with --key"),
        (401, {}, False, "no key was given: give one with --key"),
        (429, {"retry-after": "7"}, True, "try again in 7 s"),
        (503, {"retry-after": "1"}, True, "try again in 1 s"),
        (
            307,
            {"location": "https://there/"},
            True,
            "it redirects to https://there/; if that is right, give it as --url",
        ),
    ],
)
def test_the_next_step_is_told(status: int, headers: dict[str, str], has_key: bool, step: str) -> None:
    assert step in refusal(status, headers, b"{}", has_key=has_key).message


@pytest.mark.parametrize(
    ("body", "exit_status", "step"),
    [
        ({"message": "Please enter your discord ID in your account settings"}, REFUSED, "tocsin account replace"),
        (
            {
                "message": "Telegram username not set. Please set your telegram username in your account settings to "
                "receive notifications"
            },
            REFUSED,
            "tocsin account replace",
        ),
        ({"message": "This API key is not allowed to send events"}, DENIED, ""),
        ({"detail": "too many", "code": "category_limit_reached", "fields": []}, REFUSED, ""),
        ({"detail": "no", "code": "plan_change_forbidden", "fields": []}, DENIED, ""),
        ({"detail": "no", "code": "missing_scope", "fields": []}, DENIED, "use a key with that scope"),
    ],
)
def test_what_no_other_key_would_change_is_a_refusal_of_the_content(
    body: dict[str, Any], exit_status: int, step: str
) -> None:
    failure = refusal(403, {}, json.dumps(body).encode(), has_key=True)
    assert failure.status == exit_status
    assert step in failure.message


def test_an_error_cannot_move_the_cursor() -> None:
    body = json.dumps({"detail": "a\x1b[2J\nb\x9b"}).encode()
    assert refusal(400, {}, body, has_key=True).message == "a\\x1b[2J\\nb\\x9b (400)"

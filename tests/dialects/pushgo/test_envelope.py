"""The envelope around errors that no recorded exchange can bring about at will."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest

from tocsin.core.errors import (
    Conflict,
    InvalidRequest,
    NotPermitted,
    RateLimited,
    RequestTimeout,
    TocsinError,
    Unavailable,
)
from tocsin.dialects.pushgo.envelope import Envelope, success
from tocsin.web.http import MethodNotAllowed, Request, Response

REQUEST = Request({"type": "http", "method": "POST", "path": "/event/create", "headers": []}, b"")
ENVELOPE = Envelope(os.urandom)


def told(error: TocsinError) -> tuple[Response, dict[str, Any]]:
    response = ENVELOPE.error(REQUEST, error)
    ENVELOPE.finish(REQUEST, response)
    body: dict[str, Any] = msgspec.json.decode(response.body)
    assert body.keys() == {"success", "data", "error", "error_code", "problem"}
    assert (body["success"], body["data"]) == (False, None)
    return response, body


def header(response: Response, name: bytes) -> list[bytes]:
    return [value for each, value in response.headers if each == name]


@pytest.mark.parametrize(
    ("error", "status", "code", "text", "category", "retryable"),
    [
        (TocsinError("secret detail"), 500, "internal_error", "internal server error", "internal", True),
        (
            Unavailable("too many events wait"),
            503,
            "server_busy",
            "server is busy, please try again later",
            "too_busy",
            True,
        ),
        (
            RateLimited("too many wrong passwords", code="too_many_attempts", retry_after_s=1.2),
            429,
            "too_many_attempts",
            "too many wrong passwords",
            "rate_limit",
            True,
        ),
        (
            Conflict("the idempotency key was used", code="idempotency_conflict"),
            409,
            "op_id_conflict",
            "op_id was used with another body",
            "conflict",
            False,
        ),
        (NotPermitted("lacks it", code="missing_scope"), 403, "forbidden", "lacks it", "permission", False),
        (
            InvalidRequest("device_key is required", code=""),
            400,
            None,
            "device_key is required",
            "validation",
            False,
        ),
        (RequestTimeout("too slow"), 408, "request_timeout", "too slow", "network", True),
    ],
)
def test_an_error_is_told_in_the_envelope(
    error: TocsinError, status: int, code: str | None, text: str, category: str, retryable: bool
) -> None:
    response, body = told(error)

    assert response.status == status
    assert (body["error"], body["error_code"]) == (text, code)
    problem = body["problem"]
    assert problem.keys() == {"code", "category", "status", "title", "detail", "retryable", "request_id"}
    assert (problem["code"], problem["category"], problem["status"]) == (code, category, status)
    assert (problem["detail"], problem["retryable"]) == (text, retryable)


def test_the_request_id_of_the_header_is_the_problem_s_and_fresh_each_time() -> None:
    answers = [told(InvalidRequest("x")) for _ in range(2)]

    for response, body in answers:
        assert header(response, b"x-request-id") == [body["problem"]["request_id"].encode()]
    assert answers[0][1]["problem"]["request_id"] != answers[1][1]["problem"]["request_id"]


def test_a_success_gets_one_too() -> None:
    response = success({})

    ENVELOPE.finish(REQUEST, response)

    (request_id,) = header(response, b"x-request-id")
    assert len(bytes.fromhex(request_id.decode())) == 16


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Unavailable("x"), [b"1"]),
        (Unavailable("x", retry_after_s=5), [b"5"]),
        (RateLimited("x", retry_after_s=1.2), [b"2"]),
        (InvalidRequest("x"), []),
    ],
)
def test_who_may_come_back_is_told_when(error: TocsinError, seconds: list[bytes]) -> None:
    assert header(told(error)[0], b"retry-after") == seconds


def test_a_wrong_method_has_no_body() -> None:
    response = ENVELOPE.error(REQUEST, MethodNotAllowed("method not allowed"))

    assert (response.status, response.body, response.headers) == (405, b"", [])

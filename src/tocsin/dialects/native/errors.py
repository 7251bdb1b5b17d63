"""How the native routes tell errors: ``{"detail", "code", "fields": [{"name", "reason"}]}``."""

from __future__ import annotations

from tocsin.core.errors import NotFound, TocsinError
from tocsin.web.errors import retry_after, status_of
from tocsin.web.http import Request, Response, json_response

PRECONDITION_FAILED = "precondition_failed"
"""The code for an ``If-Match`` that names another revision."""

_STATUS = {PRECONDITION_FAILED: 412}
"""Statuses that differ from the common table's. Source: RFC 9110, section 13.1.1."""

_CHALLENGE = (b"www-authenticate", b"Bearer")
_RETRY_LATER = (b"retry-after", b"1")


def error_response(_request: Request, error: TocsinError) -> Response:
    """Return an error as the native routes tell it; of a fault of ours nothing but that it is one."""
    status = _STATUS.get(error.code) or status_of(error)
    headers = retry_after(error)
    if status == 401:
        # RFC 9110, section 11.6.1: a 401 names the scheme that would do.
        headers.append(_CHALLENGE)
    if status == 503 and not headers:
        headers.append(_RETRY_LATER)
    ours = status == 500
    return json_response(
        status,
        {
            "detail": "internal error" if ours else error.detail,
            "code": TocsinError.code if ours else error.code,
            "fields": [{"name": name, "reason": reason} for name, reason in error.fields],
        },
        headers,
    )


def not_found(request: Request) -> Response:
    """Return the answer to a path below ``/api/v1`` that is nobody's, whoever asks."""
    return error_response(request, NotFound("there is no such route", code="route_not_found"))

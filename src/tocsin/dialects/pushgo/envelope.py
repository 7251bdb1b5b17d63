"""The envelope around every answer, and how each error is told in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tocsin.core.errors import NotFound, TocsinError
from tocsin.web.errors import retry_after, status_of
from tocsin.web.http import Request, Response, json_response

_REQUEST_ID = b"x-request-id"
_REQUEST_ID_BYTES = 16
_RETRY_LATER = (b"retry-after", b"1")

_OURS: dict[str, tuple[str, str]] = {
    "idempotency_conflict": ("op_id_conflict", "op_id was used with another body"),
}
"""PushGo's code and text for errors of the layers below."""


class _Category(msgspec.Struct, frozen=True):
    """How the ``problem`` of a status is named."""

    name: str
    title: str
    retryable: bool = False


_CATEGORIES = {
    401: _Category("auth", "Authentication failed"),
    403: _Category("permission", "Permission denied"),
    404: _Category("not_found", "Resource not found"),
    408: _Category("network", "Request timed out", retryable=True),
    409: _Category("conflict", "Request conflicts with current state"),
    429: _Category("rate_limit", "Too many requests", retryable=True),
    500: _Category("internal", "Internal server error", retryable=True),
    503: _Category("too_busy", "Service temporarily unavailable", retryable=True),
}
_VALIDATION = _Category("validation", "Validation failed")


def success(data: dict[str, Any]) -> Response:
    """Return a 200 with ``data`` in the envelope."""
    return json_response(200, {"success": True, "data": data, "error": None, "error_code": None})


class Envelope:
    """Tells errors, and marks every answer with a request id of its own.

    Args:
        entropy: returns that many random bytes.
    """

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy

    def error(self, _request: Request, error: TocsinError) -> Response:
        """Return an error in the envelope."""
        status = status_of(error)
        if status == 405:
            return Response(status=status)
        code, text = _told(status, error)
        category = _CATEGORIES.get(status, _VALIDATION)
        request_id = self._request_id()
        headers = retry_after(error)
        if status == 503 and not headers:
            headers.append(_RETRY_LATER)
        return json_response(
            status,
            {
                "success": False,
                "data": None,
                "error": text,
                "error_code": code,
                "problem": {
                    "code": code,
                    "category": category.name,
                    "status": status,
                    "title": category.title,
                    "detail": text,
                    "retryable": category.retryable,
                    "request_id": request_id,
                },
            },
            [*headers, (_REQUEST_ID, request_id.encode())],
        )

    def finish(self, _request: Request, response: Response) -> None:
        """Add the request id; an error has it already, since its body names it too."""
        if all(name != _REQUEST_ID for name, _ in response.headers):
            response.headers = [*response.headers, (_REQUEST_ID, self._request_id().encode())]

    def not_found(self, request: Request) -> Response:
        """Return the answer to a path that no dialect has."""
        return self.error(request, NotFound("404 Not Found", code="route_not_found"))

    def _request_id(self) -> str:
        return self._entropy(_REQUEST_ID_BYTES).hex()


def _told(status: int, error: TocsinError) -> tuple[str | None, str]:
    if status == 500:
        return "internal_error", "internal server error"
    if status == 503:
        return "server_busy", "server is busy, please try again later"
    if status == 403 and error.code == "missing_scope":
        return "forbidden", error.detail
    if error.code in _OURS:
        return _OURS[error.code]
    # An error to which PushGo gives no code has an empty one here.
    return error.code or None, error.detail

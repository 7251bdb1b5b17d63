"""The one table from errors to HTTP statuses; a dialect only chooses the body."""

from __future__ import annotations

import math

from tocsin.core.errors import (
    Conflict,
    InvalidRequest,
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
from tocsin.web.http import MethodNotAllowed

STATUS: dict[type[TocsinError], int] = {
    InvalidRequest: 400,
    NotAuthenticated: 401,
    NotPermitted: 403,
    NotFound: 404,
    RequestTimeout: 408,
    Conflict: 409,
    PayloadTooLarge: 413,
    UnsupportedMediaType: 415,
    Unprocessable: 422,
    RateLimited: 429,
    QuotaExhausted: 429,
    MethodNotAllowed: 405,
    Unavailable: 503,
    TocsinError: 500,
}


def status_of(error: TocsinError) -> int:
    """Return the HTTP status of an error: that of its nearest class in the table."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def retry_after(error: TocsinError) -> list[tuple[bytes, bytes]]:
    """Return the ``Retry-After`` header of an error that passes, whole seconds rounded up; else nothing."""
    if error.retry_after_s is None:
        return []
    return [(b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s)))]

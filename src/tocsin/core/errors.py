"""Every mistake a caller can make, each with a stable code; the domain knows no HTTP."""

from __future__ import annotations


class TocsinError(Exception):
    """A failure that a caller may be told about.

    Attributes:
        code: stable, machine-readable, lower case with underscores.
        detail: safe to show; never holds a secret.
        retry_after_s: for failures that pass, how long to wait before the next try.
        fields: the faulty parameters, as (name, reason) pairs, when the fault lies in some.
    """

    code = "internal_error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        retry_after_s: float | None = None,
        fields: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code
        self.retry_after_s = retry_after_s
        self.fields = fields


class InvalidRequest(TocsinError):
    """The request breaks a rule of its contract."""

    code = "invalid_request"


class MalformedBody(InvalidRequest):
    """The body is not one JSON document of the kind asked for."""

    code = "malformed_body"


class NotAuthenticated(TocsinError):
    """Nobody, or nobody known, asks."""

    code = "unauthorized"


class NotPermitted(TocsinError):
    """Somebody known asks for what this key may not do."""

    code = "forbidden"


class NotFound(TocsinError):
    """Nothing of this organisation has that id."""

    code = "not_found"


class Conflict(TocsinError):
    """The request is well-formed, but what is stored forbids it."""

    code = "conflict"


class Unprocessable(TocsinError):
    """The request is well-formed, but a value in it is refused."""

    code = "unprocessable"


class PayloadTooLarge(TocsinError):
    """The body is over its limit."""

    code = "payload_too_large"


class UnsupportedMediaType(TocsinError):
    """The body has a content type or a content encoding that is not taken."""

    code = "unsupported_media_type"


class RequestTimeout(TocsinError):
    """The client took too long to send its request."""

    code = "request_timeout"


class RateLimited(TocsinError):
    """More requests than the plan allows in its window."""

    code = "rate_limited"


class QuotaExhausted(TocsinError):
    """The plan's quota for this period is used up."""

    code = "quota_exhausted"


class Unavailable(TocsinError):
    """Tocsin cannot store or read right now; nothing was stored, a repeat may succeed."""

    code = "unavailable"

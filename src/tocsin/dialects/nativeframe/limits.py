"""The bounds of the dialect."""

from __future__ import annotations

import msgspec

from tocsin.core.clock import DAY_MS
from tocsin.core.retry import NATIVEFRAME_ATTEMPTS


class NativeFrameLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of requests; the defaults are the contract's, or ours where it names none.

    Attributes:
        event_bytes_max: an event's payload.
        config_bytes_max: the body of every other request.
        rows_max: rows of one page of history, and the default.
        idempotency_ms: how long an event's own id is recognised.
        attempts_default: of a webhook, the first attempt included.
        attempts_max: the most that a webhook may ask for.
        timeout_default_s: for one attempt of a webhook.
        timeout_min_s: the least that a webhook may ask for.
        timeout_max_s: the most that it may ask for.
        headers_max: request headers, and response headers, of a webhook.
    """

    event_bytes_max: int = 1_048_576
    config_bytes_max: int = 65_536
    rows_max: int = 100
    idempotency_ms: int = 7 * DAY_MS
    attempts_default: int = NATIVEFRAME_ATTEMPTS
    attempts_max: int = 20
    timeout_default_s: float = 5.0
    timeout_min_s: float = 1.0
    timeout_max_s: float = 60.0
    headers_max: int = 50

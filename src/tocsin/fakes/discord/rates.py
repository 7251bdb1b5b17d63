"""Discord's rate limits: so many requests in a window, which begins with its first request.

Source: Discord's documentation, "Rate Limits": the headers, the answer 429 and its body.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from hashlib import md5

import msgspec

from tocsin.core.clock import Clock

BUCKETS_MAX = 10_000
"""How many buckets are told apart; the oldest is forgotten, and so begins anew."""


class Rate(msgspec.Struct, frozen=True):
    """How much one bucket takes. Discord tells no figures; these are what was observed for a webhook."""

    limit: int = 5
    window_s: float = 2.0


class Standing(msgspec.Struct, frozen=True):
    """How a bucket stands after a request.

    Attributes:
        allowed: whether the request was within the limit.
        remaining: how many more the window takes.
        reset_after_s: until the window ends.
    """

    allowed: bool
    remaining: int
    reset_after_s: float


class Buckets:
    """The windows of all buckets."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self.rate = rate
        self._clock = clock
        self._windows: dict[Hashable, tuple[float, int]] = {}

    def take(self, bucket: Hashable) -> Standing:
        """Count a request, unless the window is full."""
        now_s = self._clock.monotonic_s()
        began_s, taken = self._windows.get(bucket, (now_s, 0))
        if now_s - began_s >= self.rate.window_s:
            began_s, taken = now_s, 0
        allowed = taken < self.rate.limit
        if bucket not in self._windows and len(self._windows) >= BUCKETS_MAX:
            del self._windows[next(iter(self._windows))]
        self._windows[bucket] = (began_s, taken + allowed)
        return Standing(allowed, self.rate.limit - taken - allowed, began_s + self.rate.window_s - now_s)

    def headers(self, bucket: Hashable, standing: Standing) -> dict[str, str]:
        """Return the headers that every answer has."""
        reset_s = self._clock.now_ms() / 1000 + standing.reset_after_s
        return {
            "X-RateLimit-Limit": str(self.rate.limit),
            "X-RateLimit-Remaining": str(standing.remaining),
            "X-RateLimit-Reset": f"{reset_s:.3f}",
            "X-RateLimit-Reset-After": f"{standing.reset_after_s:.3f}",
            "X-RateLimit-Bucket": md5(repr(bucket).encode(), usedforsecurity=False).hexdigest(),
            "Via": "1.1 fake",
        }


def too_many(
    retry_after_s: float, *, is_global: bool, message: str | None = None
) -> tuple[dict[str, object], dict[str, str]]:
    """Return body and further headers of a 429."""
    body = {
        "message": message or "You are being rate limited.",
        "retry_after": round(retry_after_s, 3),
        "global": is_global,
    }
    headers = {"Retry-After": str(math.ceil(retry_after_s)), "X-RateLimit-Scope": "global" if is_global else "user"}
    if is_global:
        headers["X-RateLimit-Global"] = "true"
    return body, headers

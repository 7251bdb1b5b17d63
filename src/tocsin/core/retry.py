"""When to try again."""

from __future__ import annotations

import msgspec

DAY_S = 86_400.0


class RetryPolicy(msgspec.Struct, frozen=True):
    """A destination's schedule.

    Attributes:
        schedule_s: the wait before retry 1, 2, ...; its length is how many retries there are.
        jitter: each wait is multiplied by a random factor within [1 - jitter, 1 + jitter].
        delay_max_s: no wait is longer, whatever the receiver asks for; one that is cut to it is spread below it.
    """

    schedule_s: tuple[float, ...]
    jitter: float = 0.2
    delay_max_s: float = DAY_S

    def delay_s(self, attempts_made: int, *, jitter: float, retry_after_s: float | None = None) -> float | None:
        """Return seconds to wait before the next attempt, or None to give up.

        Args:
            attempts_made: attempts already finished, at least 1.
            jitter: uniform random number in [0, 1); the caller draws it.
            retry_after_s: the receiver's ``Retry-After``; a lower bound, never above ``delay_max_s``.

        Source: RFC 9110, section 10.2.3, for Retry-After.
        """
        assert attempts_made >= 1
        if attempts_made > len(self.schedule_s):
            return None
        wait_s = self.schedule_s[attempts_made - 1] * (1 + self.jitter * (2 * jitter - 1))
        own_s = min(wait_s, self.delay_max_s * (1 - self.jitter * jitter))
        return max(own_s, min(retry_after_s or 0.0, self.delay_max_s))


NATIVE = RetryPolicy((5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 36_000.0))
"""The default: a quick second try, then ever rarer over 28 hours."""

PROMPTJANG = RetryPolicy((30.0, 60.0, 120.0, 240.0, 480.0), jitter=0.0, delay_max_s=480.0)
"""PromptJang's published schedule: five retries, doubling from 30 s; no wait is above 480 s."""

NATIVEFRAME_ATTEMPTS = 3
_NATIVEFRAME_DELAY_MAX_S = 300.0

PRESETS = {"default": NATIVE, "promptjang": PROMPTJANG}
"""The schedules that a destination may name instead of listing its waits."""


def nativeframe(attempts_max: int) -> RetryPolicy:
    """Return Native Frame's schedule for that many attempts, 1 or more: doubling from 5 s, at most 300 s."""
    longest_s = _NATIVEFRAME_DELAY_MAX_S
    waits_s = tuple(min(5.0 * 2**n, longest_s) for n in range(attempts_max - 1))
    return RetryPolicy(waits_s, jitter=0.0, delay_max_s=longest_s)


PRESETS["nativeframe"] = nativeframe(NATIVEFRAME_ATTEMPTS)

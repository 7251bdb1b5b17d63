"""A clock that stands still until it is moved."""

from __future__ import annotations

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z, where a manual clock starts."""


class ManualClock:
    """Implements ``core.clock.Clock`` for tests.

    Args:
        now_ms: where the wall clock stands at first.
    """

    def __init__(self, now_ms: int = START_MS) -> None:
        self._now_ms = now_ms
        self._monotonic_ms = 0

    def now_ms(self) -> int:
        """Return the wall clock's milliseconds since 1970, UTC."""
        return self._now_ms

    def monotonic_s(self) -> float:
        """Return the seconds by which the clock was advanced; setting the wall clock does not change it."""
        return self._monotonic_ms / 1000

    def advance_ms(self, by_ms: int) -> None:
        """Let time pass on both clocks."""
        assert by_ms >= 0
        self._now_ms += by_ms
        self._monotonic_ms += by_ms

    def set_ms(self, now_ms: int) -> None:
        """Set the wall clock, forwards or backwards, as an operator or a time server does."""
        self._now_ms = now_ms

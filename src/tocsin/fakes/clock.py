"""The machine's clocks, for fakes that are given no other."""

from __future__ import annotations

import time


class MachineClock:
    """Implements ``core.clock.Clock``."""

    def now_ms(self) -> int:
        """Return the wall clock's milliseconds since 1970, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Return seconds on a clock that never goes back."""
        return time.monotonic()

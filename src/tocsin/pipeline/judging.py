"""What an outcome says of its destination: of its health over days, of its breaker, of what its remote wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tocsin.core.clock import Clock
from tocsin.core.delivery import Deferred, Delivered, ErrorClass, Outcome, Rejected
from tocsin.core.destination import Destination
from tocsin.pipeline.lane import Lane
from tocsin.telemetry import Metrics

Learned = Callable[[Destination, dict[str, Any]], None]
"""Called with what a remote told of a destination's address."""


class Health(Protocol):
    """Who keeps an eye on destinations over days."""

    def succeeded(self, destination: Destination) -> None:
        """Note that something arrived."""
        ...

    def failed(self, destination: Destination, *, dead: str | None) -> None:
        """Note that an attempt failed; ``dead`` is how the remote said that nothing will ever be taken there."""
        ...


class Judge:
    """Draws from each outcome what follows for all that is yet to be sent there."""

    def __init__(self, *, health: Health, clock: Clock, metrics: Metrics, on_learned: Learned | None) -> None:
        self._health = health
        self._clock = clock
        self._metrics = metrics
        self._on_learned = on_learned

    def heed(self, destination: Destination, lane: Lane, outcome: Outcome) -> float:
        """Note an outcome; return for how many seconds nothing of the lane need be held in memory, 0 as a rule."""
        if not isinstance(outcome, Rejected) and outcome.learned and self._on_learned is not None:
            self._on_learned(destination, outcome.learned)
        broken_s = self._broken_s(destination, lane, outcome)
        return max(self._rest_s(lane, outcome), broken_s) if outcome.rest_s else broken_s

    def _rest_s(self, lane: Lane, outcome: Outcome) -> float:
        now_s = self._clock.monotonic_s()
        lane.rest(now_s, outcome.rest_s)
        return outcome.rest_s if lane.rests_long(now_s) else 0.0

    def _broken_s(self, destination: Destination, lane: Lane, outcome: Outcome) -> float:
        """Let the breaker and the watch over days know how it went."""
        if isinstance(outcome, Delivered):
            if lane.failures or destination.failing_since_ms is not None:
                lane.succeeded()
                self._health.succeeded(destination)
            return 0.0
        attempt = outcome.attempt
        # What is our own fault, or only a request for patience, says nothing against the receiver.
        if not isinstance(outcome, Deferred) or (outcome.counted and attempt.error_class is not ErrorClass.INTERNAL):
            is_dead = isinstance(outcome, Rejected) and outcome.disable
            self._health.failed(destination, dead=f"given up for good: {attempt.error}" if is_dead else None)
        if isinstance(outcome, Deferred) and outcome.rest_s:
            return 0.0
        now_s = self._clock.monotonic_s()
        if not lane.failed(now_s):
            return 0.0
        self._metrics.breaker_opened()
        return lane.open_until_s - now_s

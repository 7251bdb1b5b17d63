"""One destination as its sender sees it: what is held for it, how fast it may be sent to, whether it is well."""

from __future__ import annotations

from collections import deque

import msgspec

from tocsin.core.delivery import Lease
from tocsin.core.destination import Destination
from tocsin.core.identifiers import DeliveryId

_LATENESS_S = 0.05
"""What timers and a busy loop may be late by and still be made up for."""
_EXPECTED_S = 5.0
"""For how long past a rest the others wait at the most for the one that was put off by it."""


class LaneLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of each destination's lane.

    Attributes:
        held_max: deliveries leased for one destination, sent or waiting in memory.
        breaker_failures: consecutive failures after which a destination is left alone for a while.
        breaker_wait_s: how long, the first time; it doubles with each failed trial.
        breaker_wait_max_s: how long at the most.
        rest_held_s: a remote that wants a longer rest gets its deliveries from the store again afterwards; through a
            shorter one they stay in memory.
    """

    held_max: int = 256
    breaker_failures: int = 20
    breaker_wait_s: float = 5.0
    breaker_wait_max_s: float = 60.0
    rest_held_s: float = 20.0


class Lane:
    """What is held for one destination, and its circuit breaker.

    The breaker is closed while attempts succeed now and then; after a row of failures it opens for a while, then lets
    one attempt at a time through until one succeeds.
    """

    __slots__ = (
        "_expected",
        "_expected_until_s",
        "_limits",
        "_next_token_s",
        "_open_until_s",
        "_resting_until_s",
        "_trials",
        "backlogged",
        "failures",
        "queue",
        "reserved",
        "sending",
        "timer_set",
    )

    def __init__(self, limits: LaneLimits) -> None:
        self._limits = limits
        self._open_until_s = 0.0
        self._resting_until_s = 0.0
        self._expected: DeliveryId | None = None
        self._expected_until_s = 0.0
        self._trials = 0
        self._next_token_s = 0.0
        self.queue: deque[Lease] = deque()
        self.reserved = 0
        self.sending = 0
        self.failures = 0
        self.backlogged = False
        self.timer_set = False

    @property
    def held(self) -> int:
        """Deliveries that this process holds for the destination."""
        return self.reserved + len(self.queue) + self.sending

    @property
    def on_trial(self) -> bool:
        """Whether the breaker lets only one attempt at a time through."""
        return self.failures >= self._limits.breaker_failures

    def is_open(self, now_s: float) -> bool:
        """Return whether nothing may be sent now."""
        return now_s < self._open_until_s

    @property
    def open_until_s(self) -> float:
        """When the breaker lets something through again, on the monotonic clock."""
        return self._open_until_s

    def has_room(self, now_s: float) -> bool:
        """Return whether one more delivery may be held."""
        if self.is_open(now_s) or self.rests_long(now_s):
            return False
        return self.held < (1 if self.on_trial else self._limits.held_max)

    def may_send(self, destination: Destination, now_s: float) -> bool:
        """Return whether an attempt may start now, its rate aside."""
        if self.is_open(now_s):
            return False
        return self.sending < (1 if self.on_trial else destination.concurrency)

    def token_wait_s(self, destination: Destination, now_s: float) -> float:
        """Take the right to one attempt and return 0, or return how long to wait for it.

        A rest that the remote asked for comes first. Attempts are spaced evenly, without a burst after an idle time:
        a remote that takes one a second takes two at once as too many. Only at more than twenty a second is lateness
        made up for, a twentieth of a second at most.
        """
        if now_s < self._resting_until_s:
            return self._resting_until_s - now_s
        if self._expected is not None and now_s < self._expected_until_s and self.held < self._limits.held_max:
            return self._expected_until_s - now_s
        if destination.rate_per_s is None:
            return 0.0
        interval_s = 1.0 / destination.rate_per_s
        # A rate that was raised meanwhile counts from now on.
        self._next_token_s = min(self._next_token_s, now_s + interval_s)
        if now_s < self._next_token_s:
            return self._next_token_s - now_s
        late_s = max(0.0, _LATENESS_S - interval_s)
        self._next_token_s = max(self._next_token_s, now_s - late_s) + interval_s
        return 0.0

    def line_up(self) -> None:
        """Put what waits in the order in which it was accepted: what was put off comes before what is newer."""
        self.queue = deque(sorted(self.queue, key=lambda lease: lease.event.id))

    def rest(self, now_s: float, rest_s: float) -> None:
        """Leave the destination alone for so long, as its remote asked."""
        self._resting_until_s = max(self._resting_until_s, now_s + rest_s)

    def expect(self, delivery_id: DeliveryId, now_s: float, rest_s: float) -> None:
        """Let nothing pass the one that was put off by a rest: it comes back from the store when that is over."""
        self._expected = delivery_id
        self._expected_until_s = now_s + rest_s + _EXPECTED_S

    def came(self, lease: Lease) -> None:
        """Hold what came from the store."""
        self.queue.append(lease)
        if lease.delivery_id == self._expected:
            self._expected = None

    def rests_long(self, now_s: float) -> bool:
        """Return whether the rest that is left is too long to hold anything through it."""
        return self._resting_until_s - now_s > self._limits.rest_held_s

    def succeeded(self) -> None:
        """Note an attempt that arrived."""
        self.failures = 0
        self._trials = 0
        self._open_until_s = 0.0

    def failed(self, now_s: float) -> bool:
        """Note a failed attempt; return whether that opened the breaker."""
        self.failures += 1
        if not self.on_trial or self.is_open(now_s):
            return False
        wait_s = min(self._limits.breaker_wait_s * 2.0**self._trials, self._limits.breaker_wait_max_s)
        self._trials = min(self._trials + 1, 32)
        self._open_until_s = now_s + wait_s
        return True

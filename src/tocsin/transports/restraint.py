"""Restraint: one attempt at a time at each remote address, and none while the remote wants to be left alone.

A destination's own rest lies with the dispatcher. This is for what lies across destinations: two of them with one
address, a limit on a bot or on this machine. And it keeps a burst at one address from being a burst of refusals, of
which a remote counts every one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tocsin.core.clock import Clock

_RESTS_MAX = 4096


class Restraint:
    """Who may go next, and who has to wait until when; keys are addresses, and stay in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._until_s: dict[str, float] = {}

    @asynccontextmanager
    async def turn(self, key: str, *, wait_s: float) -> AsyncIterator[None]:
        """Have the turn at an address; those who wait get it in the order in which they came.

        Raises:
            TimeoutError: it did not come within ``wait_s``.
        """
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, users + 1
        try:
            async with asyncio.timeout(wait_s):
                await lock.acquire()
            try:
                yield
            finally:
                lock.release()
        finally:
            users = self._locks[key][1] - 1
            if users:
                self._locks[key] = lock, users
            else:
                del self._locks[key]

    def rest(self, key: str, rest_s: float) -> None:
        """Leave an address, or all that share a limit, alone for so long."""
        if rest_s <= 0:
            return
        now_s = self._clock.monotonic_s()
        known_s = self._until_s.pop(key, 0.0)
        if len(self._until_s) >= _RESTS_MAX:
            self._until_s = {each: until_s for each, until_s in self._until_s.items() if until_s > now_s}
        while len(self._until_s) >= _RESTS_MAX:
            del self._until_s[next(iter(self._until_s))]
        self._until_s[key] = max(known_s, now_s + rest_s)

    def left_s(self, keys: Sequence[str]) -> float:
        """Return how long the longest rest of these still lasts; 0 where none does."""
        now_s = self._clock.monotonic_s()
        return max(0.0, *(self._until_s.get(key, 0.0) - now_s for key in keys))


class Refusals:
    """Counts the refusals for which a remote would shut this machine out, and says when to stop before it does.

    Args:
        most: how many there may be within the window.
        window_s: how long each counts.
    """

    def __init__(self, clock: Clock, *, most: int, window_s: float) -> None:
        self._clock = clock
        self._window_s = window_s
        self._at_s: deque[float] = deque(maxlen=most)

    def note(self) -> None:
        """Count one."""
        self._at_s.append(self._clock.monotonic_s())

    @property
    def left_s(self) -> float:
        """How long nothing may be sent; 0 while anything may."""
        if len(self._at_s) < (self._at_s.maxlen or 0):
            return 0.0
        return max(0.0, self._at_s[0] + self._window_s - self._clock.monotonic_s())

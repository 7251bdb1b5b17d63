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
from tocsin.core.identifiers import OrganisationId

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

    Who causes more than a share of them is stopped alone, before everybody is. No more is kept than ``most`` of them.

    Args:
        most: how many there may be within the window.
        share: how many of them one organisation may cause.
        window_s: how long each counts.
    """

    def __init__(self, clock: Clock, *, most: int, share: int, window_s: float) -> None:
        self._clock = clock
        self._most = most
        self._share = share
        self._window_s = window_s
        self._all: deque[tuple[float, OrganisationId]] = deque()
        self._own: dict[OrganisationId, deque[float]] = {}

    def note(self, organisation_id: OrganisationId) -> None:
        """Count one that an organisation caused."""
        now_s = self._clock.monotonic_s()
        while self._all and (len(self._all) >= self._most or self._all[0][0] + self._window_s <= now_s):
            _, forgotten_id = self._all.popleft()
            own = self._own[forgotten_id]
            own.popleft()
            if not own:
                del self._own[forgotten_id]
        self._all.append((now_s, organisation_id))
        self._own.setdefault(organisation_id, deque()).append(now_s)

    @property
    def left_s(self) -> float:
        """How long nobody may send anything; 0 while anybody may."""
        return self._rest_s(self._all[0][0]) if len(self._all) >= self._most else 0.0

    def own_left_s(self, organisation_id: OrganisationId) -> float:
        """Return how long an organisation may send nothing for what it caused itself; 0 while it may."""
        own = self._own.get(organisation_id, ())
        return self._rest_s(own[len(own) - self._share]) if len(own) >= self._share else 0.0

    def _rest_s(self, since_s: float) -> float:
        return max(0.0, since_s + self._window_s - self._clock.monotonic_s())

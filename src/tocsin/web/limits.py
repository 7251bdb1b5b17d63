"""Rate limits: how many requests an organisation may make within a sliding minute."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.identifiers import OrganisationId
from tocsin.core.quota import PLAN_LIMITS, Plan, PlanLimits


class RouteClass(StrEnum):
    """Which of a plan's two figures a route counts against."""

    INGEST = "ingest"
    """Requests that store an event."""
    API = "api"
    """All others."""


class RateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the limits are.

    Attributes:
        window_s: the length of the sliding window.
        plans: what each plan allows within the window; None is no limit.
        ingest_shown_per_minute: what the headers say of storing requests where there is no limit.
        api_shown_per_minute: what the headers say of all others there.
    """

    window_s: float = 60.0
    plans: Mapping[Plan, PlanLimits] = msgspec.field(default_factory=lambda: PLAN_LIMITS)
    ingest_shown_per_minute: int = 10_000
    api_shown_per_minute: int = 1000


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What a request was told, and what its answer's headers say.

    Attributes:
        limit: requests within the window.
        remaining: how many more would be let in now.
        reset_s: the unix second by which the next place is free.
        retry_after_s: when a refused request may come again; None where it was let in.
    """

    limit: int
    remaining: int
    reset_s: int
    retry_after_s: float | None = None


_Window = deque[float]


class RateLimits:
    """Counts the requests that were let in, per organisation and class of route.

    The window is exact: it keeps the instant of each request that was let in, at most as many as the limit, so that
    no span of ``window_s`` ever holds more than the limit. A refused request takes no place. Each instant is put in
    and taken out once, so a request costs O(1). ``take`` has no await in it: requests that race are counted one
    after another. Counts live in this process and start afresh with it.
    """

    def __init__(self, *, clock: Clock, settings: RateSettings) -> None:
        self._clock = clock
        self._settings = settings
        self._windows: dict[tuple[OrganisationId, RouteClass], _Window] = {}
        self._sweep_at_s = -math.inf

    def take(self, organisation_id: OrganisationId, plan: Plan, route_class: RouteClass) -> Allowance:
        """Count one request of an organisation, and return whether it is let in."""
        limit = self._limit(plan, route_class)
        if limit is None:
            return self.unlimited(route_class)
        now_s = self._clock.monotonic_s()
        self._sweep(now_s)
        window = self._windows.setdefault((organisation_id, route_class), deque())
        left_s = now_s - self._settings.window_s
        while window and window[0] <= left_s:
            window.popleft()
        if len(window) < limit:
            window.append(now_s)
            return Allowance(limit=limit, remaining=limit - len(window), reset_s=self._unix_s(window[0] - left_s))
        # After a change to a smaller plan more instants are kept than the limit; that many must leave first.
        wait_s = window[len(window) - limit] - left_s if limit else self._settings.window_s
        return Allowance(limit=limit, remaining=0, reset_s=self._unix_s(wait_s), retry_after_s=wait_s)

    def unlimited(self, route_class: RouteClass) -> Allowance:
        """Return what is shown where nothing is counted: no limit in the plan, or nobody known asks."""
        settings = self._settings
        shown = (
            settings.ingest_shown_per_minute if route_class is RouteClass.INGEST else settings.api_shown_per_minute
        )
        return Allowance(limit=shown, remaining=shown, reset_s=self._unix_s(settings.window_s))

    def _limit(self, plan: Plan, route_class: RouteClass) -> int | None:
        limits = self._settings.plans[plan]
        return limits.ingest_per_minute if route_class is RouteClass.INGEST else limits.api_per_minute

    def _unix_s(self, wait_s: float) -> int:
        return math.ceil(self._clock.now_ms() / 1000 + wait_s)

    def _sweep(self, now_s: float) -> None:
        """Forget, once in a window's length, whoever made no request for so long."""
        if now_s < self._sweep_at_s:
            return
        left_s = now_s - self._settings.window_s
        self._sweep_at_s = now_s + self._settings.window_s
        idle = [key for key, window in self._windows.items() if not window or window[-1] <= left_s]
        for key in idle:
            del self._windows[key]

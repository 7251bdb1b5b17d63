"""Plans, and what an organisation may use in a month."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Plan(StrEnum):
    """What an organisation has bought; one set of names over all dialects."""

    FREE = "free"
    STARTER = "starter"
    PRO = "pro"
    ENTERPRISE = "enterprise"
    UNLIMITED = "unlimited"


class PlanLimits(msgspec.Struct, frozen=True):
    """A plan's limits; None is no limit.

    Attributes:
        events_per_month: accepted PingPilot events.
        categories: PingPilot categories.
        ingest_per_minute: requests that store an event, over a sliding minute.
        api_per_minute: other requests, over a sliding minute.
    """

    events_per_month: int | None
    categories: int | None
    ingest_per_minute: int | None
    api_per_minute: int | None


PLAN_LIMITS: dict[Plan, PlanLimits] = {
    Plan.FREE: PlanLimits(100, 3, 100, 60),
    Plan.STARTER: PlanLimits(100, 3, 1000, 300),
    Plan.PRO: PlanLimits(1000, 10, 10_000, 1000),
    Plan.ENTERPRISE: PlanLimits(10_000, 100, 10_000, 1000),
    Plan.UNLIMITED: PlanLimits(None, None, None, None),
}
"""What each plan allows; settings may change the figures."""


class QuotaCharge(msgspec.Struct, frozen=True):
    """What an event counts against.

    Attributes:
        name: the counter, ``pingpilot/2026-05``.
        limit: the counter's highest value; None counts without a limit.
    """

    name: str
    limit: int | None

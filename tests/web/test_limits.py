"""Rate limits: the window slides, is exact, and costs the same however many requests it holds."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

import msgspec
import pytest

from tocsin.core.identifiers import OrganisationId
from tocsin.core.quota import PLAN_LIMITS, Plan, PlanLimits
from tocsin.web.limits import Allowance, RateLimits, RateSettings, RouteClass

ONE = OrganisationId(b"1" * 16)
OTHER = OrganisationId(b"2" * 16)
SMALL = {**PLAN_LIMITS, Plan.FREE: PlanLimits(None, None, 3, 2)}


@dataclass
class ManualClock:
    """A clock that is moved by hand; the wall and the monotonic one apart."""

    wall_ms: int = 1_700_000_000_000
    passed_s: float = 5000.0

    def now_ms(self) -> int:
        return self.wall_ms

    def monotonic_s(self) -> float:
        return self.passed_s

    def pass_s(self, seconds: float) -> None:
        self.passed_s += seconds
        self.wall_ms += round(seconds * 1000)


def limits_of(clock: ManualClock, plans: dict[Plan, PlanLimits] = SMALL) -> RateLimits:
    return RateLimits(clock=clock, settings=RateSettings(plans=plans))


def take(limits: RateLimits, times: int, organisation_id: OrganisationId = ONE) -> list[Allowance]:
    return [limits.take(organisation_id, Plan.FREE, RouteClass.INGEST) for _ in range(times)]


def let_in(allowances: list[Allowance]) -> int:
    return sum(each.retry_after_s is None for each in allowances)


@pytest.mark.parametrize(
    ("plan", "route_class", "limit"),
    [
        (Plan.FREE, RouteClass.INGEST, 100),
        (Plan.FREE, RouteClass.API, 60),
        (Plan.STARTER, RouteClass.INGEST, 1000),
        (Plan.STARTER, RouteClass.API, 300),
        (Plan.PRO, RouteClass.INGEST, 10_000),
        (Plan.PRO, RouteClass.API, 1000),
    ],
)
def test_each_plan_lets_in_exactly_what_it_promises(plan: Plan, route_class: RouteClass, limit: int) -> None:
    limits = limits_of(ManualClock(), PLAN_LIMITS)
    taken = [limits.take(ONE, plan, route_class) for _ in range(limit + 5)]
    assert let_in(taken) == limit
    assert {each.limit for each in taken} == {limit}


def test_an_unlimited_plan_never_refuses_and_shows_the_settings_figure() -> None:
    clock = ManualClock()
    settings = RateSettings(ingest_shown_per_minute=777, api_shown_per_minute=55)
    limits = RateLimits(clock=clock, settings=settings)
    ingest = [limits.take(ONE, Plan.UNLIMITED, RouteClass.INGEST) for _ in range(2000)]
    assert set(map(msgspec.json.encode, ingest)) == {msgspec.json.encode(limits.unlimited(RouteClass.INGEST))}
    assert ingest[-1] == Allowance(limit=777, remaining=777, reset_s=1_700_000_060)
    assert limits.take(ONE, Plan.UNLIMITED, RouteClass.API).limit == 55


def test_what_remains_counts_down_to_none() -> None:
    assert [each.remaining for each in take(limits_of(ManualClock()), 5)] == [2, 1, 0, 0, 0]


def test_the_window_slides_request_by_request() -> None:
    clock = ManualClock()
    limits = limits_of(clock)
    take(limits, 1)
    clock.pass_s(30)
    take(limits, 2)
    clock.pass_s(29.5)
    assert let_in(take(limits, 1)) == 0
    clock.pass_s(0.5)
    assert let_in(take(limits, 2)) == 1, "only the first request's place is free after its minute"
    clock.pass_s(30)
    assert let_in(take(limits, 3)) == 2


def test_no_span_of_a_minute_ever_holds_more_than_the_limit() -> None:
    clock = ManualClock()
    limits = limits_of(clock)
    admitted_s: list[float] = []
    for step in range(4000):
        clock.pass_s((step * 7919 % 23) / 4)
        if let_in(take(limits, 1)):
            admitted_s.append(clock.passed_s)
    assert len(admitted_s) > 100
    assert all(later - first >= 60 for first, later in zip(admitted_s, admitted_s[3:], strict=False))


def test_a_refused_request_takes_no_place_and_is_told_when_to_come_again() -> None:
    clock = ManualClock()
    limits = limits_of(clock)
    take(limits, 3)
    clock.pass_s(20)
    refused = take(limits, 50)[-1]
    assert refused == Allowance(limit=3, remaining=0, reset_s=1_700_000_060, retry_after_s=40.0)
    clock.pass_s(40)
    assert let_in(take(limits, 4)) == 3


def test_organisations_and_classes_of_route_do_not_count_against_each_other() -> None:
    limits = limits_of(ManualClock())
    assert let_in(take(limits, 3)) == 3
    assert let_in(take(limits, 3, OTHER)) == 3
    api = [limits.take(ONE, Plan.FREE, RouteClass.API) for _ in range(3)]
    assert let_in(api) == 2


def test_a_smaller_plan_counts_what_the_larger_one_let_in() -> None:
    clock = ManualClock()
    limits = limits_of(clock)
    for _ in range(10):
        limits.take(ONE, Plan.STARTER, RouteClass.INGEST)
        clock.pass_s(1)
    refused = take(limits, 1)[0]
    assert refused.retry_after_s == 57, "the eighth of ten came at 7 s and leaves at 67 s; now is 10 s"
    clock.pass_s(refused.retry_after_s)
    assert let_in(take(limits, 2)) == 1


def test_a_plan_that_allows_nothing_lets_nothing_in() -> None:
    clock = ManualClock()
    limits = limits_of(clock, {**PLAN_LIMITS, Plan.FREE: PlanLimits(None, None, 0, 0)})
    assert take(limits, 1)[0] == Allowance(limit=0, remaining=0, reset_s=1_700_000_060, retry_after_s=60.0)


def test_the_wall_clock_may_jump_without_opening_or_closing_the_window() -> None:
    clock = ManualClock()
    limits = limits_of(clock)
    take(limits, 3)
    clock.wall_ms += 3_600_000
    assert let_in(take(limits, 1)) == 0
    clock.wall_ms -= 7_200_000
    clock.passed_s += 60
    assert let_in(take(limits, 3)) == 3


def test_whoever_is_gone_for_a_minute_is_forgotten() -> None:
    clock = ManualClock()
    limits = limits_of(clock)
    for number in range(1000):
        take(limits, 1, OrganisationId(number.to_bytes(16, "big")))
    clock.pass_s(120)
    take(limits, 1)
    assert len(limits._windows) == 1


async def _race(takers: int, take_once: Take) -> int:
    return sum(await asyncio.gather(*(take_once() for _ in range(takers))))


class Take:
    """One request that lets others run between its steps, as a handler does."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits

    async def __call__(self) -> bool:
        await asyncio.sleep(0)
        allowance = self._limits.take(ONE, Plan.FREE, RouteClass.INGEST)
        await asyncio.sleep(0)
        return allowance.retry_after_s is None


class CheckThenCount(Take):
    """The negative control: looks first, counts later."""

    def __init__(self) -> None:
        self._window: deque[float] = deque()

    async def __call__(self) -> bool:
        free = len(self._window) < 3
        await asyncio.sleep(0)
        if free:
            self._window.append(0.0)
        return free


def test_a_hundred_at_once_get_exactly_the_limit() -> None:
    assert asyncio.run(_race(100, Take(limits_of(ManualClock())))) == 3
    assert asyncio.run(_race(100, CheckThenCount())) > 3

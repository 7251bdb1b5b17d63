"""Row 11: what fails at once does not come back at once: jitter spreads it, a breaker holds quick retries back."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from leases import made_lease
from pipeline.stage import Stage, run
from tocsin.core.delivery import Attempt, Deferred, DeliveryState, Exchange
from tocsin.core.retry import NATIVE, RetryPolicy
from tocsin.engine.rows import RetryAt
from tocsin.pipeline.dispatcher import DispatchLimits
from tocsin.pipeline.lane import LaneLimits
from tocsin.pipeline.settling import settlement_of

FAILURES = 50_000
PEAK_MAX = 0.01
"""Of all retries, in the busiest second."""

NOW_MS = 1_767_225_600_000
ATTEMPT = Attempt(started_ms=NOW_MS, duration_ms=1, exchange=Exchange(request_line="POST https://a.example/"))

OFTEN = DispatchLimits(poll_s=0.002)


def peak(policy: RetryPolicy, outcome: Deferred, *, attempts_made: int = 0) -> float:
    """Return which part of 50,000 deliveries that fail in the same millisecond is due in the busiest second."""
    dice = random.Random(attempts_made)
    lease = made_lease(attempts_made=attempts_made)
    seconds: Counter[int] = Counter()
    for _ in range(FAILURES):
        then = settlement_of(lease, outcome, policy, now_ms=NOW_MS, jitter=dice.random()).then
        assert isinstance(then, RetryAt)
        seconds[then.due_ms // 1000] += 1
    return max(seconds.values()) / FAILURES


@pytest.mark.parametrize("retry", range(2, len(NATIVE.schedule_s) + 1))
def test_from_the_second_retry_on_at_most_a_hundredth_falls_due_in_one_second(retry: int) -> None:
    assert peak(NATIVE, Deferred(ATTEMPT), attempts_made=retry - 1) <= PEAK_MAX


@pytest.mark.parametrize("counted", [True, False])
def test_those_whom_a_receiver_told_the_same_time_are_spread_too(counted: bool) -> None:
    assert peak(NATIVE, Deferred(ATTEMPT, 900.0, counted)) <= PEAK_MAX


def test_the_control_without_jitter_all_of_them_are_due_in_the_same_second() -> None:
    exact = RetryPolicy(NATIVE.schedule_s, jitter=0.0)
    assert peak(exact, Deferred(ATTEMPT), attempts_made=1) == 1.0
    assert peak(exact, Deferred(ATTEMPT, 900.0)) == 1.0


async def attempts_in(stage: Stage, seconds: int) -> list[int]:
    """Store 400 events for one failing destination; return how many attempts each second sees."""
    stage.remote.answer = stage.remote.fail
    await stage.destination(retry=NATIVE)
    ids = await stage.accept_at_once(400)
    seen: list[int] = []
    for _ in range(seconds):
        before = len(stage.remote.started)
        # What fell due, what was given back, and what that made possible.
        await stage.until_looked(6)
        seen.append(len(stage.remote.started) - before)
        stage.clock.advance_ms(1000)
    assert not await stage.all_are(ids, DeliveryState.DELIVERED)
    return seen


def test_the_quick_first_retry_is_held_back_by_the_breaker(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        before = len(stage.remote.started)
        seen = await attempts_in(stage, 60)
        first = len(stage.remote.started) - before - sum(seen)
        limits = LaneLimits()
        assert first + seen[0] <= limits.breaker_failures + 32, "those that were under way when it opened"
        assert max(seen[1:]) <= 1
        assert sum(seen[1:]) <= 4, "after 5, 10, 20 and 40 seconds"

    run(tmp_path, scenario, dispatch=OFTEN)


def test_the_control_without_a_breaker_the_first_retries_come_within_two_seconds(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        seen = await attempts_in(stage, 8)
        assert sum(seen[3:]) >= 300

    lane = LaneLimits(breaker_failures=10**9, held_max=1000)
    run(tmp_path, scenario, dispatch=msgspec.structs.replace(OFTEN, lane=lane))

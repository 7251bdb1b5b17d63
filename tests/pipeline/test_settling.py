"""What an outcome means for its delivery, and that every settlement is recorded in the end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leases import made_lease
from pipeline.stage import Stage, run
from tocsin.core.delivery import (
    Attempt,
    Deferred,
    Delivered,
    DeliveryState,
    ErrorClass,
    Exchange,
    Lease,
    Outcome,
    Rejected,
)
from tocsin.core.errors import Unavailable
from tocsin.core.identifiers import DEFAULT_ORGANISATION
from tocsin.core.retry import DAY_S, NATIVE, PROMPTJANG, RetryPolicy
from tocsin.engine.rows import Cancel, Finished, RetryAt, Settlement
from tocsin.pipeline.settling import Settler, settlement_of

NOW_MS = 1_767_225_600_000
ATTEMPT = Attempt(started_ms=NOW_MS, duration_ms=7, exchange=Exchange(request_line="POST https://a.example/"))
LONG = RetryPolicy((60.0, 3600.0, *(hours * 3600.0 for hours in (6, 12, 18, 18, 18, 18))), jitter=0.2)
"""A schedule over more than 72 hours, whatever the dice say."""


def verdict(
    outcome: Outcome, policy: RetryPolicy = NATIVE, *, attempts_made: int = 0, jitter: float = 0.5
) -> Finished | RetryAt:
    settlement = settlement_of(made_lease(attempts_made=attempts_made), outcome, policy, now_ms=NOW_MS, jitter=jitter)
    assert settlement.attempt is ATTEMPT
    assert settlement.lease.attempts_made == attempts_made
    return settlement.then


def wait_s(outcome: Outcome, policy: RetryPolicy = NATIVE, *, attempts_made: int = 0, jitter: float = 0.5) -> float:
    then = verdict(outcome, policy, attempts_made=attempts_made, jitter=jitter)
    assert isinstance(then, RetryAt)
    return (then.due_ms - NOW_MS) / 1000


# -- outcome and policy ------------------------------------------------------------------------------------


@pytest.mark.parametrize("attempts_made", [0, 3, 7, 100])
@pytest.mark.parametrize("policy", [NATIVE, PROMPTJANG, RetryPolicy(())])
def test_what_arrived_or_was_refused_for_good_is_final_whatever_the_schedule(
    policy: RetryPolicy, attempts_made: int
) -> None:
    assert verdict(Delivered(ATTEMPT), policy, attempts_made=attempts_made) == Finished(DeliveryState.DELIVERED)
    for refused in (Rejected(ATTEMPT), Rejected(ATTEMPT, disable=True)):
        assert verdict(refused, policy, attempts_made=attempts_made) == Finished(DeliveryState.EXPIRED)


@pytest.mark.parametrize("policy", [NATIVE, PROMPTJANG, LONG])
def test_each_failure_waits_as_its_schedule_says_and_the_last_gives_up(policy: RetryPolicy) -> None:
    for made, scheduled_s in enumerate(policy.schedule_s):
        then = verdict(Deferred(ATTEMPT), policy, attempts_made=made)
        assert then == RetryAt(NOW_MS + round(scheduled_s * 1000), counted=True)
    last = verdict(Deferred(ATTEMPT), policy, attempts_made=len(policy.schedule_s))
    assert last == Finished(DeliveryState.EXPIRED)


def test_without_retries_the_first_failure_gives_up() -> None:
    assert verdict(Deferred(ATTEMPT), RetryPolicy(())) == Finished(DeliveryState.EXPIRED)


def test_jitter_spreads_each_wait_by_a_fifth_either_way() -> None:
    assert wait_s(Deferred(ATTEMPT), attempts_made=1, jitter=0.0) == pytest.approx(240.0)
    assert wait_s(Deferred(ATTEMPT), attempts_made=1, jitter=0.999999) == pytest.approx(360.0, abs=0.01)
    assert wait_s(Deferred(ATTEMPT), PROMPTJANG, attempts_made=1, jitter=0.9) == 60.0


def test_retry_after_is_a_lower_bound_and_never_above_the_policy_s_longest_wait() -> None:
    exact = RetryPolicy(NATIVE.schedule_s, jitter=0.0)
    assert wait_s(Deferred(ATTEMPT, retry_after_s=2.0), exact) == 5.0
    assert wait_s(Deferred(ATTEMPT, retry_after_s=120.0), exact) == 120.0
    assert wait_s(Deferred(ATTEMPT, retry_after_s=10 * DAY_S), exact) == DAY_S
    assert wait_s(Deferred(ATTEMPT, retry_after_s=0.0), exact) == 5.0


def test_retry_after_does_not_buy_another_attempt() -> None:
    outcome = Deferred(ATTEMPT, retry_after_s=60.0)
    assert verdict(outcome, PROMPTJANG, attempts_made=5) == Finished(DeliveryState.EXPIRED)


def test_those_who_are_told_the_same_time_are_spread_above_it() -> None:
    outcome = Deferred(ATTEMPT, retry_after_s=100.0)
    assert wait_s(outcome, jitter=0.0) == 100.0
    assert wait_s(outcome, jitter=0.5) == pytest.approx(110.0)
    assert wait_s(Deferred(ATTEMPT, 100.0, counted=False), jitter=0.5) == pytest.approx(110.0)
    assert wait_s(outcome, PROMPTJANG, jitter=0.5) == 100.0


@pytest.mark.parametrize("attempts_made", [0, 7, 8, 5000])
def test_what_only_asked_for_patience_never_gives_up(attempts_made: int) -> None:
    then = verdict(Deferred(ATTEMPT, 30.0, counted=False), attempts_made=attempts_made, jitter=0.0)
    assert then == RetryAt(NOW_MS + 30_000, counted=False)


def test_patience_without_a_time_is_a_minute_not_a_day_and_never_nothing() -> None:
    assert wait_s(Deferred(ATTEMPT, counted=False)) == 60.0
    assert wait_s(Deferred(ATTEMPT, 0.0, counted=False)) == 1.0
    assert wait_s(Deferred(ATTEMPT, 10 * DAY_S, counted=False)) == DAY_S


@given(
    schedule_s=st.lists(st.floats(min_value=0.0, max_value=7 * DAY_S), max_size=6).map(tuple),
    jitter=st.floats(min_value=0.0, max_value=1.0),
    dice=st.floats(min_value=0.0, max_value=1.0, exclude_max=True),
    retry_after_s=st.none() | st.floats(min_value=0.0, max_value=1e10),
    attempts_made=st.integers(min_value=0, max_value=60),
    counted=st.booleans(),
)
def test_no_due_time_lies_in_the_past_or_beyond_the_longest_wait(
    schedule_s: tuple[float, ...],
    jitter: float,
    dice: float,
    retry_after_s: float | None,
    attempts_made: int,
    counted: bool,
) -> None:
    policy = RetryPolicy(schedule_s, jitter)
    outcome = Deferred(ATTEMPT, retry_after_s, counted)
    then = verdict(outcome, policy, attempts_made=attempts_made, jitter=dice)
    if counted and attempts_made >= len(schedule_s):
        assert then == Finished(DeliveryState.EXPIRED)
        return
    assert isinstance(then, RetryAt)
    assert then.counted is counted
    assert 0 <= then.due_ms - NOW_MS <= DAY_S * 1000
    if retry_after_s is not None:
        assert then.due_ms - NOW_MS >= round(min(retry_after_s, DAY_S) * 1000)


# -- over days ---------------------------------------------------------------------------------------------


def test_a_schedule_of_three_days_is_kept_to_the_end_with_a_moved_clock(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.remote.answer = stage.remote.fail
        await stage.destination(retry=LONG)
        started_ms = stage.clock.now_ms()
        (delivery_id,) = await stage.accept()
        for made in range(1, len(LONG.schedule_s) + 1):
            await stage.until_recorded(made)
            (delivery,) = await stage.deliveries([delivery_id])
            assert (delivery.state, delivery.attempts_made) == (DeliveryState.READY, made)
            assert delivery.due_ms is not None
            wait_ms = delivery.due_ms - stage.clock.now_ms()
            assert wait_ms == pytest.approx(LONG.schedule_s[made - 1] * 1000, rel=0.2)
            stage.clock.advance_ms(wait_ms - 1)
            assert await stage.engine.claim(limit=1, per_destination=1, lease_until_ms=0) == []
            stage.clock.advance_ms(1)
        await stage.until_all([delivery_id], DeliveryState.EXPIRED)
        assert stage.clock.now_ms() - started_ms >= 72 * 3600 * 1000
        attempts = await stage.attempts(delivery_id)
        assert [each.number for each in attempts] == list(range(1, len(LONG.schedule_s) + 2))

    run(tmp_path, scenario)


def test_patience_is_not_counted_however_often_it_is_asked_for(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        answers = iter([Deferred(stage.remote.attempt(429), 30.0, counted=False)] * 12)
        stage.remote.answer = lambda _: next(answers, Delivered(stage.remote.attempt(200)))
        await stage.destination(retry=RetryPolicy((5.0,)))
        (delivery_id,) = await stage.accept()
        for asked in range(1, 13):
            await stage.until_recorded(asked)
            (delivery,) = await stage.deliveries([delivery_id])
            assert (delivery.state, delivery.attempts_made) == (DeliveryState.READY, 0)
            stage.clock.advance_ms(36_001)
        await stage.until_all([delivery_id], DeliveryState.DELIVERED)
        (delivery,) = await stage.deliveries([delivery_id])
        assert delivery.attempts_made == 1
        assert len(await stage.attempts(delivery_id)) == 13

    run(tmp_path, scenario)


# -- the settler -------------------------------------------------------------------------------------------


async def leased(stage: Stage, count: int) -> list[Lease]:
    """Store deliveries that nobody sends, and lease them."""
    await stage.change(await stage.destination(), paused=True)
    await stage.accept_at_once(count)
    until_ms = stage.clock.now_ms() + 90_000
    return await stage.engine.claim(limit=count, per_destination=count, lease_until_ms=until_ms)


def done(each: Lease) -> Settlement:
    return Settlement(each, ATTEMPT, Finished(DeliveryState.DELIVERED))


def test_settlements_go_in_batches_and_those_that_come_meanwhile_in_the_next(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        leases = await leased(stage, 1100)
        told: list[int] = []
        settler = Settler(stage.engine, on_settled=told.append)
        stage.engine.held["settle"] = asyncio.Event()
        for each in leases[:1]:
            settler.add(done(each))
        await asyncio.sleep(0)
        for each in leases[1:]:
            settler.add(done(each))
        stage.engine.held.pop("settle").set()
        await settler.drain()
        assert sum(told) == len(leases) == 1100
        assert stage.engine.batches["settle"][0] == 1
        assert max(stage.engine.batches["settle"]) == 512
        assert len(stage.engine.batches["settle"]) <= 5
        assert await stage.states([each.delivery_id for each in leases]) == [DeliveryState.DELIVERED] * 1100

    run(tmp_path, scenario, sending=False)


def test_while_the_store_is_away_settlements_are_kept_and_tried_again(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        leases = await leased(stage, 3)
        told: list[int] = []
        settler = Settler(stage.engine, on_settled=told.append)
        stage.engine.faults["settle"] = [Unavailable("the disk is full")] * 2
        for each in leases:
            settler.add(done(each))
        await settler.drain()
        assert told == [3]
        assert stage.engine.batches["settle"] == [3, 3, 3]
        assert await stage.states([each.delivery_id for each in leases]) == [DeliveryState.DELIVERED] * 3

    run(tmp_path, scenario, sending=False)


def test_drained_means_recorded_though_more_came_in_meanwhile(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        leases = await leased(stage, 4)
        told: list[int] = []
        settler = Settler(stage.engine, on_settled=told.append)
        settler.add(done(leases[0]))
        draining = asyncio.get_running_loop().create_task(settler.drain())
        await asyncio.sleep(0)
        for each in leases[1:]:
            settler.add(done(each))
        await draining
        assert sum(told) == 4

    run(tmp_path, scenario, sending=False)


UNWRITABLE = msgspec.structs.replace(ATTEMPT, error_class=ErrorClass.PROTOCOL, error="half a character: \ud800")


@pytest.mark.parametrize("place", [0, 7, 99])
def test_an_attempt_that_cannot_be_written_down_takes_no_other_with_it(tmp_path: Path, place: int) -> None:
    async def scenario(stage: Stage) -> None:
        leases = await leased(stage, 100)
        told: list[int] = []
        settler = Settler(stage.engine, on_settled=told.append)
        due_ms = stage.clock.now_ms() + 5000
        for number, each in enumerate(leases):
            settler.add(Settlement(each, UNWRITABLE, RetryAt(due_ms)) if number == place else done(each))
        await settler.drain()
        assert sum(told) == 100
        states = await stage.states([each.delivery_id for each in leases])
        assert states.count(DeliveryState.DELIVERED) == 99
        poisonous = leases[place].delivery_id
        (delivery,) = await stage.deliveries([poisonous])
        assert (delivery.state, delivery.attempts_made, delivery.due_ms) == (DeliveryState.READY, 1, due_ms)
        (attempt,) = await stage.attempts(poisonous)
        assert attempt.attempt.error_class is ErrorClass.INTERNAL

    run(tmp_path, scenario, sending=False)


def test_what_the_store_takes_in_no_form_is_given_up_and_its_lease_runs_out(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        leases = await leased(stage, 2)
        settler = Settler(stage.engine, on_settled=lambda _: None)
        nonsense = msgspec.structs.replace(leases[0], number=2**70)
        settler.add(done(nonsense))
        settler.add(done(leases[1]))
        await settler.drain()
        states = await stage.states([each.delivery_id for each in leases])
        assert states == [DeliveryState.LEASED, DeliveryState.DELIVERED]

    run(tmp_path, scenario, sending=False)


# -- what is counted ---------------------------------------------------------------------------------------


def test_a_delivery_counts_as_ended_once_that_is_recorded(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination()
        stage.engine.held["settle"] = asyncio.Event()
        await stage.accept()
        await stage.signal.until(lambda: stage.engine.batches["settle"] == [1])
        assert stage.metrics.ended == []
        stage.engine.held.pop("settle").set()
        await stage.until_recorded(1)
        assert stage.metrics.ended == [DeliveryState.DELIVERED]

    run(tmp_path, scenario)


def test_a_delivery_whose_lease_was_lost_does_not_count_as_ended_by_its_attempt(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination()
        stage.remote.answer = stage.remote.hang
        (lost,) = await stage.accept()
        await stage.until_started(1)
        await stage.engine.amend([Cancel(DEFAULT_ORGANISATION, lost)])
        stage.remote.finish()
        await stage.until_recorded(1)
        assert await stage.states([lost]) == [DeliveryState.CANCELLED]
        assert stage.metrics.ended == []

    run(tmp_path, scenario)

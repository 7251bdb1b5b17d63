"""How much is sent at once and how fast, and that nobody who waits for room waits for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipeline.stage import Stage, run
from tocsin.core.delivery import Deferred, Delivered, DeliveryState, Outcome
from tocsin.core.destination import Filter
from tocsin.core.identifiers import DeliveryId
from tocsin.core.retry import RetryPolicy
from tocsin.pipeline.dispatcher import DispatchLimits
from tocsin.pipeline.lane import LaneLimits
from tocsin.transports.protocol import Shipment

FOREVER = RetryPolicy((5.0,) * 50, jitter=0.0)


def only(source: str) -> Filter:
    return Filter(sources=(source,))


# -- at once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sending_max", [1, 7, 100])
def test_no_more_attempts_are_under_way_than_allowed_for_one_and_for_all(tmp_path: Path, sending_max: int) -> None:
    async def scenario(stage: Stage) -> None:
        caps = {"one": 1, "three": 3, "five": 5}
        for name, concurrency in caps.items():
            await stage.destination(name, concurrency=concurrency)
        stage.remote.answer = stage.remote.hang
        ids = await stage.accept_at_once(40)
        while stage.remote.under_way or not await stage.all_are(ids, DeliveryState.DELIVERED):
            if stage.remote.under_way:
                place = stage.random.randrange(len(stage.remote.under_way))
                stage.remote.finish(name=stage.remote.under_way[place][0].target.destination.name)
            else:
                await stage.until_looked(1)
        assert len(stage.remote.started) == 120
        assert stage.remote.most_at_once <= min(sending_max, sum(caps.values()))
        for name, concurrency in caps.items():
            assert stage.remote.most_per_destination[name] <= concurrency
        # What is allowed is also used, but for the place that is kept for those that have none.
        if sending_max > sum(caps.values()):
            assert stage.remote.most_per_destination == caps
        else:
            assert stage.remote.most_at_once >= sending_max * 3 // 4

    run(tmp_path, scenario, dispatch=DispatchLimits(poll_s=0.01, sending_max=sending_max, held_max=64))


def test_a_concurrency_that_is_lowered_counts_for_the_next_attempt(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination(concurrency=4)
        stage.remote.answer = stage.remote.hang
        await stage.accept(10)
        await stage.until_started(4)
        await stage.change(made, concurrency=1)
        for _ in range(3):
            stage.remote.finish()
        await stage.until_looked()
        assert len(stage.remote.started) == 4
        stage.remote.finish()
        await stage.until_started(5)
        await stage.until_looked()
        assert len(stage.remote.started) == 5

    run(tmp_path, scenario)


def test_of_those_that_wait_for_a_place_each_gets_its_turn(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        for name in ("noisy", "quiet", "silent"):
            await stage.destination(name, filter=only(name))
        stage.remote.answer = stage.remote.hang
        await stage.accept_at_once(200, source="noisy")
        for name in ("quiet", "silent"):
            await stage.accept_at_once(20, source=name)
        while len(stage.remote.sent_to("quiet")) < 20 or len(stage.remote.sent_to("silent")) < 20:
            stage.remote.finish()
        assert len(stage.remote.sent_to("noisy")) <= 20 + 7, "no more than its share while others wait"
        while stage.remote.under_way:
            stage.remote.finish()
        assert len(stage.remote.sent_to("noisy")) == 200

    run(tmp_path, scenario, dispatch=DispatchLimits(poll_s=0.01, sending_max=7))


def test_one_that_cannot_use_its_turn_hands_it_on(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        for name in ("noisy", "paused", "quiet"):
            await stage.destination(name, filter=only(name))
        stage.remote.answer = stage.remote.hang
        await stage.accept(3, source="noisy")
        await stage.accept(2, source="paused")
        await stage.accept(2, source="quiet")
        (paused,) = [each for each in stage.catalog.all_destinations() if each.name == "paused"]
        await stage.change(paused, paused=True)
        stage.remote.finish()
        stage.remote.finish()
        assert stage.remote.sent_to("quiet")

    run(tmp_path, scenario, dispatch=DispatchLimits(poll_s=0.01, sending_max=2))


# -- how fast ----------------------------------------------------------------------------------------------


def test_a_rate_is_kept_whatever_waits(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination("slow", rate_per_s=20.0, filter=only("slow"))
        await stage.destination("free", filter=only("free"))
        await stage.accept_at_once(12, source="slow")
        for started in range(1, 12):
            await stage.until_looked(2)
            assert len(stage.remote.sent_to("slow")) == started
            stage.clock.advance_ms(49)
            await stage.until_looked(2)
            assert len(stage.remote.sent_to("slow")) == started
            await stage.until_all(await stage.accept(source="free"), DeliveryState.DELIVERED)
            stage.clock.advance_ms(2)
            await stage.until_started(started + 1, "slow")

    run(tmp_path, scenario)


def test_a_destination_slower_than_a_lease_loses_nothing(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(rate_per_s=0.05)
        ids = await stage.accept_at_once(12)
        while not await stage.all_are(ids, DeliveryState.DELIVERED):
            await stage.until_looked(1)
            stage.clock.advance_ms(5000)
        assert len(stage.remote.started) == 12
        assert stage.clock.monotonic_s() >= 11 * 20

    run(tmp_path, scenario)


# -- the breaker -------------------------------------------------------------------------------------------

BREAKING = DispatchLimits(poll_s=0.01, lane=LaneLimits(breaker_failures=3))


def test_a_failing_destination_is_left_alone_then_tried_with_one_attempt_at_a_time(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(concurrency=2, retry=FOREVER)
        stage.remote.answer = stage.remote.fail
        ids = await stage.accept_at_once(30)
        await stage.signal.until(lambda: stage.metrics.breakers_opened == 1)
        tried = len(stage.remote.started)
        assert tried <= 3 + 1
        for wait_ms, trial in ((5000, 1), (10_000, 2), (20_000, 3)):
            stage.clock.advance_ms(wait_ms - 1)
            await stage.until_looked()
            assert len(stage.remote.started) == tried + trial - 1
            stage.clock.advance_ms(1)
            await stage.signal.until(lambda trial=trial: stage.metrics.breakers_opened == 1 + trial)  # type: ignore[misc]
            assert len(stage.remote.started) == tried + trial
        stage.remote.answer = stage.remote.deliver
        stage.clock.advance_ms(40_000)
        await stage.until_all(ids, DeliveryState.DELIVERED)

    run(tmp_path, scenario, dispatch=BREAKING)


def test_what_was_not_begun_when_the_breaker_opened_uses_up_no_attempt(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(concurrency=1, retry=FOREVER)
        stage.remote.answer = stage.remote.fail
        ids = await stage.accept_at_once(10)
        await stage.signal.until(lambda: stage.metrics.breakers_opened == 1)
        await stage.until_all(ids, DeliveryState.READY)
        made = [each.attempts_made for each in await stage.deliveries(ids)]
        assert sorted(made) == [0] * 7 + [1] * 3

    run(tmp_path, scenario, dispatch=BREAKING)


def test_what_is_stored_while_the_breaker_opens_is_sent_when_it_closes(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(retry=FOREVER)
        stage.remote.answer = stage.remote.fail
        stage.engine.held["accept"] = asyncio.Event()
        late = [asyncio.get_running_loop().create_task(stage.accept()) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        stored = stage.engine.held.pop("accept")
        ids: list[DeliveryId] = await stage.accept(3)
        await stage.signal.until(lambda: stage.metrics.breakers_opened == 1)
        # These had their places before it opened.
        stored.set()
        ids += [each for made in await asyncio.gather(*late) for each in made]
        stage.remote.answer = stage.remote.deliver
        stage.clock.advance_ms(5000)
        await stage.until_all(ids, DeliveryState.DELIVERED)

    run(tmp_path, scenario, dispatch=BREAKING)


# -- room --------------------------------------------------------------------------------------------------


def test_a_backlog_is_worked_off_without_waiting_for_the_poll(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.change(await stage.destination(), paused=True)
        ids = await stage.accept_at_once(500)
        await stage.change(made, paused=False)
        await stage.until_all(ids, DeliveryState.DELIVERED)
        # One poll finds the work; after that each portion calls for the next.
        assert len(stage.engine.batches["claim"]) <= 2 + 500 // 20 + 5

    run(tmp_path, scenario, dispatch=DispatchLimits(poll_s=1.0, claim_per_destination=20))


def test_with_all_room_taken_by_slow_destinations_another_still_gets_its_turn(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        slow = [f"slow{number}" for number in range(4)]
        for name in (*slow, "quick"):
            await stage.destination(name, filter=only(name))
        stage.remote.answer = stage.remote.hang
        stage.remote.answers["quick"] = stage.remote.deliver
        for name in slow * 10:
            await stage.accept(source=name)
        await stage.until_looked()
        await stage.until_all(await stage.accept(5, source="quick"), DeliveryState.DELIVERED)

    limits = DispatchLimits(poll_s=0.01, sending_max=16, held_max=20)
    run(tmp_path, scenario, dispatch=limits)


# -- rests -------------------------------------------------------------------------------------------------


def test_who_asks_for_a_rest_gets_nothing_meanwhile_and_then_all_in_order(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(concurrency=1, ordered=True)
        refused: list[DeliveryId] = []

        def far(shipment: Shipment) -> Outcome:
            if shipment.lease.delivery_id not in refused and len(stage.remote.started) == 3:
                refused.append(shipment.lease.delivery_id)
                return Deferred(stage.remote.attempt(429), 0.05, counted=False, rest_s=0.05)
            return Delivered(stage.remote.attempt(200))

        stage.remote.answer = far
        ids = await stage.accept_at_once(30)
        await stage.until_recorded(3)
        await stage.until_looked()
        assert len(stage.remote.started) == 3, "nothing is sent while it rests"
        stage.clock.advance_ms(1000)
        await stage.until_all(ids, DeliveryState.DELIVERED)
        sent = [shipment.lease.delivery_id for shipment in stage.remote.started]
        assert sent == [*ids[:3], *ids[2:]], "what was put off goes first"
        assert [each.attempts_made for each in await stage.deliveries(ids[2:3])] == [1]

    run(tmp_path, scenario)


def test_through_a_long_rest_nothing_is_held(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(concurrency=1)
        answers = [Deferred(stage.remote.attempt(429), 100.0, counted=False, rest_s=100.0)]
        stage.remote.answer = lambda _: answers.pop() if answers else Delivered(stage.remote.attempt(200))
        ids = await stage.accept_at_once(10)
        await stage.until_recorded(10)
        assert await stage.all_are(ids, DeliveryState.READY)
        due = {each.due_ms for each in await stage.deliveries(ids)}
        assert due == {stage.clock.now_ms() + 100_000}
        stage.clock.advance_ms(99_999)
        await stage.until_looked()
        assert len(stage.remote.started) == 1
        stage.clock.advance_ms(1)
        await stage.until_all(ids, DeliveryState.DELIVERED)

    run(tmp_path, scenario)

"""Sending: what was just accepted at once, the rest as it falls due, and in order where order counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.stage import Stage, run
from tocsin.core.delivery import Deferred, Delivered, DeliveryState, Outcome, Rejected
from tocsin.core.destination import Filter
from tocsin.core.errors import Unavailable
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DeliveryId
from tocsin.core.retry import RetryPolicy
from tocsin.engine.rows import Cancel
from tocsin.pipeline.dispatcher import DispatchLimits
from tocsin.pipeline.lane import LaneLimits
from tocsin.transports.protocol import Shipment

SHORT = RetryPolicy((5.0, 5.0), jitter=0.0)


# -- where deliveries come from ----------------------------------------------------------------------------


def test_what_is_accepted_is_sent_at_once_without_a_claim(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination("one")
        await stage.destination("two")
        ids = await stage.accept_at_once(20)
        assert len(ids) == 40
        await stage.until_all(ids, DeliveryState.DELIVERED)
        assert sum(stage.engine.batches["claim"]) == 0
        assert [each.lease.delivery_id for each in stage.remote.sent_to("one")] == ids[::2]
        assert {(each.lease.number, each.lease.attempts_made) for each in stage.remote.started} == {(1, 0)}

    run(tmp_path, scenario)


def test_what_there_was_no_room_for_is_claimed(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination()
        ids = await stage.accept_at_once(30)
        await stage.until_all(ids, DeliveryState.DELIVERED)
        assert sum(stage.engine.batches["claim"]) == 30 - 10
        assert len(stage.remote.started) == 30

    run(tmp_path, scenario, dispatch=DispatchLimits(poll_s=0.01, lane=LaneLimits(held_max=10)))


def test_each_transport_is_opened_before_the_first_attempt_and_closed_at_the_end(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        assert stage.remote.is_open
        await stage.dispatcher.stop(1.0)
        assert not stage.remote.is_open

    run(tmp_path, scenario)


def test_what_another_process_left_is_sent_after_a_restart_with_the_same_id(tmp_path: Path) -> None:
    left: list[DeliveryId] = []

    async def dies(stage: Stage) -> None:
        await stage.destination(concurrency=2)
        stage.remote.answer = stage.remote.hang
        left.extend(await stage.accept(5))
        await stage.until_started(2)

    async def takes_over(stage: Stage) -> None:
        await stage.until_all(left, DeliveryState.DELIVERED)
        assert sorted(each.lease.delivery_id for each in stage.remote.started) == sorted(left)
        for each in left:
            assert [attempt.number for attempt in await stage.attempts(each)] == [1]

    run(tmp_path, dies, patience_s=0.0)
    run(tmp_path, takes_over)


def test_a_failed_claim_is_made_again(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.change(await stage.destination(), paused=True)
        ids = await stage.accept(3)
        stage.engine.faults["claim"] = [Unavailable("the disk is full")] * 3
        await stage.change(made, paused=False)
        await stage.until_all(ids, DeliveryState.DELIVERED)
        assert stage.engine.faults["claim"] == []

    run(tmp_path, scenario)


# -- what becomes of them ----------------------------------------------------------------------------------


def test_a_failed_attempt_is_made_again_when_it_is_due_and_not_before(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(retry=SHORT)
        stage.remote.answer = stage.remote.fail
        (delivery_id,) = await stage.accept()
        for attempts in (1, 2):
            await stage.until_recorded(attempts)
            stage.clock.advance_ms(4999)
            await stage.until_looked()
            assert len(stage.remote.started) == attempts
            stage.clock.advance_ms(1)
            await stage.until_started(attempts + 1)
        await stage.until_all([delivery_id], DeliveryState.EXPIRED)
        assert [each.lease.attempts_made for each in stage.remote.started] == [0, 1, 2]
        assert [each.number for each in await stage.attempts(delivery_id)] == [1, 2, 3]

    run(tmp_path, scenario)


def test_what_is_due_again_at_once_does_not_wait_for_the_poll(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(retry=RetryPolicy((0.0,) * 5))
        stage.remote.answer = stage.remote.fail
        ids = await stage.accept()
        await stage.until_all(ids, DeliveryState.EXPIRED)
        assert len(stage.remote.started) == 6

    run(tmp_path, scenario, dispatch=DispatchLimits(poll_s=3600.0))


def test_what_is_refused_for_good_is_not_tried_again(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination()
        stage.remote.answer = lambda _: Rejected(stage.remote.attempt(400))
        ids = await stage.accept()
        await stage.until_all(ids, DeliveryState.EXPIRED)
        stage.clock.advance_ms(10**9)
        await stage.until_looked()
        assert len(stage.remote.started) == 1

    run(tmp_path, scenario)


def test_a_cancelled_delivery_that_is_under_way_stays_cancelled_and_its_attempt_is_kept(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination()
        stage.remote.answer = stage.remote.hang
        (delivery_id,) = await stage.accept()
        await stage.until_started(1)
        await stage.engine.amend([Cancel(DEFAULT_ORGANISATION, delivery_id)])
        stage.remote.finish()
        await stage.until_recorded(1)
        assert await stage.states([delivery_id]) == [DeliveryState.CANCELLED]
        assert [each.number for each in await stage.attempts(delivery_id)] == [0]

    run(tmp_path, scenario)


@pytest.mark.parametrize("step_ms", [3_600_000, -3_600_000])
def test_a_wall_clock_that_is_set_sends_nothing_twice_and_loses_nothing(tmp_path: Path, step_ms: int) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(concurrency=2)
        stage.remote.answer = stage.remote.hang
        ids = await stage.accept(5)
        await stage.until_started(2)
        # Forward, every lease is over at once, that of attempts under way too.
        stage.clock.set_ms(stage.clock.now_ms() + step_ms)
        await stage.until_looked()
        assert len(stage.remote.started) == 2
        stage.remote.answer = stage.remote.deliver
        for _ in range(2):
            stage.remote.finish()
        while not await stage.all_are(ids, DeliveryState.DELIVERED):
            await stage.until_looked(1)
            stage.clock.advance_ms(10_000)
        assert len(stage.remote.started) == 5
        for each in ids:
            assert [attempt.number for attempt in await stage.attempts(each)] == [1]

    run(tmp_path, scenario)


def test_of_two_who_have_leased_it_one_after_the_other_the_first_comes_too_late(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination()
        stage.remote.answer = stage.remote.hang
        (delivery_id,) = await stage.accept()
        await stage.until_started(1)
        await stage.dispatcher.stop(0.0)
        first, done = stage.remote.started[0], stage.remote.abandoned[0]
        stage.dispatcher = stage.new_dispatcher()
        await stage.dispatcher.start()
        stage.clock.advance_ms(90_000)
        await stage.until_started(2)
        done(first, Deferred(stage.remote.attempt(503)))
        await stage.until_recorded(1)
        assert await stage.states([delivery_id]) == [DeliveryState.LEASED]
        stage.remote.finish()
        await stage.until_all([delivery_id], DeliveryState.DELIVERED)
        assert sorted(each.number for each in await stage.attempts(delivery_id)) == [0, 1]

    run(tmp_path, scenario)


def test_a_lease_too_short_for_an_attempt_is_let_go_and_claimed_anew(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(concurrency=1, timeout_s=15.0)
        stage.remote.answer = stage.remote.hang
        ids = await stage.accept(2)
        await stage.until_started(1)
        stage.clock.advance_ms(75_000)
        stage.remote.finish()
        await stage.until_all(ids[:1], DeliveryState.DELIVERED)
        stage.clock.advance_ms(15_000)
        await stage.until_started(2)
        second = stage.remote.started[1].lease
        assert (second.delivery_id, second.attempts_made) == (ids[1], 0)
        assert second.number >= 2
        assert second.until_ms - stage.clock.now_ms() >= 15_000
        assert await stage.attempts(ids[1]) == []
        stage.remote.finish()
        await stage.until_all(ids, DeliveryState.DELIVERED)

    run(tmp_path, scenario)


# -- destinations that change ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop", "go"), [({"paused": True}, {"paused": False}), ({"enabled": False}, {"enabled": True})]
)
def test_nothing_goes_to_a_paused_or_disabled_destination_until_it_goes_on(
    tmp_path: Path, stop: dict[str, bool], go: dict[str, bool]
) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination(concurrency=1, filter=Filter(sources=("tests",)))
        await stage.destination("other", filter=Filter(sources=("other",)))
        stage.remote.answers["a"] = stage.remote.hang
        ids = await stage.accept(3)
        await stage.change(made, **stop)
        stage.remote.finish()
        await stage.until_all(ids[:1], DeliveryState.DELIVERED)
        stage.clock.advance_ms(3_600_000)
        await stage.until_looked()
        await stage.until_all(await stage.accept(source="other"), DeliveryState.DELIVERED)
        assert len(stage.remote.sent_to("a")) == 1
        assert await stage.states(ids[1:]) == [DeliveryState.READY] * 2
        stage.remote.answers.clear()
        await stage.change(stage.destinations.get(DEFAULT_ORGANISATION, made.id), **go)
        await stage.until_all(ids, DeliveryState.DELIVERED)
        for each in ids:
            assert len(await stage.attempts(each)) == 1

    run(tmp_path, scenario)


def test_a_paused_destination_keeps_what_comes_in_and_a_disabled_one_gets_nothing(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.change(await stage.destination("paused"), paused=True)
        await stage.change(await stage.destination("disabled"), enabled=False)
        ids = await stage.accept(2)
        assert await stage.states(ids) == [DeliveryState.READY] * 2
        await stage.until_looked()
        assert stage.remote.started == []

    run(tmp_path, scenario)


def test_what_waits_for_a_removed_destination_is_cancelled(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        held = await stage.destination("held", concurrency=1)
        waiting = await stage.change(await stage.destination("waiting"), paused=True)
        stage.remote.answer = stage.remote.hang
        pairs = [await stage.accept() for _ in range(3)]
        await stage.until_started(1)
        for each in (held, waiting):
            await stage.destinations.delete(DEFAULT_ORGANISATION, each.id)
        await stage.until_all([each[1] for each in pairs], DeliveryState.CANCELLED)
        stage.remote.finish()
        await stage.until_all(pairs[0][:1], DeliveryState.DELIVERED)
        await stage.until_all([each[0] for each in pairs[1:]], DeliveryState.CANCELLED)
        assert len(stage.remote.started) == 1

    run(tmp_path, scenario)


def test_an_attempt_is_made_as_the_destination_stands_when_it_begins(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination(concurrency=1)
        stage.remote.answer = stage.remote.hang
        await stage.accept(2)
        await stage.until_started(1)
        await stage.change(made, address={"url": "http://127.0.0.1:9/new", "headers": {"X-New": "1"}})
        stage.remote.finish()
        await stage.until_started(2)
        before, after = (each.target for each in stage.remote.started)
        assert (before.destination.address["url"], before.secret_address) == (made.address["url"], {})
        assert after.destination.address["url"] == "http://127.0.0.1:9/new"
        assert after.secret_address == {"headers": {"X-New": "1"}}

    run(tmp_path, scenario)


# -- order -------------------------------------------------------------------------------------------------


def test_an_ordered_destination_gets_the_next_only_when_the_one_before_is_resolved(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(ordered=True, retry=SHORT)
        stage.remote.answer = stage.remote.hang
        ids = await stage.accept(4, subject="s")
        await stage.until_started(1)
        await stage.until_looked()
        assert [each.lease.delivery_id for each in stage.remote.started] == ids[:1]
        # It fails: its retries come before the others.
        for _ in range(2):
            attempts = len(stage.remote.started)
            stage.remote.finish(Deferred(stage.remote.attempt(503)))
            await stage.until_recorded(attempts)
            await stage.until_looked()
            assert len(stage.remote.started) == attempts
            stage.clock.advance_ms(5000)
            await stage.until_started(attempts + 1)
        # Given up, it lets the second go; delivered, that lets the third; refused, that lets the fourth.
        ends: list[Outcome] = [
            Deferred(stage.remote.attempt(503)),
            Delivered(stage.remote.attempt(200)),
            Rejected(stage.remote.attempt(400)),
        ]
        for outcome in ends:
            attempts = len(stage.remote.started)
            stage.remote.finish(outcome)
            await stage.until_started(attempts + 1)
        order = [ids.index(each.lease.delivery_id) for each in stage.remote.started]
        assert order == [0, 0, 0, 1, 2, 3]

    run(tmp_path, scenario)


def test_other_subjects_and_events_without_one_do_not_wait(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(ordered=True)
        stage.remote.answer = stage.remote.hang
        for subject in ("s", "s", "t", None, None):
            await stage.accept(subject=subject)
        await stage.until_started(4)
        await stage.until_looked()
        assert sorted(each.lease.event.subject or "" for each in stage.remote.started) == ["", "", "s", "t"]

    run(tmp_path, scenario)


def test_in_a_crowd_of_failures_no_subject_is_ever_out_of_order(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(ordered=True, retry=SHORT, concurrency=8)
        accepted: dict[str, list[DeliveryId]] = {}
        finals: set[DeliveryId] = set()
        broken: list[str] = []

        def far(shipment: Shipment) -> Outcome:
            lease = shipment.lease
            mine = accepted[lease.event.subject or ""]
            if not set(mine[: mine.index(lease.delivery_id)]) <= finals or lease.delivery_id in finals:
                broken.append(lease.event.subject or "")
            dice = stage.random.random()
            if dice < 0.5 and lease.attempts_made < 2:
                return Deferred(stage.remote.attempt(503))
            finals.add(lease.delivery_id)
            return Delivered(stage.remote.attempt(200)) if dice < 0.8 else Rejected(stage.remote.attempt(400))

        stage.remote.answer = stage.remote.hang
        for number in range(60):
            subject = f"s{number % 5}"
            accepted.setdefault(subject, []).extend(await stage.accept(subject=subject))
        stage.remote.answer = far
        while stage.remote.under_way:
            shipment, _ = stage.remote.under_way[0]
            stage.remote.finish(far(shipment))
        every = [each for mine in accepted.values() for each in mine]
        while len(finals) < len(every):
            await stage.until_looked(1)
            stage.clock.advance_ms(1000)
        assert broken == []
        assert len(stage.remote.started) > len(every), "some were tried more than once"

    run(tmp_path, scenario)

"""Recoveries as jobs: what a destination missed is sent again once, oldest first."""

from __future__ import annotations

from pathlib import Path

from pipeline.job_house import House, counts
from pipeline.stage import Stage, run
from tocsin.core.delivery import DeliveryState, Rejected
from tocsin.core.destination import Filter
from tocsin.core.environment import Environment
from tocsin.core.identifiers import DeliveryId
from tocsin.core.job import JobState
from tocsin.pipeline.jobs import Count


async def given_up(stage: Stage, count: int) -> list[DeliveryId]:
    """Store events whose deliveries are given up at once; return these, oldest first."""
    stage.remote.answer = lambda _shipment: Rejected(stage.remote.attempt(400))
    made: list[DeliveryId] = []
    for _ in range(count):
        stage.clock.advance_ms(1)
        made += (await stage.ingest.accept(stage.draft())).deliveries
    await stage.until_all(made, DeliveryState.EXPIRED)
    stage.clock.advance_ms(1)
    stage.remote.answer = stage.remote.deliver
    return made


def test_a_recovery_goes_on_after_a_crash_and_sends_nothing_twice(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        house = House(stage)
        destination = await stage.destination()
        missed = await given_up(stage, 7)
        house.recoveries.hold(call=2, after=True)
        job = await house.recovery(destination)
        assert job.total == 7
        await house.recoveries.begun.wait()
        await house.stop(patience_s=0)
        await stage.until_all(missed[:4], DeliveryState.DELIVERED)
        assert await stage.states(missed[4:]) == [DeliveryState.EXPIRED] * 3
        house.recoveries.let_go()
        stage.clock.advance_ms(60_000)
        house.start()
        assert counts(await house.ended(job)) == (JobState.FINISHED, 7, 0, 7, True)
        await stage.until_all(missed, DeliveryState.DELIVERED)
        assert [each.attempts_made for each in await stage.deliveries(missed)] == [2] * 7
        await house.stop()

    run(tmp_path, scenario)


def test_what_a_recovery_sent_in_vain_before_a_crash_is_not_sent_by_it_again(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        house = House(stage)
        destination = await stage.destination()
        missed = await given_up(stage, 5)
        stage.remote.answer = lambda _shipment: Rejected(stage.remote.attempt(400))
        house.recoveries.hold(call=2, after=True)
        job = await house.recovery(destination)
        await house.recoveries.begun.wait()
        await house.stop(patience_s=0)
        stage.clock.advance_ms(60_000)
        await stage.until_recorded(9)
        house.recoveries.let_go()
        house.start()
        assert counts(await house.ended(job)) == (JobState.FINISHED, 5, 0, 5, True)
        await stage.until_recorded(10)
        await stage.until_looked()
        assert [each.attempts_made for each in await stage.deliveries(missed)] == [2] * 5
        await house.stop()

    run(tmp_path, scenario)


def test_a_recovery_leaves_out_what_was_given_up_since(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        house = House(stage)
        await house.stop()
        destination = await stage.destination()
        stage.remote.answer = lambda _shipment: None
        late = await stage.accept(1)
        await stage.until_started(1)
        job = await house.recovery(destination)
        assert job.total == 0
        stage.clock.advance_ms(1)
        stage.remote.finish(Rejected(stage.remote.attempt(400)))
        await stage.until_all(late, DeliveryState.EXPIRED)
        house.start()
        assert counts(await house.ended(job)) == (JobState.FINISHED, 0, 0, 0, True)
        assert await stage.states(late) == [DeliveryState.EXPIRED]
        await house.stop()

    run(tmp_path, scenario)


def test_a_recovery_leaves_out_what_it_was_not_asked_for(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        house = House(stage)
        destination = await stage.destination()
        other = await stage.destination("b", filter=Filter(types=("nothing",)))
        early = await given_up(stage, 1)
        since_ms = stage.clock.now_ms()
        missed = await given_up(stage, 2)
        await stage.until_all(await stage.accept(2), DeliveryState.DELIVERED)
        stage.clock.advance_ms(1)
        job = await house.recovery(destination, since_ms=since_ms)
        late = await given_up(stage, 1)
        assert counts(await house.ended(job)) == (JobState.FINISHED, 2, 0, 2, True)
        await stage.until_all(missed, DeliveryState.DELIVERED)
        assert await stage.states(early + late) == [DeliveryState.EXPIRED] * 2
        assert (await house.ended(await house.recovery(other))).done == 0
        await house.stop()

    run(tmp_path, scenario)


def test_what_a_recovery_would_take_is_counted_and_left_alone(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        house = House(stage)
        destination = await stage.destination()
        early = await given_up(stage, 1)
        since_ms = stage.clock.now_ms()
        missed = await given_up(stage, 3)
        until_ms = stage.clock.now_ms()
        stage.clock.advance_ms(1)
        late = await given_up(stage, 1)
        organisation_id = destination.organisation_id
        for environment, since, until, count in (
            (Environment.LIVE, 0, None, 5),
            (Environment.LIVE, since_ms, None, 4),
            (Environment.LIVE, since_ms, until_ms, 3),
            (Environment.TEST, 0, None, 0),
        ):
            found = await house.jobs.count_missed(
                organisation_id, destination.id, environment=environment, since_ms=since, until_ms=until
            )
            assert found == Count(count, exact=True)
        assert await stage.states(early + missed + late) == [DeliveryState.EXPIRED] * 5
        await house.stop()

    run(tmp_path, scenario)


def test_a_recovery_whose_destination_is_deleted_fails_and_leaves_the_rest_as_it_was(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        house = House(stage)
        destination = await stage.destination()
        missed = await given_up(stage, 7)
        house.recoveries.hold(call=1, after=True)
        job = await house.recovery(destination)
        await house.recoveries.begun.wait()
        await stage.until_all(missed[:2], DeliveryState.DELIVERED)
        await stage.destinations.delete(destination.organisation_id, destination.id)
        house.recoveries.let_go()
        ended = await house.ended(job)
        assert ended.state is JobState.FAILED
        assert ended.error == "the destination was deleted"
        assert 0 < ended.done < 7
        assert await stage.states(missed[ended.done :]) == [DeliveryState.EXPIRED] * (7 - ended.done)
        await house.stop()

    run(tmp_path, scenario)

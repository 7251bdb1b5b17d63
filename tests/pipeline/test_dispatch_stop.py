"""Ending: what is under way is finished and recorded, the rest given back, and nothing new begun."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pipeline.stage import Stage, run
from tocsin.core.delivery import DeliveryState
from tocsin.core.errors import Unavailable


def test_what_is_under_way_is_finished_and_recorded_and_the_rest_given_back(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(concurrency=2)
        stage.remote.answer = stage.remote.hang
        ids = await stage.accept(5)
        await stage.until_started(2)
        stopping = asyncio.get_running_loop().create_task(stage.dispatcher.stop(20.0))
        await stage.until_all(ids[2:], DeliveryState.READY)
        assert not stopping.done()
        stage.remote.finish()
        stage.remote.finish()
        await stopping
        assert await stage.states(ids) == [DeliveryState.DELIVERED] * 2 + [DeliveryState.READY] * 3
        assert len(stage.remote.started) == 2
        for each in ids[2:]:
            assert await stage.attempts(each) == []

    run(tmp_path, scenario)


def test_an_attempt_that_does_not_end_is_abandoned_after_patience_and_keeps_its_lease(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(concurrency=1)
        stage.remote.answer = stage.remote.hang
        ids = await stage.accept(2)
        await stage.until_started(1)
        await stage.dispatcher.stop(0.05)
        assert not stage.remote.is_open
        assert await stage.states(ids) == [DeliveryState.LEASED, DeliveryState.READY]
        stage.clock.advance_ms(90_000)
        leases = await stage.engine.claim(limit=9, per_destination=9, lease_until_ms=stage.clock.now_ms() + 1)
        assert {each.delivery_id for each in leases} == set(ids)

    run(tmp_path, scenario)


def test_what_is_accepted_while_it_ends_is_given_back_unsent(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination()
        stage.remote.answer = stage.remote.hang
        first = await stage.accept()
        stage.engine.held["accept"] = asyncio.Event()
        late = asyncio.get_running_loop().create_task(stage.accept())
        await stage.signal.until(lambda: len(stage.engine.batches["accept"]) == 2)
        stopping = asyncio.get_running_loop().create_task(stage.dispatcher.stop(20.0))
        await asyncio.sleep(0)
        stage.engine.held.pop("accept").set()
        ids = await late + await stage.accept()
        stage.remote.finish()
        await stopping
        assert await stage.states(first + ids) == [DeliveryState.DELIVERED] + [DeliveryState.READY] * 2
        assert len(stage.remote.started) == 1

    run(tmp_path, scenario)


def test_what_a_claim_had_just_taken_is_given_back(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.change(await stage.destination(), paused=True)
        ids = await stage.accept(3)
        stage.engine.held["claimed"] = asyncio.Event()
        await stage.change(made, paused=False)
        await stage.until_all(ids, DeliveryState.LEASED)
        stopping = asyncio.get_running_loop().create_task(stage.dispatcher.stop(20.0))
        await asyncio.sleep(0)
        stage.engine.held.pop("claimed").set()
        await stopping
        assert await stage.states(ids) == [DeliveryState.READY] * 3
        assert stage.remote.started == []

    run(tmp_path, scenario)


def test_outcomes_wait_for_a_store_that_is_away(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination()
        stage.engine.faults["settle"] = [Unavailable("the disk is full")]
        ids = await stage.accept()
        await stage.until_started(1)
        await stage.dispatcher.stop(20.0)
        assert await stage.states(ids) == [DeliveryState.DELIVERED]

    run(tmp_path, scenario)


def test_with_nothing_to_do_it_ends_at_once_however_patient(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        async with asyncio.timeout(5):
            await stage.dispatcher.stop(3600.0)

    run(tmp_path, scenario)


def test_one_that_never_started_ends_too(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.dispatcher.stop(3600.0)

    run(tmp_path, scenario, sending=False)


def test_a_successor_in_the_same_process_sends_what_was_given_back(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(concurrency=1)
        stage.remote.answer = stage.remote.hang
        ids = await stage.accept(3)
        await stage.until_started(1)
        stopping = asyncio.get_running_loop().create_task(stage.dispatcher.stop(20.0))
        await asyncio.sleep(0)
        stage.remote.finish()
        await stopping
        stage.remote.answer = stage.remote.deliver
        stage.dispatcher = stage.new_dispatcher()
        await stage.dispatcher.start()
        await stage.until_all(ids, DeliveryState.DELIVERED)
        assert len(stage.remote.started) == 3

    run(tmp_path, scenario)

"""Waiting for first attempts: told at once, found in the store, or given up after a while."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipeline.stage import Stage, run
from tocsin.core.delivery import DeliveryState
from tocsin.core.destination import Filter
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DeliveryId
from tocsin.core.retry import RetryPolicy
from tocsin.pipeline import first_attempts

LONG_S = 20.0


async def wait(stage: Stage, ids: list[DeliveryId], timeout_s: float = LONG_S) -> bool:
    return await stage.first_attempts.first_attempts(DEFAULT_ORGANISATION, ids, timeout_s)


def test_it_is_true_once_all_have_arrived(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination("one")
        await stage.destination("two")
        assert await wait(stage, await stage.accept())
        stage.remote.answer = stage.remote.hang
        waiting = asyncio.get_running_loop().create_task(wait(stage, await stage.accept()))
        await stage.until_started(4)
        await stage.until_looked()
        stage.remote.finish()
        await stage.until_looked()
        assert not waiting.done()
        stage.remote.finish()
        assert await waiting

    run(tmp_path, scenario)


def test_what_has_just_ended_but_is_not_recorded_yet_is_not_missed(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination()
        stage.engine.held["settle"] = asyncio.Event()
        ids = await stage.accept()
        await stage.signal.until(lambda: len(stage.engine.batches["settle"]) == 1)
        waiting = asyncio.get_running_loop().create_task(wait(stage, ids))
        await stage.until_looked(2)
        assert not waiting.done()
        stage.engine.held.pop("settle").set()
        assert await waiting

    run(tmp_path, scenario)


def test_it_is_false_once_one_has_failed_though_it_will_be_tried_again(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination("one")
        await stage.destination("two")
        stage.remote.answers["two"] = stage.remote.fail
        assert not await wait(stage, await stage.accept())

    run(tmp_path, scenario)


def test_what_has_not_ended_in_time_counts_as_not_delivered(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination()
        stage.remote.answer = stage.remote.hang
        assert not await wait(stage, await stage.accept(), 0.01)

    run(tmp_path, scenario)


@pytest.mark.parametrize("arrives", [True, False])
def test_what_ended_before_anybody_asked_is_found_in_the_store(tmp_path: Path, arrives: bool) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(retry=RetryPolicy(()))
        stage.remote.answer = stage.remote.deliver if arrives else stage.remote.fail
        ids = await stage.accept()
        await stage.until_all(ids, DeliveryState.DELIVERED if arrives else DeliveryState.EXPIRED)
        assert await wait(stage, ids) is arrives

    run(tmp_path, scenario)


def test_without_deliveries_nobody_was_told(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(filter=Filter(types=("nothing",)))
        assert not await wait(stage, await stage.accept())

    run(tmp_path, scenario)


@pytest.mark.parametrize("arrives", [True, False])
def test_of_a_stored_event_its_own_deliveries_count(
    tmp_path: Path, arrives: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(stage: Stage) -> None:
        for name in ("one", "two", "three"):
            await stage.destination(name, retry=RetryPolicy(()))
        stage.remote.answers["one"] = stage.remote.hang
        stage.remote.answers["three"] = stage.remote.deliver if arrives else stage.remote.fail
        receipt = await stage.ingest.accept(stage.draft())
        await stage.until_recorded(2)
        asked = stage.first_attempts.first_attempts_of(DEFAULT_ORGANISATION, receipt.event_id, LONG_S)
        waiting = asyncio.get_running_loop().create_task(asked)
        await stage.until_looked()
        assert not waiting.done()
        stage.remote.finish()
        assert await waiting is arrives

    monkeypatch.setattr(first_attempts, "_PAGE", 2)
    run(tmp_path, scenario)


def test_a_stored_event_without_deliveries_was_told_to_nobody(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        receipt = await stage.ingest.accept(stage.draft())
        assert not await stage.first_attempts.first_attempts_of(DEFAULT_ORGANISATION, receipt.event_id, LONG_S)

    run(tmp_path, scenario)


def test_two_who_ask_for_the_same_are_both_told(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination()
        stage.remote.answer = stage.remote.hang
        ids = await stage.accept()
        loop = asyncio.get_running_loop()
        impatient = loop.create_task(wait(stage, ids, 0.01))
        patient = loop.create_task(wait(stage, ids))
        assert not await impatient
        stage.remote.finish()
        assert await patient

    run(tmp_path, scenario)


def test_a_client_that_goes_away_leaves_nothing_behind(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination()
        stage.remote.answer = stage.remote.hang
        ids = await stage.accept()
        waiting = asyncio.get_running_loop().create_task(wait(stage, ids))
        await stage.until_looked(1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert stage.first_attempts._watches == {}
        stage.remote.finish()
        await stage.until_all(ids, DeliveryState.DELIVERED)

    run(tmp_path, scenario)

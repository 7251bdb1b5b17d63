"""What is kept of a destination goes with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipeline.stage import Stage, run
from tocsin.core.delivery import DeliveryState
from tocsin.core.destination import Destination, Filter
from tocsin.pipeline.dispatcher import DispatchLimits


def kept(stage: Stage) -> tuple[int, int, int]:
    """Return of how many destinations there is a lane, an opened secret, and a suspicion."""
    lanes = stage.dispatcher._lanes
    return len(lanes._lanes), len(lanes._targets), len(stage.health._suspicions)


async def remove(stage: Stage, destination: Destination) -> None:
    await stage.destinations.delete(destination.organisation_id, destination.id)


def test_nothing_is_kept_of_destinations_that_were_removed(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.remote.answer = stage.remote.fail
        made = [await stage.destination(name) for name in "abc"]
        await stage.accept()
        await stage.until_recorded(3)
        assert kept(stage) == (3, 3, 3)
        for each in made[:2]:
            await remove(stage, each)
        assert kept(stage) == (1, 1, 1)

    run(tmp_path, scenario)


@pytest.mark.parametrize("count", [1, 3])
def test_a_lane_stays_until_its_last_attempt_has_ended(tmp_path: Path, count: int) -> None:
    async def scenario(stage: Stage) -> None:
        stage.remote.answer = stage.remote.hang
        made = await stage.destination(concurrency=1)
        ids = await stage.accept(count)
        await stage.until_started(1)
        await remove(stage, made)
        assert kept(stage) == (1, 0, 0)
        stage.remote.finish(stage.remote.fail(stage.remote.started[0]))
        assert kept(stage) == (0, 0, 0)
        await stage.until_all(ids[1:], DeliveryState.CANCELLED)
        stage.clock.advance_ms(10_000)
        await stage.until_all(ids[:1], DeliveryState.CANCELLED)
        assert kept(stage) == (0, 0, 0)

    run(tmp_path, scenario)


def test_a_place_that_is_given_back_after_the_removal_leaves_no_lane(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination()
        assert stage.dispatcher.reserve(made)
        await remove(stage, made)
        assert kept(stage) == (1, 0, 0)
        stage.dispatcher.release(made.id)
        assert kept(stage) == (0, 0, 0)

    run(tmp_path, scenario, sending=False)


def test_what_was_stored_for_a_destination_as_it_was_removed_is_given_up(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination()
        stored = stage.engine.held["accept"] = asyncio.Event()
        accepting = asyncio.ensure_future(stage.accept())
        await stage.until_batches(1)
        await remove(stage, made)
        stage.engine.held.pop("accept")
        stored.set()
        await stage.until_all(await accepting, DeliveryState.CANCELLED)
        assert kept(stage) == (0, 0, 0)

    run(tmp_path, scenario)


def test_what_waited_for_its_turn_when_its_destination_was_removed_is_given_up(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination(rate_per_s=10.0)
        first, second = await stage.accept(2)
        await stage.until_all([first], DeliveryState.DELIVERED)
        await remove(stage, made)
        assert kept(stage) == (1, 0, 0)
        await stage.until_all([second], DeliveryState.CANCELLED)
        assert kept(stage) == (0, 0, 0)

    run(tmp_path, scenario)


def test_what_waited_for_a_free_place_when_its_destination_was_removed_is_given_up(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.remote.answer = stage.remote.hang
        await stage.destination("busy", filter=Filter(types=("busy",)))
        made = await stage.destination("late", filter=Filter(types=("late",)))
        await stage.accept(type="busy")
        await stage.until_started(1)
        (late,) = await stage.accept(type="late")
        await remove(stage, made)
        assert kept(stage) == (2, 1, 0)
        stage.remote.finish()
        await stage.until_all([late], DeliveryState.CANCELLED)
        assert kept(stage)[0] == 1

    run(tmp_path, scenario, dispatch=DispatchLimits(poll_s=0.01, sending_max=1))

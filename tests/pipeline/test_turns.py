"""Turns of the event loop: what one organisation's events may take before others are looked at again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pipeline.stage import Stage, run
from tocsin.core.destination import Filter
from tocsin.core.identifiers import OrganisationId
from tocsin.pipeline.conditions import ConditionLimits
from tocsin.pipeline.ingest import IngestLimits
from tocsin.pipeline.turns import Turns

ONE, OTHER = (OrganisationId(bytes([each]) * 16) for each in (1, 2))
EVENTS = 256
"""As many as a batch of CloudEvents brings."""


def routed(stage: Stage) -> int:
    """Return how many events were routed: each fails the condition of a destination."""
    lines = stage.metrics.exposition().decode().splitlines()
    return next(int(float(each.split()[1])) for each in lines if each.startswith("tocsin_condition_failures_total"))


async def most_in_a_turn(stage: Stage, **event: Any) -> int:
    """Accept a batch; return how many of its events were routed between two turns of the loop, at the most."""
    seen, turns = routed(stage), [0]
    batch = asyncio.ensure_future(stage.accept_at_once(EVENTS, **event))
    while not batch.done():
        await asyncio.sleep(0)
        before, seen = seen, routed(stage)
        turns.append(seen - before)
    await batch
    assert sum(turns) == EVENTS
    return max(turns)


@pytest.mark.parametrize(("turn_steps_max", "most"), [(999, 10), (99, 1), (1_000_000, EVENTS)])
def test_a_batch_of_events_with_dear_conditions_lets_the_loop_turn(
    tmp_path: Path, turn_steps_max: int, most: int
) -> None:
    async def scenario(stage: Stage) -> None:
        where = " && ".join(["data[*].a"] * 20)
        await stage.destination(filter=Filter(where=where))
        assert await most_in_a_turn(stage, data=b'{"data": [%b]}' % b",".join([b'{"a": 1}'] * 100)) == most

    run(
        tmp_path,
        scenario,
        sending=False,
        conditions=ConditionLimits(steps_max=100, event_steps_max=100),
        intake=IngestLimits(turn_steps_max=turn_steps_max),
    )


def test_globs_and_destinations_count_too(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination("counted", filter=Filter(where="length(missing)"))
        assert await most_in_a_turn(stage) == EVENTS
        wanted = Filter(sources=("*" + "a" * 127 + "*",) * 8)
        made = await stage.destination("searched", filter=wanted)
        assert await most_in_a_turn(stage, source="a" * 1015) < 10
        await stage.change(made, filter=Filter(sources=("a*",) * 512))
        assert await most_in_a_turn(stage, source="b" * 1015) == EVENTS
        for each in range(99):
            await stage.destination(str(each))
        assert await most_in_a_turn(stage) < EVENTS // 2

    run(tmp_path, scenario, sending=False, intake=IngestLimits(turn_steps_max=5000))


def test_who_waits_goes_on_in_order_and_nobody_else_waits() -> None:
    async def scenario() -> None:
        turns, order = Turns(99), []

        async def event(organisation_id: OrganisationId, number: int, steps: int) -> None:
            if turns.are_taken(organisation_id):
                await turns.wait(organisation_id)
            order.append((organisation_id, number))
            turns.spend(organisation_id, steps)

        dear = [event(ONE, number, 100) for number in range(20)]
        await asyncio.gather(*dear, *(event(OTHER, number, 1) for number in range(20)))
        assert order[0] == (ONE, 0)
        assert order[1:21] == [(OTHER, number) for number in range(20)]
        assert order[21:] == [(ONE, number) for number in range(1, 20)]
        assert not turns.are_taken(OTHER)

    asyncio.run(scenario())


def test_an_event_that_is_given_up_while_it_waits_keeps_nobody_back() -> None:
    async def scenario() -> None:
        turns = Turns(99)
        turns.spend(ONE, 100)
        waiting = [asyncio.ensure_future(turns.wait(ONE)) for _ in range(3)]
        waiting[0].cancel()
        await asyncio.wait(waiting)
        assert [each.cancelled() for each in waiting] == [True, False, False]
        assert not turns.are_taken(ONE)

    asyncio.run(scenario())

"""A batch and the store: one commit for all, and what is told when some or all of it could not be stored."""

from __future__ import annotations

import asyncio
import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipeline.stage import Stage, run
from tocsin.core.destination import Filter
from tocsin.core.errors import Conflict, TocsinError, Unavailable
from tocsin.dialects.native.cloudevents import CloudEventRoute
from tocsin.dialects.native.limits import CloudEventsLimits
from tocsin.pipeline.conditions import ConditionLimits
from tocsin.pipeline.ingest import IngestLimits
from tocsin.pipeline.keys import Keys
from tocsin.pipeline.provisioning import provision
from tocsin.web.auth import KeyRing
from tocsin.web.guard import Guard
from tocsin.web.http import Request
from tocsin.web.limits import RateLimits, RateSettings


class Sending:
    """The route on a real store."""

    def __init__(self, stage: Stage, key: str) -> None:
        limits = RateLimits(clock=stage.clock, settings=RateSettings())
        guard = Guard(keys=KeyRing(stage.catalog), catalog=stage.catalog, limits=limits)
        route = CloudEventRoute(guard=guard, ingest=stage.ingest, clock=stage.clock, limits=CloudEventsLimits())
        self._send = route.send
        self._headers = [
            (b"authorization", f"Bearer {key}".encode()),
            (b"content-type", b"application/cloudevents-batch+json"),
        ]

    async def __call__(self, *events: dict[str, Any]) -> list[str]:
        scope = {"type": "http", "method": "POST", "path": "/api/v1/cloudevents", "headers": self._headers}
        response = await self._send(Request(scope, json.dumps(events).encode()))
        ids: list[str] = json.loads(response.body)["event_ids"]
        return ids


async def sending(stage: Stage) -> Sending:
    keys = Keys(catalog=stage.catalog, clock=stage.clock, ids=stage.ids, entropy=os.urandom)
    first = await provision(stage.catalog, keys, stage.clock)
    assert first is not None
    return Sending(stage, first.api_key)


def event(number: int, **members: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": str(number), "source": "s", "type": "t", **members}


async def failure(send: Sending, *events: dict[str, Any]) -> TocsinError:
    with pytest.raises(TocsinError) as caught:
        await send(*events)
    return caught.value


def test_a_batch_is_one_call_of_the_engine_and_keeps_its_order(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        send = await sending(stage)
        ids = await send(*(event(number) for number in range(256)))
        assert stage.engine.batches["accept"] == [256]
        stored = await stage.events()
        assert [f"evt_{each.id.hex()}" for each in stored] == ids
        assert [each.extension["cloudevents"]["id"] for each in stored] == [str(number) for number in range(256)]

    run(tmp_path, scenario, sending=False)


def test_the_loop_turns_while_a_batch_with_dear_conditions_is_routed(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        send = await sending(stage)
        await stage.destination(filter=Filter(where=" && ".join(["items[*].a"] * 20)))
        data = {"items": [{"a": 1}] * 20}
        batch = asyncio.ensure_future(send(*(event(number, data=data) for number in range(256))))
        turns = [0]
        while not batch.done():
            await asyncio.sleep(0)
            turns.append(failed_conditions(stage))
        ids = await batch
        # Each event takes its hundred steps, and a turn a thousand and what its last event takes.
        assert max(after - before for before, after in pairwise(turns)) == 10
        assert turns[-1] == 256
        assert [f"evt_{each.id.hex()}" for each in await stage.events()] == ids

    run(
        tmp_path,
        scenario,
        sending=False,
        conditions=ConditionLimits(steps_max=100, event_steps_max=100),
        intake=IngestLimits(turn_steps_max=999),
    )


def failed_conditions(stage: Stage) -> int:
    lines = stage.metrics.exposition().decode().splitlines()
    return next(int(float(each.split()[1])) for each in lines if each.startswith("tocsin_condition_failures_total"))


def test_events_without_a_time_happen_when_they_arrive(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        send = await sending(stage)
        await send(event(1), event(2, time="2018-04-05T17:31:00.5Z"))
        assert [each.time_ms for each in await stage.events()] == [stage.clock.now_ms(), 1_522_949_460_500]

    run(tmp_path, scenario, sending=False)


def test_a_store_that_does_not_answer_is_told_for_all_and_the_repeat_is_safe(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        send = await sending(stage)
        stage.engine.faults["accept"] = [Unavailable("the disk is full", retry_after_s=7)]
        error = await failure(send, event(1), event(2))
        assert (type(error), error.retry_after_s) == (Unavailable, 7)
        assert [name for name, _ in error.fields] == ["[0]", "[1]"]
        assert len(await send(event(1), event(2))) == 2
        assert len(await stage.events()) == 2

    run(tmp_path, scenario, sending=False)


def test_of_several_errors_the_one_that_passes_is_told(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        send = await sending(stage)
        await send(event(0))
        conflict = await failure(send, event(0, type="u"), event(1))
        assert (type(conflict), conflict.code) == (Conflict, "idempotency_conflict")
        assert [name for name, _ in conflict.fields] == ["[0]"]
        # The intake takes no more than its bound; one that is refused there has company that is refused by the store.
        mixed = await failure(send, event(0, type="u"), *(event(number) for number in range(2, 12)))
        assert type(mixed) is Unavailable
        assert mixed.fields[0][0] == "[0]"
        assert len(mixed.fields) > 1

    run(tmp_path, scenario, sending=False, intake=IngestLimits(waiting_max=5))

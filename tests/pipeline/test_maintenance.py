"""Tending goes on whatever happens; the first run makes its keys once."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from pipeline.stage import Stage, run
from tocsin.core.clock import DAY_MS
from tocsin.core.errors import Unavailable
from tocsin.core.event import idempotency_key
from tocsin.core.identifiers import DEFAULT_ORGANISATION
from tocsin.core.organisation import GRANTABLE_SCOPES, Scope, key_digest
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.keys import Keys
from tocsin.pipeline.maintenance import MaintenanceLimits, tend_for_ever
from tocsin.pipeline.provisioning import make_keys, provision

OFTEN = MaintenanceLimits(every_s=0.0, budget_ms=20, pause_s=0.0)


async def tending(stage: Stage, rounds: int, limits: MaintenanceLimits = OFTEN) -> None:
    """Tend until the engine was asked so many times in all."""
    task = asyncio.get_running_loop().create_task(tend_for_ever(stage.engine, limits))
    while len(stage.engine.batches["tend"]) < rounds and not task.done():
        await stage.engine.probe()
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_tending_drops_what_is_past_its_time(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        key = idempotency_key(DEFAULT_ORGANISATION, "tests", "k", bytes(16), expires_after_ms=DAY_MS)
        first = await stage.ingest.accept(stage.draft(idempotency=(key,)))
        stage.clock.advance_ms(DAY_MS - 1)
        await tending(stage, 3)
        repeated = await stage.ingest.accept(stage.draft(idempotency=(key,)))
        assert (repeated.event_id, repeated.repeated) == (first.event_id, True)
        stage.clock.advance_ms(1)
        await tending(stage, 6)
        assert not (await stage.ingest.accept(stage.draft(idempotency=(key,)))).repeated

    run(tmp_path, scenario, sending=False)


def test_tending_goes_on_after_the_store_was_away(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.engine.faults["tend"] = [Unavailable("the disk is full")] * 3
        await tending(stage, 6)
        assert stage.engine.faults["tend"] == []

    run(tmp_path, scenario, sending=False)


def test_the_writer_is_given_its_budget(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await tending(stage, 2, MaintenanceLimits(every_s=0.0, budget_ms=7, pause_s=0.0))
        assert set(stage.engine.batches["tend"]) == {7}

    run(tmp_path, scenario, sending=False)


def keys_of(stage: Stage, catalog: Catalog) -> Keys:
    return Keys(catalog=catalog, clock=stage.clock, ids=stage.ids, entropy=os.urandom)


def test_the_first_run_makes_an_organisation_and_its_keys_and_no_other_run_does(tmp_path: Path) -> None:
    async def first(stage: Stage) -> None:
        catalog, keys = stage.catalog, keys_of(stage, stage.catalog)
        made = await provision(catalog, keys, stage.clock)
        assert made is not None
        assert made.organisation_id == DEFAULT_ORGANISATION
        assert [each.id for each in catalog.organisations()] == [DEFAULT_ORGANISATION]
        for text, scopes in (
            (made.api_key, GRANTABLE_SCOPES),
            (made.operator_key, GRANTABLE_SCOPES | {Scope.OPERATOR}),
        ):
            found = catalog.find_key(key_digest(text))
            assert found is not None
            assert (found.organisation_id, found.scopes) == (DEFAULT_ORGANISATION, scopes)
        assert await provision(catalog, keys, stage.clock) is None
        assert len(catalog.keys(DEFAULT_ORGANISATION)) == 2

    async def later(stage: Stage) -> None:
        keys = keys_of(stage, stage.catalog)
        assert await provision(stage.catalog, keys, stage.clock) is None
        further = await make_keys(stage.catalog, keys)
        assert stage.catalog.find_key(key_digest(further.api_key)) is not None
        assert len(stage.catalog.keys(DEFAULT_ORGANISATION)) == 4
        assert len(stage.catalog.organisations()) == 1

    run(tmp_path, first, sending=False)
    run(tmp_path, later, sending=False)

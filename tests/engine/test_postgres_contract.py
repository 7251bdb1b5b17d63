"""The PostgreSQL engine keeps the engine's contract, also where each statement must be one that a cluster runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from engine.postgres_server import postgres_factory
from engine.router_rules import Watch
from tocsin.engine.postgres.parts import even_parts
from tocsin.testing.engine_contract import EngineContract, EngineFactory, Stage


class TestPostgresEngine(EngineContract):
    @pytest.fixture
    def engine_factory(self, dsn: str) -> EngineFactory:
        return postgres_factory(dsn)


@pytest.fixture(scope="module")
def watch() -> Watch:
    """What judges the statements of all tests together."""
    return Watch(even_parts(8))


class TestSpreadPostgresEngine(EngineContract):
    @pytest.fixture
    def engine_factory(self, dsn: str, watch: Watch) -> Iterator[EngineFactory]:
        yield watch.factory(dsn)
        assert asyncio.run(watch.faults(dsn)) == {}


def test_statements_for_one_server_would_not_pass(dsn: str) -> None:
    watch = Watch(even_parts(8))

    async def play() -> list[str]:
        stage = Stage(watch.factory(dsn, is_spread=False))
        await stage.open()
        try:
            await stage.store(stage.new(stage.destination()))
            await stage.claim_one()
        finally:
            await stage.close()
        return [each for said in (await watch.faults(dsn)).values() for each in said]

    assert {"reads delivery in every bucket", "reads event in every bucket"} <= set(asyncio.run(play()))

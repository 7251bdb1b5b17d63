"""Behind a pooler, which gives each transaction another connection of the server's."""

from __future__ import annotations

import pytest

from engine.postgres_server import play_on, postgres_factory
from tocsin.core.identifiers import ChannelId
from tocsin.core.organisation import Category
from tocsin.engine.postgres.pool import Pool
from tocsin.engine.rows import EventQuery, Save
from tocsin.testing.engine_contract import EngineFactory, Stage
from tocsin.testing.engine_contract.accepting import IdempotencyContract
from tocsin.testing.engine_contract.lanes import LaneContract
from tocsin.testing.engine_contract.settling import SettleContract


class TestWithoutPreparedStatements(IdempotencyContract, SettleContract, LaneContract):
    """What an old pooler leaves: no prepared statements, no LISTEN."""

    @pytest.fixture
    def engine_factory(self, dsn: str) -> EngineFactory:
        return postgres_factory(dsn, statements_kept=0, listens=False)


_TRACES = (
    "select name from pg_settings where source = 'session' and name <> 'application_name'",
    "select pg_listening_channels()",
    "select name from pg_prepared_statements where statement !~ 'pg_prepared_statements'",
    "select relname from pg_class where relpersistence = 't'",
    "select objid from pg_locks where locktype = 'advisory'",
    "select name from pg_cursors where name <> ''",
)


def test_nothing_is_left_on_a_connection(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        engine = stage.engine
        await stage.store(*(stage.new(stage.destination(), lane=b"l", keys=[stage.key(str(n))]) for n in range(5)))
        for lease in await stage.claim():
            await stage.finish(lease)
        await stage.search(EventQuery(organisation_id=stage.organisation, text="1"))
        category = Category(
            id=ChannelId(stage.id()),  # type: ignore[arg-type]
            organisation_id=stage.organisation,
            name="c",
            color=1,
            created_ms=0,
        )
        await engine.catalog_write([Save(category)])
        await engine.tend(1000)
        pool: Pool = engine._pool  # type: ignore[attr-defined]
        async with pool.lend() as connection:
            for text in _TRACES:
                assert await connection.fetch(text) == [], text

    play_on(dsn, play, connections=1, batches_at_once=1, statements_kept=0)

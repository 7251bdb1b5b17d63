"""When runs of started events are written down, while others store."""

from __future__ import annotations

from engine.postgres_server import open_transaction, play_on
from engine.test_postgres_reads import connected, found_by
from tocsin.core.environment import Environment
from tocsin.engine.postgres.runs import GATE, SETTLED_MS
from tocsin.engine.postgres.sql import lock_gate
from tocsin.engine.postgres.unstarted import learn
from tocsin.engine.rows import StandingQuery
from tocsin.testing.engine_contract import Stage
from tocsin.testing.engine_contract.consuming import begin_step


def test_runs_are_not_written_down_while_a_transaction_is_open_that_may_store_an_event_within_one(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        new = [stage.new() for _ in range(100)]
        await stage.store(*new)
        await stage.engine.transact([begin_step(stage, each.event.id) for each in new])
        stage.clock.advance_ms(2 * SETTLED_MS)
        query = StandingQuery(
            organisation_id=stage.organisation, tx_key="k", type="happened", environment=Environment.LIVE
        )
        async with connected(dsn) as connection:
            lesson = (await found_by(connection, query, now_ms=stage.clock.now_ms())).lesson
            assert lesson is not None

            async def remember(open_max_s: float) -> int:
                async with connection.transaction():
                    await learn(connection, lesson, open_max_s=open_max_s)
                return int(await connection.fetchval("select count(*) from consumer_run"))

            async with open_transaction(dsn) as slow:
                await slow.execute("update store set probed_ms = probed_ms")
                assert await remember(0.0) == 0
                # It waits until somebody is late, and not for everybody.
                assert await remember(3600.0) == 1
                await connection.execute("delete from consumer_run")
            assert await remember(0.0) == 1

    play_on(dsn, play, listens=False)


def test_what_searches_learn_leaves_connections_for_others_while_it_waits_for_the_gate(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        new = [stage.new() for _ in range(100)]
        await stage.store(*new)
        await stage.engine.transact([begin_step(stage, each.event.id) for each in new])
        stage.clock.advance_ms(2 * SETTLED_MS)
        query = StandingQuery(
            organisation_id=stage.organisation, tx_key="k", type="happened", environment=Environment.LIVE
        )
        async with open_transaction(dsn) as holder:
            await lock_gate(holder, GATE)
            for _ in range(5):
                assert await stage.all(query) == []
            await stage.store(stage.new())
        await stage.reopen()
        async with connected(dsn) as connection:
            assert await connection.fetchval("select count(*) from consumer_run") == 1

    play_on(dsn, play, listens=False, connections=2)
